"""`diff`, `commit` and `save`: what a container has become is what others read out of it.

The judges are skopeo, umoci and podman of Debian, and `lpmx load`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from support import busybox
from support import mkimage as mk
from support.storecheck import check_collected

CHANGES = """
set -e; mkdir /opt; cd /opt
mkdir -m 2750 d; chown 5:6 d; touch d/f; chown 7:8 d/f; chmod 4751 d/f; ln d/f d/twin
mknod d/null c 1 3; mkfifo d/fifo; ln -s f d/link; chown -h 9:10 d/link; touch 'd/\u00e9 n'
rm /etc/marker && rm -rf /usr/share && mkdir /usr/share && touch /usr/share/new
rm -rf /var/spool && echo file > /var/spool && rm /lib/one && echo back > /lib/one
"""
LAYER = {  # name: (type, mode, uid, gid)
    "etc/.wh.marker": None,
    "lib/one": (tarfile.REGTYPE, 0o644, 0, 0),
    "opt": (tarfile.DIRTYPE, 0o755, 0, 0),
    "opt/d": (tarfile.DIRTYPE, 0o2750, 5, 6),
    "opt/d/f": (tarfile.REGTYPE, 0o4751, 7, 8),
    "opt/d/fifo": (tarfile.FIFOTYPE, 0o644, 0, 6),
    "opt/d/link": (tarfile.SYMTYPE, 0o777, 9, 10),
    "opt/d/null": (tarfile.CHRTYPE, 0o644, 0, 6),
    "opt/d/twin": (tarfile.LNKTYPE, 0o4751, 7, 8),
    "opt/d/\u00e9 n": (tarfile.REGTYPE, 0o644, 0, 6),
    "usr/share/.wh..wh..opq": None,
    "usr/share/new": (tarfile.REGTYPE, 0o644, 0, 0),
    "var/spool": (tarfile.REGTYPE, 0o644, 0, 0),
}
BASE = {
    "etc/marker": b"x", "etc/kept": b"x", "usr/share/old": b"x", "usr/share/deep/old": b"x",
    "var/spool/mail": b"x", "lib/one": b"x", "lib/two": b"x",
}  # fmt: skip


@pytest.fixture(scope="module")
def base(store, busybox_image, tmp_path_factory):
    """A container's image with something to change."""
    folder = tmp_path_factory.mktemp("base")
    script = "".join(
        f"mkdir -p $(dirname /{name}) && printf {data.decode()} > /{name};"
        for name, data in BASE.items()
    )
    store("create", "--name", "base-for-save", busybox_image, cwd=folder)
    store("exec", "base-for-save", "sh", "-c", script, cwd=folder)
    store("commit", "base-for-save", "saved/base:1", cwd=folder)
    store("rm", "base-for-save")
    return "saved/base:1"


@pytest.fixture(scope="module", params=["attributes", "files"])
def changed(request, store, base, tmp_path_factory):
    """The name of a container in which CHANGES were made."""
    name = f"changed-{request.param}"
    folder = tmp_path_factory.mktemp("changed")
    store(
        "create", "--fakeroot", "--name", name, base, cwd=folder,
        env={"LPMX_OWNERS": request.param},
    )  # fmt: skip
    store("exec", name, "sh", "-c", CHANGES, cwd=folder)
    yield name
    store("rm", name)


@pytest.fixture(scope="module")
def committed(store, changed):
    """The name of the image made of it."""
    name = f"saved/{changed}:1"
    store(
        "commit", "-a", "A <a@b>", "-m", "said", "-c", 'ENV A=1 B="two words"', "-c",
        'CMD ["cat", "/etc/kept"]', "-c", "WORKDIR /opt", "-c", "USER 7:8", "-c", "LABEL l=v",
        changed, name,
    )  # fmt: skip
    return name


def members(path: Path) -> dict[str, tarfile.TarInfo]:
    """The members of a layer."""
    with tarfile.open(path) as tar:
        return {member.name: member for member in tar.getmembers()}


