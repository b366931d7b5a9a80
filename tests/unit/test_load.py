"""Archives into the store: every layout, every damage, and what is left behind."""

from __future__ import annotations

import gzip
import json
import os
import re
import resource
import stat
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import mkimage as mk
from support.storecheck import check_collected, check_store

from lpmx_runtime import gc
from lpmx_runtime.errors import ArchiveError, LpmxError, NotFoundError, StorageError, UsageError
from lpmx_runtime.images.load import Loaded, load
from lpmx_runtime.images.save import save
from lpmx_runtime.store.store import Store
from lpmx_runtime.union.view import View

if TYPE_CHECKING:
    from collections.abc import Callable

BASE = mk.layer(mk.file("etc/motd", b"base"), mk.file("bin/sh", b"#!", mode=0o755))
TOP = mk.layer(mk.file("etc/.wh.motd"), mk.file("etc/top", b"top"))
OTHER = mk.layer(mk.file("other", b"o" * 3000))
DEMO = mk.Spec("demo:1", [BASE, TOP], {"Env": ["A=1"], "Cmd": ["/bin/sh"]})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def merged(store: Store, loaded: Loaded) -> set[bytes]:
    with View(store.view_path(loaded.image.chain_id)) as view:
        return {path for path, _ in view.walk()}


def is_clean(store: Store) -> bool:
    """No image, no layer, nothing half done: as a new store."""
    folders = (store.layers_dir, store.views_dir, store.images_dir, store.refs_dir, store.tmp_dir)
    return not any(os.listdir(folder) for folder in folders)


def outcome(call: Callable[[], object]) -> str:
    """One line of what happened; tracebacks of other errors go through."""
    try:
        call()
    except LpmxError as error:
        return f"{type(error).__name__}: {error.message}"
    return "loaded"


MERGED = {b"", b"etc", b"etc/top", b"bin", b"bin/sh"}


@pytest.mark.parametrize("style", mk.STYLES)
def test_every_docker_save_layout_gives_the_same_image(
    store: Store, tmp_path: Path, style: str
) -> None:
    (one,) = load(store, mk.docker_archive(tmp_path / "a.tar", [DEMO], style))
    assert (one.image.id, one.image.names, one.new_layers) == (DEMO.id, ("demo:1",), 2)
    assert one.image.diff_ids == tuple(DEMO.diff_ids)
    assert (one.image.env, one.image.cmd, one.image.size) == ({"A": "1"}, ("/bin/sh",), 9)
    assert merged(store, one) == MERGED
    assert store.resolve("demo:1").id == DEMO.id
    assert (store.images_dir / DEMO.id / "config.json").read_bytes() == DEMO.raw_config


def test_layers_that_are_links_to_one_another_are_followed(store: Store, tmp_path: Path) -> None:
    files = mk.docker_files([mk.Spec("twice:1", [BASE, BASE])], "v1")
    name = next(n for n in files if n.endswith("layer.tar"))
    files["manifest.json"] = files["manifest.json"].replace(name.encode(), b"link/layer.tar", 1)
    path = mk.write_tar(tmp_path / "a.tar", files, {"link/layer.tar": f"../{name}"})
    assert load(store, path)[0].new_layers == 1


@pytest.mark.parametrize("how", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("form", ["folder", "tar"])
@pytest.mark.parametrize("index", [False, True])
def test_oci_layouts_load_whatever_their_form(
    store: Store, tmp_path: Path, how: str, form: str, index: bool
) -> None:
    spec = mk.Spec("demo:1", [BASE, TOP])
    files = mk.oci_files(spec, compression=[how], index=index)
    write = mk.write_folder if form == "folder" else mk.write_tar
    (one,) = load(store, write(tmp_path / "image", files))
    assert (one.image.id, one.image.names) == (spec.id, ("demo:1",))
    assert merged(store, one) == MERGED
    assert sorted(store.layers()) == sorted(spec.diff_ids)


def test_a_bare_tag_goes_behind_the_files_own_name(store: Store, tmp_path: Path) -> None:
    path = mk.write_folder(tmp_path / "Samtools.oci", mk.oci_files(mk.Spec("1.17", [BASE])))
    assert load(store, path)[0].image.names == ("samtools:1.17",)


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_a_compressed_archive_loads(store: Store, tmp_path: Path, how: str) -> None:
    plain = mk.docker_archive(tmp_path / "a.tar", [DEMO])
    packed = tmp_path / "a.tar.x"
    packed.write_bytes(mk.compress(plain.read_bytes(), how))
    assert load(store, packed)[0].image.id == DEMO.id
    assert os.listdir(store.tmp_dir) == []


def test_stdin_loads_from_a_pipe(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = mk.docker_archive(tmp_path / "a.tar", [DEMO]).read_bytes()
    reader, writer = os.pipe()
    feeder = threading.Thread(target=lambda: os.fdopen(writer, "wb").write(data))
    feeder.start()
    with os.fdopen(reader) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert load(store, "-")[0].image.id == DEMO.id
    feeder.join()


@pytest.mark.parametrize("how", ["gzip", "zstd"])
def test_layers_of_several_compressed_pieces_load(store: Store, tmp_path: Path, how: str) -> None:
    spec = mk.Spec("demo:1", [BASE])
    half = len(BASE) // 2
    packed = mk.compress(BASE[:half], how) + mk.compress(BASE[half:], how)
    files = mk.docker_files([spec], "v1")
    files[f"{spec.diff_ids[0]}x/layer.tar"] = packed
    assert load(store, mk.write_tar(tmp_path / "a.tar", files))[0].image.id == spec.id


def test_layers_are_kept_once_however_many_images_share_them(store: Store, tmp_path: Path) -> None:
    second = mk.Spec("other:1", [BASE, OTHER])
    path = mk.docker_archive(tmp_path / "a.tar", [DEMO, second], "oci")
    assert [(one.image.names, one.new_layers) for one in load(store, path)] == [
        (("demo:1",), 2),
        (("other:1",), 1),
    ]
    assert len(store.layers()) == 3


def test_loading_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    path = mk.docker_archive(tmp_path / "a.tar", [DEMO])
    first = load(store, path)[0].image
    inode = os.stat(store.layer_fs(DEMO.diff_ids[0])).st_ino
    (again,) = load(store, path)
    assert (again.image, again.new_layers) == (first, 0)
    assert os.stat(store.layer_fs(DEMO.diff_ids[0])).st_ino == inode


def test_the_view_keeps_the_inode_of_each_layers_root(store: Store, tmp_path: Path) -> None:
    (one,) = load(store, mk.docker_archive(tmp_path / "a.tar", [DEMO]))
    with View(store.view_path(one.image.chain_id)) as view:
        assert view.chain_id == one.image.chain_id
        assert view.layers == tuple(
            (diff_id, os.stat(store.layer_fs(diff_id)).st_ino) for diff_id in DEMO.diff_ids
        )


def test_a_given_name_replaces_the_archives(store: Store, tmp_path: Path) -> None:
    path = mk.docker_archive(tmp_path / "a.tar", [DEMO])
    assert load(store, path, name="mine")[0].image.names == ("mine:latest",)


def test_one_name_for_two_images_is_refused(store: Store, tmp_path: Path) -> None:
    path = mk.docker_archive(tmp_path / "a.tar", [DEMO, mk.Spec("other:1", [OTHER])])
    with pytest.raises(UsageError, match="2 images"):
        load(store, path, name="mine")
    assert is_clean(store)


def test_an_image_of_another_platform_is_refused(store: Store, tmp_path: Path) -> None:
    spec = mk.Spec("arm:1", [BASE], architecture="arm64")
    with pytest.raises(ArchiveError, match="only linux/arm64"):
        load(store, mk.docker_archive(tmp_path / "a.tar", [spec]))
    assert is_clean(store)


@pytest.mark.parametrize("form", ["oci", "docker"])
@pytest.mark.parametrize(("architecture", "system"), [("", ""), ("", "linux"), ("x86_64", "")])
def test_an_image_that_names_no_platform_is_this_machines(
    store: Store, tmp_path: Path, form: str, architecture: str, system: str
) -> None:
    spec = mk.Spec("demo:1", [BASE], architecture=architecture, os=system)
    files = mk.oci_files(spec) if form == "oci" else mk.docker_files([spec], "v1")
    said: list[str] = []
    (one,) = load(store, mk.write_tar(tmp_path / "a.tar", files), report=said.append)
    assert (one.image.id, one.image.names) == (spec.id, ("demo:1",))
    assert said == ([] if architecture else ["demo:1: names no platform, taken as linux/amd64"])


def test_of_images_under_one_name_the_one_of_this_platform_is_taken(
    store: Store, tmp_path: Path
) -> None:
    plain = mk.Spec(None, [OTHER], architecture="")
    files = mk.oci_files(mk.Spec("demo:1", [BASE]), index=True)
    other = mk.oci_files(plain)
    files |= {name: data for name, data in other.items() if name.startswith("blobs/")}
    (top,) = json.loads(files["index.json"])["manifests"]
    index = json.loads(files["blobs/sha256/" + top["digest"].removeprefix("sha256:")])
    index["manifests"] = json.loads(other["index.json"])["manifests"] + index["manifests"]
    files["index.json"] = b'{"manifests": []}'
    index["mediaType"] = f"{mk.OCI}.index.v1+json"
    name = {"org.opencontainers.image.ref.name": "demo:1"}
    nested = {"schemaVersion": 2, "mediaType": index["mediaType"], "manifests": []}
    mk.add_manifests(files, [index])
    nested["manifests"] = json.loads(files["index.json"])["manifests"]
    files["index.json"] = b'{"manifests": []}'
    mk.add_manifests(files, [nested], annotations=name)
    loaded = load(store, mk.write_folder(tmp_path / "a", files))
    assert [(one.image.id, one.image.names) for one in loaded] == [
        (mk.Spec("demo:1", [BASE]).id, ("demo:1",))
    ]


EMPTY = "application/vnd.oci.empty.v1+json"
CONFIG = f"{mk.OCI}.config.v1+json"
IN_TOTO = "application/vnd.in-toto+json"
COSIGN = "application/vnd.dev.cosign.simplesigning.v1+json"


@pytest.mark.parametrize(
    ("manifest", "kind"),
    [
        (mk.artifact(stated="application/x.sbom"), "application/x.sbom"),
        (mk.artifact(), EMPTY),
        (mk.artifact(COSIGN, config=CONFIG), COSIGN),
        (mk.artifact(IN_TOTO, config=CONFIG), IN_TOTO),
        (mk.artifact(config="application/vnd.cncf.helm.config.v1+json"),
         "application/vnd.cncf.helm.config.v1+json"),
        ({"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": []},
         "application/vnd.oci.artifact.manifest.v1+json"),
        (mk.artifact(stated="\x1b[31m"), "unknown"),
    ],
)  # fmt: skip
def test_an_artifact_beside_an_image_is_passed_over(
    store: Store, tmp_path: Path, manifest: dict[str, object], kind: str
) -> None:
    spec = mk.Spec("demo:1", [BASE])
    files = mk.oci_files(spec)
    mk.add_manifests(files, [manifest])
    said: list[str] = []
    path = mk.write_folder(tmp_path / "a", files)
    assert [one.image.id for one in load(store, path, report=said.append)] == [spec.id]
    assert said == [f"{path}: an artifact that is no image passed over ({kind})"]


def test_an_archive_of_artifacts_alone_says_so(store: Store, tmp_path: Path) -> None:
    files = {"oci-layout": b"{}", "index.json": b'{"manifests": []}'}
    mk.add_manifests(files, [mk.artifact(stated="application/x.sbom")])
    path = mk.write_folder(tmp_path / "a", files)
    with pytest.raises(ArchiveError, match=r"only artifacts \(application/x.sbom\)"):
        load(store, path)


def test_a_name_that_moves_is_reported(store: Store, tmp_path: Path) -> None:
    other = mk.Spec("demo:1", [OTHER])
    said: list[str] = []
    load(store, mk.docker_archive(tmp_path / "a.tar", [DEMO]), report=said.append)
    load(store, mk.docker_archive(tmp_path / "a.tar", [DEMO]), report=said.append)
    assert said == []
    load(store, mk.docker_archive(tmp_path / "b.tar", [other]), report=said.append)
    assert said == [f"demo:1: moved from image {DEMO.id[:12]} to {other.id[:12]}"]
    assert store.image(DEMO.id).names == ()


@pytest.mark.parametrize("name", ["a522b7b84035", "a522b7b84035:1", "sha256:" + "a" * 64, "f" * 64])
def test_an_archives_name_that_looks_like_an_id_is_not_given(
    store: Store, tmp_path: Path, name: str
) -> None:
    spec = mk.Spec(name, [BASE])
    said: list[str] = []
    (one,) = load(store, mk.docker_archive(tmp_path / "a.tar", [spec]), report=said.append)
    assert (one.image.names, store.refs()) == ((), {})
    assert [line for line in said if "looks like an image's id" in line] == said
    assert len(said) == 1
    with pytest.raises(UsageError, match="looks like an image's id"):
        load(store, tmp_path / "a.tar", name=name)


# ---- hard links to layers below


def shown(store: Store, loaded: Loaded) -> dict[str, str]:
    """What the files of an image hold, by path; directories left out."""
    found = {}
    with View(store.view_path(loaded.image.chain_id)) as view:
        assert [one for one, _ in view.layers] == list(loaded.image.stack)
        for path, node in view.walk():
            host = os.path.join(store.layer_fs(view.layers[node.layer][0]), os.fsdecode(path))
            status = os.lstat(host)
            assert (status.st_ino, status.st_mode) == (node.ino, node.mode), path
            if stat.S_ISREG(node.mode):
                found[os.fsdecode(path)] = Path(host).read_text()
            elif not stat.S_ISDIR(node.mode):
                found[os.fsdecode(path)] = os.fsdecode(node.link)
    return found


LINK = mk.layer(mk.hardlink("deep/b", "a"), mk.hardlink("c", "/a"), mk.hardlink("d", "c"))


def test_a_hard_link_to_a_lower_layer_is_a_link_to_what_that_image_has(
    store: Store, tmp_path: Path
) -> None:
    """One layer, two images: what it links to is each image's own."""
    one = mk.layer(mk.file("a", b"one", mode=0o4755, uid=5, gid=6, mtime=1_000))
    first = mk.Spec("first:1", [one, LINK])
    second = mk.Spec("second:1", [mk.layer(mk.file("a", b"two")), OTHER, LINK])
    path = mk.docker_archive(tmp_path / "a.tar", [first, second])
    loaded = load(store, path)
    links = ("a", "c", "d", "deep/b")
    assert shown(store, loaded[0]) == dict.fromkeys(links, "one")
    assert shown(store, loaded[1]) == {**dict.fromkeys(links, "two"), "other": "o" * 3000}
    with View(store.view_path(loaded[0].image.chain_id)) as view:
        nodes = [view.lookup(name) for name in links]
    assert len({node.ino for node in nodes if node}) == 1
    assert {(n.nlink, n.tar_mode, n.tar_uid, n.tar_gid, n.mtime_ns) for n in nodes if n} == {
        (4, 0o104755, 5, 6, 1_000 * 10**9)
    }
    assert [one.image.diff_ids for one in loaded] == [
        tuple(first.diff_ids), tuple(second.diff_ids)
    ]  # fmt: skip
    assert [one.new_layers for one in load(store, path)] == [0, 0]
    check_store(store.root)


def test_what_is_linked_below_may_be_gone_or_other_by_now(store: Store, tmp_path: Path) -> None:
    lower = mk.layer(mk.file("a", b"1"), mk.file("z", b"z"), mk.symlink("s", "a"), mk.fifo("p"))
    same = mk.layer(mk.hardlink("b", "a"), mk.file("a", b"2"), mk.file(".wh.z"),
                    mk.hardlink("y", "z"), mk.hardlink("t", "s"), mk.hardlink("q", "p"),
                    mk.hardlink("s", "s"))  # fmt: skip
    later = mk.layer(mk.file(".wh.y"), mk.hardlink("e/f", "b"), mk.file("a", b"3"))
    (one,) = load(
        store, mk.docker_archive(tmp_path / "a.tar", [mk.Spec("x:1", [lower, same, later])])
    )
    assert shown(store, one) == {
        "a": "3", "b": "1", "e/f": "1", "s": "a", "t": "a", "p": "", "q": ""
    }  # fmt: skip


def test_names_on_the_way_to_a_lower_file_are_followed(store: Store, tmp_path: Path) -> None:
    lower = mk.layer(mk.file("usr/lib/x", b"x"), mk.symlink("lib", "usr/lib"))
    upper = mk.layer(mk.hardlink("lib64/y", "lib/x"), mk.symlink("new", "usr"),
                     mk.hardlink("z", "new/lib/x"))  # fmt: skip
    (one,) = load(store, mk.docker_archive(tmp_path / "a.tar", [mk.Spec("x:1", [lower, upper])]))
    assert {name: text for name, text in shown(store, one).items() if text == "x"} == dict.fromkeys(
        ("usr/lib/x", "lib64/y", "z"), "x"
    )


@pytest.mark.parametrize("target", ["no-such", "etc", "bin/sh/x"])
def test_a_hard_link_to_what_no_layer_has_is_one_clear_error(
    store: Store, tmp_path: Path, target: str
) -> None:
    spec = mk.Spec("x:1", [BASE, mk.layer(mk.hardlink("b", target))])
    path = mk.docker_archive(tmp_path / "a.tar", [spec])
    with pytest.raises(ArchiveError, match=f"'b': a hard link to '{target}', which is no file"):
        load(store, path)
    gc.collect(store)
    assert is_clean(store)
    bottom = mk.Spec("x:1", [mk.layer(mk.hardlink("b", target))])
    assert "a hard link to" in outcome(
        lambda: load(store, mk.docker_archive(tmp_path / "b.tar", [bottom]))
    )


def test_link_layers_go_with_the_last_image_that_needs_them(store: Store, tmp_path: Path) -> None:
    lower = mk.layer(mk.file("a", b"one"))
    first, more = mk.Spec("first:1", [lower, LINK]), mk.Spec("more:1", [lower, LINK, OTHER])
    load(store, mk.docker_archive(tmp_path / "a.tar", [first, more]))
    assert len(store.layers()) == 4
    gc.remove_image(store, "more:1")
    check_collected(store.root)
    assert len(store.layers()) == 3
    gc.remove_image(store, "first:1")
    gc.collect(store)
    assert is_clean(store)


def test_an_image_with_links_to_lower_layers_is_saved_as_it_came(
    store: Store, tmp_path: Path
) -> None:
    spec = mk.Spec("x:1", [mk.layer(mk.file("a", b"one")), LINK])
    load(store, mk.docker_archive(tmp_path / "a.tar", [spec]))
    save(store, ["x:1"], str(tmp_path / "saved.tar"))
    with tarfile.open(tmp_path / "saved.tar") as tar:
        names = [name for name in tar.getnames() if name.endswith(".tar")]
        assert names == [f"{diff_id}.tar" for diff_id in spec.diff_ids]
        data = [tar.extractfile(name) for name in names]
        assert [one.read() for one in data if one] == list(spec.layers)


def test_an_image_is_saved_by_a_name_of_hex_digits(store: Store, tmp_path: Path) -> None:
    load(store, mk.docker_archive(tmp_path / "a.tar", [mk.Spec(None, [BASE])]))
    (image,) = store.images()
    store.tag(image.id[:6], image.id)
    for asked, names in ((image.id[:6], [f"{image.id[:6]}:latest"]), (image.id[:7], [])):
        save(store, [asked], str(tmp_path / "saved.tar"))
        with tarfile.open(tmp_path / "saved.tar") as tar:
            manifest = tar.extractfile("manifest.json")
            assert manifest is not None
            assert json.load(manifest)[0]["RepoTags"] == names


def test_more_layers_than_lpmx_takes_are_one_clear_error(store: Store, tmp_path: Path) -> None:
    spec = mk.Spec("deep:1", [BASE] * 1001)
    with pytest.raises(ArchiveError, match="an image of 1001 layers, lpmx takes up to 1000"):
        load(store, mk.docker_archive(tmp_path / "a.tar", [spec]))


def test_a_layer_that_is_not_what_the_configuration_says_is_refused(
    store: Store, tmp_path: Path
) -> None:
    files = mk.docker_files([DEMO], "v1")
    files[f"{DEMO.diff_ids[1]}x/layer.tar"] = OTHER
    with pytest.raises(ArchiveError, match=r"layer \w{12} of demo:1: checksum differs") as caught:
        load(store, mk.write_tar(tmp_path / "a.tar", files))
    assert caught.value.hint
    assert store.images() == []
    assert os.listdir(store.tmp_dir) == []
    load(store, mk.docker_archive(tmp_path / "good.tar", [DEMO]))
    assert store.resolve("demo:1").id == DEMO.id


def test_a_compressed_layer_is_checked_against_its_own_digest(store: Store, tmp_path: Path) -> None:
    files = mk.oci_files(mk.Spec("demo:1", [BASE]), compression=["gzip"])
    blob = next(name for name, data in files.items() if data == mk.compress(BASE, "gzip"))
    files[blob] = gzip.compress(BASE, 9, mtime=1)
    with pytest.raises(ArchiveError, match="checksum differs from the manifest"):
        load(store, mk.write_folder(tmp_path / "a", files))
    assert is_clean(store)


def test_a_configuration_that_is_not_its_name_is_refused(store: Store, tmp_path: Path) -> None:
    files = mk.docker_files([DEMO], "v1")
    files[f"{DEMO.id}.json"] += b" "
    with pytest.raises(ArchiveError, match="checksum differs"):
        load(store, mk.write_tar(tmp_path / "a.tar", files))
    assert is_clean(store)


@pytest.mark.parametrize("style", mk.STYLES)
def test_a_truncated_archive_is_refused_wherever_it_ends(
    store: Store, tmp_path: Path, style: str
) -> None:
    data = mk.docker_archive(tmp_path / "a.tar", [DEMO], style).read_bytes().rstrip(b"\0")
    broken = tmp_path / "broken.tar"
    results = set()
    for size in range(0, len(data) - 512, 700):
        broken.write_bytes(data[:size])
        results.add(outcome(lambda: load(store, broken)).partition(":")[0])
    assert results == {"ArchiveError"}
    assert is_clean(store)


@pytest.mark.parametrize("how", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_compression_is_refused(
    store: Store, tmp_path: Path, how: str, damage: str
) -> None:
    noisy = mk.layer(mk.file("noise", os.urandom(50_000)))
    files = mk.docker_files([mk.Spec("demo:1", [noisy])], "v1")
    name = next(n for n in files if n.endswith("layer.tar"))
    packed = bytearray(mk.compress(noisy, how))
    middle = len(packed) // 2
    files[name] = bytes(packed[:middle])
    if damage == "flip":
        packed[middle : middle + 64] = bytes(64)
        files[name] = bytes(packed)
    with pytest.raises(ArchiveError, match=r"damaged|truncated|checksum"):
        load(store, mk.write_tar(tmp_path / "a.tar", files))
    assert is_clean(store)


def _manifest(**fields: object) -> bytes:
    entry = {"Config": f"{DEMO.id}.json", "Layers": [f"{d}x/layer.tar" for d in DEMO.diff_ids]}
    return json.dumps([{**entry, **fields}]).encode()


@pytest.mark.parametrize(
    "manifest",
    [
        b"not json",
        b"[" * 100_000,
        b"{}",
        b"[]",
        b"[1]",
        b'[{"Config": 1, "Layers": []}]',
        _manifest(Config="missing.json"),
        _manifest(Config="../../../../etc/passwd"),
        _manifest(Config="manifest.json"),
        _manifest(Layers=[]),
        _manifest(Layers=["missing/layer.tar"] * 2),
        _manifest(Layers=["/etc/passwd", "../../etc/passwd"]),
        _manifest(Layers=["a\0b", "\ud800"]),
    ],
)
@pytest.mark.parametrize("form", ["folder", "tar"])
def test_a_bad_manifest_is_one_clear_error(
    store: Store, tmp_path: Path, manifest: bytes, form: str
) -> None:
    files = {**mk.docker_files([DEMO], "v1"), "manifest.json": manifest}
    write = mk.write_folder if form == "folder" else mk.write_tar
    path = write(tmp_path / "a", files)
    assert re.fullmatch(r"ArchiveError: [^\n]+", outcome(lambda: load(store, path)))
    assert is_clean(store)


@pytest.mark.parametrize(
    "config",
    [
        b"[]",
        b"{}",
        b'{"rootfs": {"diff_ids": []}}',
        b'{"rootfs": {"diff_ids": ["sha256:../../x"]}}',
        b'{"rootfs": {"diff_ids": ["md5:00"]}}',
        b'{"rootfs": {"diff_ids": [5]}}',
    ],
)
def test_a_bad_configuration_is_one_clear_error(
    store: Store, tmp_path: Path, config: bytes
) -> None:
    files = {**mk.docker_files([DEMO], "v1"), "c.json": config}
    files["manifest.json"] = _manifest(Config="c.json")
    path = mk.write_tar(tmp_path / "a.tar", files)
    assert re.fullmatch(r"ArchiveError: [^\n]+", outcome(lambda: load(store, path)))
    assert is_clean(store)


@pytest.mark.parametrize(
    "index",
    [
        b"{}",
        b'{"manifests": [7]}',
        b'{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}',
        b'{"manifests": [{"digest": "sha256:%s"}]}' % (b"0" * 64),
        b'{"manifests": []}',
    ],
)
def test_a_bad_oci_index_is_one_clear_error(store: Store, tmp_path: Path, index: bytes) -> None:
    files = {**mk.oci_files(mk.Spec("demo:1", [BASE])), "index.json": index}
    path = mk.write_folder(tmp_path / "a", files)
    assert re.fullmatch(r"ArchiveError: [^\n]+", outcome(lambda: load(store, path)))
    assert is_clean(store)


def test_an_index_that_names_itself_ends(store: Store, tmp_path: Path) -> None:
    """No blob can hold its own digest, but a chain of indexes can be long."""
    files: dict[str, bytes] = {}
    inner = b'{"manifests": []}'
    for _ in range(50):
        digest = mk.sha256(inner)
        files[f"blobs/sha256/{digest}"] = inner
        inner = json.dumps({"manifests": [{"digest": f"sha256:{digest}"}]}).encode()
    files["index.json"] = inner
    path = mk.write_folder(tmp_path / "a", files)
    assert "too deep" in outcome(lambda: load(store, path))


def test_what_is_no_archive_is_refused(store: Store, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello\n" * 1000)
    empty = tmp_path / "empty"
    empty.touch()
    fifo = tmp_path / "folder" / "manifest.json"
    fifo.parent.mkdir()
    os.mkfifo(fifo)
    for path in (text, empty, fifo.parent):
        with pytest.raises(ArchiveError):
            load(store, path)
    with pytest.raises(NotFoundError, match="no such file"):
        load(store, tmp_path / "missing")
    assert is_clean(store)


@pytest.mark.parametrize(
    ("at", "magic", "kind", "hint"),
    [
        (0, b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0", "a SIF", "lpmx-singularity exec {}"),
        (0, b"#!/usr/bin/env -S lpmx-singularity run\n", "a file that", "lpmx-singularity exec"),
        (0, b"hsqs", "a squashfs", "unsquashfs"),
        (1080, b"\x53\xef", "an ext2", "lpmx-docker import"),
        (0, b"QFI\xfb", "a qcow2", "virtual machine"),
        (0, b"PK\3\4", "a zip", "unpack it"),
        (0, b"<!DOCTYPE html>", "a web page", "get it again"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_other_kinds_of_files_are_named(
    store: Store, tmp_path: Path, at: int, magic: bytes, kind: str, hint: str, packed: bool
) -> None:
    data = bytes(at) + magic + bytes(40000)
    path = tmp_path / "image"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(ArchiveError, match=f"{path}: {kind}") as caught:
        load(store, path)
    assert hint.format(path) in str(caught.value.hint)
    assert is_clean(store)


@pytest.mark.parametrize("packed", [False, True])
def test_a_tar_of_a_file_system_is_told_from_an_image(
    store: Store, tmp_path: Path, packed: bool
) -> None:
    data = mk.layer(mk.file("./etc/passwd", b"root"), mk.file("bin/sh"))
    path = tmp_path / "root.tar"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(ArchiveError, match="a file system, no image") as caught:
        load(store, path)
    assert caught.value.hint == f"`lpmx-docker import {path} NAME` makes an image of it"


def test_a_hostile_layer_leaves_the_store_as_it_was(store: Store, tmp_path: Path) -> None:
    spec = mk.Spec("evil:1", [BASE, mk.layer(mk.file("ok"), mk.file("../../../../../../evil"))])
    with pytest.raises(ArchiveError, match=r"layer \w+ of evil:1: .*leads out"):
        load(store, mk.docker_archive(tmp_path / "a.tar", [spec]))
    assert store.images() == []
    assert gc.collect(store).layers == (spec.diff_ids[0],)
    assert is_clean(store)


def test_a_full_disk_is_one_clear_error_and_leaves_the_store_usable(
    store: Store, tmp_path: Path
) -> None:
    """RLIMIT_FSIZE stands for the full disk: the same path, with EFBIG for ENOSPC."""
    big = mk.Spec("big:1", [mk.layer(mk.file("big", b"x" * 300_000))])
    path = mk.docker_archive(tmp_path / "a.tar", [big])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StorageError) as caught:
            load(store, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.hint
    assert is_clean(store)
    assert load(store, path)[0].image.id == big.id


def test_loads_of_one_image_at_once_all_succeed(store: Store, tmp_path: Path) -> None:
    layers = [mk.layer(mk.file(f"f{i}", b"x" * 200_000)) for i in range(5)]
    path = mk.docker_archive(tmp_path / "a.tar", [mk.Spec("demo:1", layers)])
    done: list[Loaded] = []
    threads = [threading.Thread(target=lambda: done.extend(load(store, path))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.image.id for one in done} == {store.resolve("demo:1").id}
    assert (len(done), sum(one.new_layers for one in done)) == (6, 5)
    assert os.listdir(store.tmp_dir) == []


def test_a_decompression_bomb_is_not_held_in_memory(store: Store, tmp_path: Path) -> None:
    """A layer that claims to end after its first member, with a gigabyte of zeros behind."""
    packed = mk.compress(bytes(1 << 28), "zstd")
    files = mk.docker_files([DEMO], "v1")
    files[f"{DEMO.diff_ids[0]}x/layer.tar"] = packed * 4
    path = mk.write_tar(tmp_path / "a.tar", files)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "checksum differs" in outcome(lambda: load(store, path))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200_000, f"{grown} kB"