def tool(*command, **options):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not here (tests/images/prepare.sh test)")
    done = subprocess.run(
        [os.fspath(word) for word in command],
        capture_output=True, text=True, check=False, timeout=120, **options,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_diff_lists_what_changed(store, changed):
    lines = store("diff", changed).stdout.splitlines()
    assert lines == [
        "C /etc", "D /etc/marker", "C /lib", "C /lib/one", "A /opt", "A /opt/d", "A /opt/d/f",
        "A /opt/d/fifo", "A /opt/d/link", "A /opt/d/null", "A /opt/d/twin", "A /opt/d/\u00e9 n",
        "C /usr", "C /usr/share", "D /usr/share/deep", "A /usr/share/new", "D /usr/share/old",
        "C /var", "C /var/spool",
    ]  # fmt: skip
    listed = json.loads(store("diff", "--json", changed).stdout)
    assert [f"{item['kind']} {item['path']}" for item in listed] == lines


def test_diff_of_an_untouched_container_is_empty(run_lpmx, base):
    run_lpmx("create", "--name", "untouched", base)
    run_lpmx("exec", "untouched", "true")
    lines = run_lpmx("diff", "untouched").stdout
    run_lpmx("rm", "untouched")
    assert lines == ""


def test_commit_s_layer_says_all(store, committed, tmp_path):
    store("save", "-o", tmp_path / "a.tar", committed)
    tool("tar", "-xf", tmp_path / "a.tar", "-C", tmp_path)
    (manifest,) = json.loads((tmp_path / "manifest.json").read_text())
    found = members(tmp_path / manifest["Layers"][-1])
    for name, wanted in LAYER.items():
        member = found.pop(name)
        if wanted:
            assert (member.type, member.mode, member.uid, member.gid) == wanted, name
    assert sorted(found) == ["etc", "lib", "usr", "usr/share", "var"]
    assert found["etc"].mode == 0o755
    with tarfile.open(tmp_path / manifest["Layers"][-1]) as tar:
        assert tar.getmember("opt/d/twin").linkname == "opt/d/f"
        null = tar.getmember("opt/d/null")
        assert (null.devmajor, null.devminor) == (1, 3)


def test_commit_changes_the_configuration(store, committed):
    image = json.loads(store("inspect", committed).stdout)
    config = json.loads((store.home / "images" / _id(image) / "config.json").read_text())
    run = config["config"]
    assert run["Env"][-2:] == ["A=1", "B=two words"]
    assert (run["Cmd"], run["WorkingDir"], run["User"], run["Labels"]) == (
        ["cat", "/etc/kept"], "/opt", "7:8", {"l": "v"},
    )  # fmt: skip
    assert config["author"] == "A <a@b>"
    last = config["history"][-1]
    assert (last["comment"], last["author"]) == ("said", "A <a@b>")
    assert len(config["rootfs"]["diff_ids"]) == 4
    assert store("run", committed).stdout == "x"


def _id(image):
    value = image[0] if isinstance(image, list) else image
    return value.get("id", value.get("Id", "")).removeprefix("sha256:")


def test_commit_is_the_same_twice(store, changed, monkeypatch):
    ids = {
        store("commit", changed, env={"SOURCE_DATE_EPOCH": "1700000000"}).stdout for _ in range(2)
    }
    assert len(ids) == 1


def test_a_committed_container_s_tree_is_shown_again(store, committed):
    script = "cd /opt/d; stat -c '%n %u:%g %a %F' *; ls /usr/share /etc; cat /var/spool /lib/one"
    lines = store("run", "--fakeroot", committed, "sh", "-c", script).stdout.splitlines()
    assert lines[:5] == [
        "f 7:8 4751 regular empty file", "fifo 0:6 644 fifo", "link 9:10 777 symbolic link",
        "null 0:6 644 character special file", "twin 7:8 4751 regular empty file",
    ]  # fmt: skip
    assert "old" not in lines
    assert "marker" not in lines
    assert lines[-2:] == ["file", "back"]


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_load_reads_it_back_equal(store, empty_store, committed, form, tmp_path):
    out = tmp_path / "out"
    store("save", "--format", form, "-o", out, committed)
    assert "loaded" in empty_store("load", out).stdout
    ours, theirs = (json.loads(one("images", "--json").stdout) for one in (store, empty_store))
    wanted = [item for item in ours if committed in json.dumps(item)]
    keys = ("id", "diff_ids", "layers", "names")
    assert [{k: v for k, v in i.items() if k in keys} for i in theirs] == [
        {k: v for k, v in i.items() if k in keys} for i in wanted
    ]


def test_a_loaded_image_is_saved_with_its_digests(image, archive, store, tmp_path):
    """Byte for byte: layers whose files were replaced within the archive, hard links, sparse."""
    for name in ("many-layers", "musl", "go"):
        store("save", "-o", tmp_path / f"{name}.tar", image(name))
        with tarfile.open(tmp_path / f"{name}.tar") as tar:
            manifest = json.load(tar.extractfile("manifest.json"))[0]
            config = json.load(tar.extractfile(manifest["Config"]))
            for diff_id, layer in zip(
                config["rootfs"]["diff_ids"], manifest["Layers"], strict=True
            ):
                digest = hashlib.file_digest if hasattr(hashlib, "file_digest") else None
                data = tar.extractfile(layer)
                found = (
                    digest(data, "sha256").hexdigest()
                    if digest
                    else hashlib.sha256(data.read()).hexdigest()
                )
                assert diff_id == f"sha256:{found}"


def test_save_of_several_images_shares_layers(store, base, committed, tmp_path):
    store("save", "-o", tmp_path / "two.tar", base, committed)
    with tarfile.open(tmp_path / "two.tar") as tar:
        names = tar.getnames()
        manifest = json.load(tar.extractfile("manifest.json"))
    assert [item["RepoTags"] for item in manifest] == [[base], [committed]]
    assert len(names) == len(set(names)) == 4 + 2 + 1


def test_save_leaves_nothing_when_it_fails(store, committed, tmp_path):
    done = store("save", "-o", tmp_path / "x.tar", committed, "no-such-image", check=False)
    assert done.returncode != 0
    assert "no-such-image" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_skopeo_reads_it(store, committed, form, tmp_path):
    out = tmp_path / "out"
    store("save", "--format", form, "-o", out, committed)
    transport = {"docker-archive": f"docker-archive:{out}", "oci-archive": f"oci-archive:{out}",
                 "oci-dir": f"oci:{out}:{committed}"}[form]  # fmt: skip
    seen = json.loads(tool("skopeo", "inspect", transport))
    ids = json.loads(tool("skopeo", "inspect", "--config", transport))["rootfs"]["diff_ids"]
    assert seen["Labels"] == {"l": "v"}
    ours = json.loads(store("images", "--json").stdout)
    (ours,) = [item for item in ours if committed in json.dumps(item)]
    assert len(ids) == len(seen["Layers"]) == 4
    copied = tmp_path / "copied"
    tool("skopeo", "--insecure-policy", "copy", transport, f"oci:{copied}:x")
    assert (copied / "index.json").exists()


def test_umoci_unpacks_the_same_tree(store, committed, tmp_path):
    store("save", "--format", "oci-dir", "-o", tmp_path / "layout", committed)
    rootless = [] if os.geteuid() == 0 else ["--rootless"]
    tool(
        "umoci", "unpack", *rootless, "--image", f"{tmp_path / 'layout'}:{committed}",
        tmp_path / "bundle",
    )  # fmt: skip
    root = tmp_path / "bundle" / "rootfs"
    assert not (root / "etc" / "marker").exists()
    assert sorted(os.listdir(root / "usr" / "share")) == ["new"]
    assert (root / "var" / "spool").read_text() == "file\n"
    if os.geteuid() == 0:
        for name, wanted in LAYER.items():
            if wanted:
                status = os.lstat(root / name)
                mode = wanted[1]
                assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (
                    mode, *wanted[2:],
                ), name  # fmt: skip
        assert stat.S_ISCHR(os.lstat(root / "opt/d/null").st_mode)
        assert os.lstat(root / "opt/d/f").st_ino == os.lstat(root / "opt/d/twin").st_ino


@pytest.mark.needs_root
@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_sees_the_same_tree(store, committed, form, tmp_path):
    """In a podman storage of its own; owners and modes as podman would give them to a container."""
    out = tmp_path / "out.tar"
    store("save", "--format", form, "-o", out, committed)
    short = tempfile.mkdtemp(prefix="pod")  # podman wants less than 50 characters
    podman = [
        "podman", "--root", tmp_path / "root", "--runroot", short,
        "--storage-driver", "vfs",
    ]  # fmt: skip
    try:
        tool(*podman, "load", "-i", out)
        image = tool(*podman, "images", "-q").split()[0]
        mounted = Path(tool(*podman, "image", "mount", image).strip())
        for name, wanted in LAYER.items():
            if wanted:
                status = os.lstat(mounted / name)
                assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == wanted[1:]
        assert not (mounted / "etc" / "marker").exists()
        assert sorted(os.listdir(mounted / "usr" / "share")) == ["new"]
        tool(*podman, "image", "umount", image)
    finally:
        subprocess.run([*podman, "system", "reset", "--force"], capture_output=True, check=False)
        shutil.rmtree(short, ignore_errors=True)


def test_capabilities_of_files_survive(store, base, tmp_path):
    store("create", "--fakeroot", "--name", "caps", base)
    (folder,) = [
        path for path in (store.home / "containers").iterdir() if not path.name.startswith(".")
        and json.loads((path / "container.json").read_text())["name"] == "caps"
    ]  # fmt: skip
    store("exec", "caps", "touch", "/bin/tool")
    value = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(folder / "upper" / "bin" / "tool", "user.lpmx.security.capability", value)
    store("commit", "caps", "saved/caps:1")
    store("rm", "caps")
    store("save", "-o", tmp_path / "caps.tar", "saved/caps:1")
    tool("tar", "-xf", tmp_path / "caps.tar", "-C", tmp_path)
    (manifest,) = json.loads((tmp_path / "manifest.json").read_text())
    member = members(tmp_path / manifest["Layers"][-1])["bin/tool"]
    kept = member.pax_headers["SCHILY.xattr.security.capability"]
    assert kept.encode("utf-8", "surrogateescape") == value
    assert store("diff", "--json", "nobody", check=False).returncode == 1


# ---- hard links to files of lower layers

CONFIG = {"Env": ["PATH=/bin"], "Cmd": ["sh"]}


@pytest.fixture
def linked(empty_store, tmp_path):
    """An image whose top layer has hard links to a lower layer's file."""
    if busybox.available() is None:
        pytest.skip("no static busybox here (Debian: busybox-static)")
    lower = mk.layer(mk.file("opt/one", b"one\n", mode=0o4751, uid=5, gid=6))
    top = mk.layer(mk.hardlink("opt/two", "opt/one"), mk.hardlink("srv/three", "/opt/one"))
    spec = mk.Spec("linked:1", [*busybox.base_layers(), lower, top], CONFIG)
    empty_store("load", mk.docker_archive(tmp_path / "linked.tar", [spec]))
    return spec


def test_a_link_to_a_lower_layers_file_is_a_file_like_any(empty_store, linked, tmp_path):
    def sh(image, script):
        return empty_store("run", "--rm", "--fakeroot", image, "sh", "-c", script).stdout

    names = "/opt/one /opt/two /srv/three"
    assert sh("linked:1", f"cat {names}") == "one\n" * 3
    assert sh("linked:1", f"stat -c '%a %u:%g %s %h' {names}") == "4751 5:6 4 3\n" * 3
    assert len(set(sh("linked:1", f"stat -c %i {names}").split())) == 1
    empty_store("create", "--fakeroot", "--name", "box", "linked:1")
    empty_store("exec", "box", "sh", "-c", "echo more >> /opt/two; rm /srv/three")
    assert empty_store("diff", "box").stdout.split("\n")[:-1] == [
        "C /opt", "C /opt/two", "C /srv", "D /srv/three"
    ]  # fmt: skip
    empty_store("commit", "box", "changed:1")
    assert sh("changed:1", "cat /opt/one /opt/two; test ! -e /srv/three") == "one\none\nmore\n"
    why = empty_store("why", "-c", "linked:1", "/opt/two").stdout
    assert f"links of layer 4 ({linked.diff_ids[3][:12]})  file, shown" in why
    empty_store("cp", "box:/opt/one", tmp_path / "one")
    assert (tmp_path / "one").read_text() == "one\n"
    empty_store("export", "-o", tmp_path / "box.tar", "box")
    with tarfile.open(tmp_path / "box.tar") as tar:
        assert tar.extractfile("opt/two").read() == b"one\nmore\n"
    empty_store("save", "-o", tmp_path / "saved.tar", "changed:1")
    empty_store("rm", "box")
    empty_store("rmi", "changed:1", "linked:1")
    check_collected(empty_store.home)
    empty_store("load", tmp_path / "saved.tar")
    assert sh("changed:1", "cat /opt/one /opt/two; test ! -e /srv/three") == "one\none\nmore\n"
