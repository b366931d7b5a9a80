"""`lpmx push` into real registries, and over a line on which things go wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest
from support import mkimage
from support.lpmx import Lpmx, run
from support.miniregistry import MiniRegistry
from support.registry import (
    PASSWORD,
    USER,
    FaultProxy,
    Rule,
    docker_registry,
    json_body,
    lone_user,
    push,
)
from support.tokens import TokenServer, User
from support.upload import manifest_digest, manifest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 3 << 20  # of the first layer
UPLOADS = "(PUT|PATCH) .*/blobs/uploads/"


@pytest.fixture(scope="module")
def spec() -> mkimage.Spec:
    """A large layer and a small one; the first does not compress."""
    layers = [
        mkimage.layer(mkimage.file("f", os.urandom(SIZE))),
        mkimage.layer(mkimage.file("g", b"small\n" * 1000)),
    ]
    return mkimage.Spec("x:1", layers, {"Cmd": ["/f"]})


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, spec: mkimage.Spec) -> Path:
    path = tmp_path_factory.mktemp("image") / "x.tar"
    mkimage.docker_archive(path, [spec])
    return path


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    folder = tmp_path_factory.mktemp("registry")
    with docker_registry(folder / "registry") as address, FaultProxy(address) as proxy:
        yield proxy


@pytest.fixture
def lpmx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: FaultProxy) -> Lpmx:
    """With an empty store, and a home without anybody's credentials."""
    lone_user(tmp_path / "home", monkeypatch)
    proxy.begin()
    return Lpmx(tmp_path / "store")


@pytest.fixture
def place(proxy: FaultProxy, request: pytest.FixtureRequest) -> str:
    """A repository that nobody has written to."""
    name = "".join(char for char in request.node.name.lower() if char.isalnum())
    return f"{proxy.address}/{name[:60]}/{os.urandom(3).hex()}"


def pushed_digest(done_stdout: str, name: str) -> str:
    reference, _, digest = done_stdout.strip().partition("@")
    assert reference == name
    return digest


def test_a_loaded_image_is_pushed_and_pulled_back(
    lpmx: Lpmx, archive: Path, spec: mkimage.Spec, place: str, tmp_path: Path
) -> None:
    lpmx("load", archive)
    done = lpmx("push", "x:1", f"docker://{place}:1")
    digest = pushed_digest(done.stdout, f"{place}:1")
    assert digest == manifest_digest(place, "1")
    assert "3 blobs: 3 sent" in done.stderr
    other = Lpmx(tmp_path / "other")
    other("pull", f"{place}@{digest}")
    (row,) = json.loads(other("--json", "images").stdout)
    assert row["id"] == spec.id


def test_what_is_pushed_twice_is_sent_once_and_has_one_digest(
    lpmx: Lpmx, archive: Path, proxy: FaultProxy, place: str, tmp_path: Path
) -> None:
    """In the second store layers are compressed once more: by the same bytes."""
    lpmx("load", archive)
    first = lpmx("push", "x:1", f"{place}:1").stdout
    proxy.begin()
    assert lpmx("push", "x:1", f"{place}:1").stdout == first
    assert {one.method for one in proxy.requests} == {"HEAD", "PUT"}  # the manifest
    other = Lpmx(tmp_path / "other")
    other("load", archive)
    proxy.begin()
    assert other("push", "x:1", f"{place}:1").stdout == first
    assert not [one for one in proxy.requests if one.method == "POST"]


def test_pushed_image_is_read_by_skopeo_podman_docker(
    lpmx: Lpmx, archive: Path, spec: mkimage.Spec, proxy: FaultProxy, place: str, tmp_path: Path
) -> None:
    """Docker's part is its registry, which checks what it takes; umoci reads the copy."""
    lpmx("load", archive)
    place = f"{proxy.upstream}{place.removeprefix(proxy.address)}"
    digest = pushed_digest(lpmx("push", "x:1", f"{place}:1").stdout, f"{place}:1")
    for program in ("skopeo", "podman", "umoci"):
        if not shutil.which(program):
            pytest.skip(f"no {program} on this machine")
    unchecked = "--tls-verify=false"
    found = json.loads(run(["skopeo", "inspect", unchecked, f"docker://{place}:1"]).stdout)
    assert found["Digest"] == digest
    layout = tmp_path / "layout"
    words = ["skopeo", "copy", "-q", "--insecure-policy", "--src-tls-verify=false"]
    run([*words, f"docker://{place}:1", f"oci:{layout}:1"])
    run(["umoci", "unpack", "--rootless", "--image", f"{layout}:1", tmp_path / "bundle"])
    assert (tmp_path / "bundle/rootfs/f").stat().st_size == SIZE
    with tempfile.TemporaryDirectory(prefix="p") as folder:  # podman wants short names
        storage = ["--root", f"{folder}/s", "--runroot", f"{folder}/r", "--storage-driver", "vfs"]
        words = ["podman", *storage, "pull", "-q", unchecked, f"{place}:1"]
        pulled = run(words, check=False)
        run(["podman", *storage, "rmi", "-f", spec.id[:12]], check=False)
    if any(word in pulled.stderr for word in ("newuidmap", "namespace", "not permitted")):
        return  # podman itself cannot run as this user, or in this place
    assert pulled.stdout.strip() == spec.id, pulled.stderr


def test_push_of_a_pulled_image_keeps_its_digest(
    lpmx: Lpmx, archive: Path, proxy: FaultProxy, place: str, tmp_path: Path
) -> None:
    """To another registry too, which gets the blobs of the first."""
    push(archive, f"{proxy.upstream}{place.removeprefix(proxy.address)}:1")  # by skopeo's gzip
    lpmx("pull", f"{place}:1")
    original = manifest_of(place, "1")
    with docker_registry(tmp_path / "second") as second:
        done = lpmx("push", f"{place}:1", f"{second}/copy:2")
        assert manifest_of(f"{second}/copy", "2") == original
        assert pushed_digest(done.stdout, f"{second}/copy:2") == manifest_digest(place, "1")
        assert "3 blobs: 3 sent" in done.stderr
        rows = json.loads(lpmx("--json", "push", f"{place}:1", f"{second}/copy:3").stdout)
        assert (rows["keeps_manifest"], rows["there"], rows["sent"]) == (True, 3, 0)


def test_what_cannot_be_had_as_it_was_is_compressed_again(
    lpmx: Lpmx, archive: Path, spec: mkimage.Spec, proxy: FaultProxy, place: str, tmp_path: Path
) -> None:
    push(archive, f"{proxy.upstream}{place.removeprefix(proxy.address)}:1")
    lpmx("pull", f"{place}:1")
    proxy.begin(Rule("HEAD .*/blobs/", "status", code=404))
    with docker_registry(tmp_path / "second") as second:
        done = lpmx("push", f"{place}:1", f"{second}/copy:2")
        assert "cannot be had as it was pulled" in done.stderr
        value = json.loads(manifest_of(f"{second}/copy", "2"))
        assert value["config"]["digest"] == f"sha256:{spec.id}"
        proxy.begin()
        other = Lpmx(tmp_path / "other")
        other("pull", f"{second}/copy:2")


def test_mount_saves_the_upload(lpmx: Lpmx, archive: Path, proxy: FaultProxy, place: str) -> None:
    push(archive, f"{proxy.upstream}{place.removeprefix(proxy.address)}:1")
    lpmx("pull", f"{place}:1")
    proxy.begin()
    done = lpmx("push", f"{place}:1", f"{place}/copy:2")
    assert "3 blobs: 3 mounted" in done.stderr
    assert not [one for one in proxy.requests if one.method in {"PATCH", "GET"}]
    assert manifest_of(f"{place}/copy", "2") == manifest_of(place, "1")


def test_layers_of_a_pulled_image_are_not_sent_with_one_made_of_it(
    lpmx: Lpmx, archive: Path, proxy: FaultProxy, place: str, spec: mkimage.Spec, tmp_path: Path
) -> None:
    """Another image with the same first layer; the registry has that compressed by skopeo."""
    push(archive, f"{proxy.upstream}{place.removeprefix(proxy.address)}:1")
    lpmx("pull", f"{place}:1")
    (base,) = json.loads((lpmx.home / "layers" / spec.diff_ids[0] / "blobs.json").read_text())
    derived = mkimage.Spec("y:1", [spec.layers[0], mkimage.layer(mkimage.file("h", b"h"))])
    mkimage.docker_archive(tmp_path / "y.tar", [derived])
    lpmx("load", tmp_path / "y.tar")
    done = lpmx("push", "y:1", f"{place}/derived:1")
    assert "3 blobs: 2 sent, 1 mounted" in done.stderr
    layers = json.loads(manifest_of(f"{place}/derived", "1"))["layers"]
    assert layers[0]["digest"] == f"sha256:{base['digest']}"
    assert layers[0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([Rule(UPLOADS, "drop", times=2, after=1_000_000, larger=SIZE)], id="cuts"),
        pytest.param([Rule(UPLOADS, "status", times=2, code=503)], id="503"),
        pytest.param([Rule(UPLOADS, "status", times=1, code=404)], id="session lost"),
        pytest.param([Rule("POST", "status", times=1, code=502)], id="502 at the beginning"),
        pytest.param([Rule("PUT .*/manifests/", "status", times=1, code=500)], id="manifest"),
    ],
)
def test_upload_survives_a_cut(
    rules: list[Rule], lpmx: Lpmx, archive: Path, proxy: FaultProxy, place: str, tmp_path: Path
) -> None:
    lpmx("load", archive)
    proxy.begin(*rules)
    digest = pushed_digest(lpmx("push", "x:1", f"{place}:1").stdout, f"{place}:1")
    assert rules[0].times == 0
    proxy.begin()
    assert Lpmx(tmp_path / "other")("pull", f"{place}@{digest}").returncode == 0


def test_a_cut_upload_goes_on_where_the_registry_says(lpmx: Lpmx, archive: Path) -> None:
    """What has arrived is not sent again."""
    lpmx("load", archive)
    with MiniRegistry() as mini:
        mini.cuts = [2_000_000, 500_000]
        lpmx("push", "--jobs", "1", "x:1", f"{mini.address}/lab/x:1")
        layer = max(len(data) for data in mini.blobs.values())
        sizes = [size for method, _, size in mini.requests if method == "PATCH"]
        assert sizes == [layer - 2_000_000, layer - 2_500_000]
        assert mini.count("POST") == 3, "one session a blob"


def test_a_registry_that_takes_too_little_at_a_time(lpmx: Lpmx, archive: Path) -> None:
    """4 MiB is the least that is tried."""
    lpmx("load", archive)
    with MiniRegistry(most=2 << 20) as mini:
        done = lpmx("push", "x:1", f"{mini.address}/lab/x:1", check=False)
        assert done.returncode == 1
        assert "SIZE_INVALID" in done.stderr


def test_smaller_pieces_where_a_body_is_too_large(
    lpmx: Lpmx, tmp_path: Path, proxy: FaultProxy, place: str
) -> None:
    big = mkimage.Spec("big:1", [mkimage.layer(mkimage.file("f", os.urandom(9 << 20)))])
    mkimage.docker_archive(tmp_path / "big.tar", [big])
    lpmx("load", tmp_path / "big.tar")
    proxy.begin(Rule(UPLOADS, "status", code=413, larger=5 << 20))
    lpmx("push", "big:1", f"{place}:1")
    assert [one.piece.partition("-")[0] for one in proxy.requests if one.method == "PATCH"] == [
        "0",
        str(4 << 20),
        str(8 << 20),
    ]
    proxy.begin()
    Lpmx(tmp_path / "other")("pull", f"{place}:1")


def test_pieces_are_no_smaller_than_the_registry_wants(lpmx: Lpmx, tmp_path: Path) -> None:
    big = mkimage.Spec("big:1", [mkimage.layer(mkimage.file("f", os.urandom(9 << 20)))])
    mkimage.docker_archive(tmp_path / "big.tar", [big])
    lpmx("load", tmp_path / "big.tar")
    with MiniRegistry(most=5 << 20, least=4_500_000) as mini:
        lpmx("push", "big:1", f"{mini.address}/lab/x:1")
        sizes = [size for method, _, size in mini.requests if method == "PATCH"]
        assert sizes[:2] == [4_500_000, 4_500_000]
        assert len(sizes) == 3
        Lpmx(tmp_path / "other")("pull", f"{mini.address}/lab/x:1")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([Rule(UPLOADS, "status", code=413, body=json_body("SIZE_INVALID", "x"))], "SIZE_INVALID"),
        (
            [Rule("PUT .*/manifests/", "status", code=400, body=json_body("BAD", "\x1b[31mno"))],
            r"BAD: \x1b[31mno",
        ),
        ([Rule("POST", "status", code=403, body=json_body("DENIED", "no"))], "wants credentials"),
        ([Rule("POST", "status", code=405, body=json_body("UNSUPPORTED", "no"))], "UNSUPPORTED"),
        (
            [Rule(UPLOADS, "status", code=400, body=json_body("DIGEST_INVALID", "no"))],
            "DIGEST_INVALID",
        ),
    ],
)
def test_a_refusal_is_one_line(
    rules: list[Rule], message: str, lpmx: Lpmx, archive: Path, proxy: FaultProxy, place: str
) -> None:
    lpmx("load", archive)
    proxy.begin(*rules)
    done = lpmx("push", "x:1", f"{place}:1", check=False)
    said = [line for line in done.stderr.splitlines() if not line.startswith(("layer ", "  ("))]
    assert (done.returncode, done.stdout, len(said)) == (1, "", 1), done.stderr
    assert message in said[0]
    assert list((lpmx.home / "tmp").iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(lpmx: Lpmx, archive: Path, place: str) -> None:
    """Layers are compressed on disk; the limit plays one that is full."""
    lpmx("load", archive)
    small = Lpmx(lpmx.home, prefix=("prlimit", "--fsize=1000000"))
    done = small("push", "x:1", f"{place}:1", check=False)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (1, "", False)
    assert "file too large" in done.stderr
    assert list((lpmx.home / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing:1"], "no such image"),
        (["x:1", "HOST/lab/x@sha256:" + "0" * 64], "a digest is what a push results in"),
        (["x:1", "HOST/Lab/x"], "not an image name"),
        (["ID"], "an id, not a name"),
        (["--jobs", "0", "x:1", "HOST/lab/x"], "at least 1"),
    ],
)
def test_what_cannot_be_pushed_is_not_begun(
    words: list[str], message: str, lpmx: Lpmx, archive: Path, proxy: FaultProxy, spec: mkimage.Spec
) -> None:
    lpmx("load", archive)
    known = {"HOST": proxy.address, "ID": spec.id[:12]}
    given = [word.replace("HOST", known["HOST"]).replace("ID", known["ID"]) for word in words]
    done = lpmx("push", *given, check=False)
    assert done.returncode in {1, 2}
    assert message in done.stderr
    assert proxy.requests == []


def test_a_registry_with_tls_and_a_password(lpmx: Lpmx, archive: Path, tmp_path: Path) -> None:
    lpmx("load", archive)
    with docker_registry(tmp_path / "secured", secured=True) as address:
        name = f"localhost:{address.rpartition(':')[2]}/lab/x:1"
        untrusted = lpmx("push", "x:1", name, check=False)
        assert "certificate not trusted" in untrusted.stderr
        trust = {"SSL_CERT_FILE": str(tmp_path / "secured/ca.crt")}
        nobody = lpmx("push", "x:1", name, check=False, env=trust)
        assert (nobody.returncode, "wants credentials" in nobody.stderr) == (1, True)
        wrong = {**trust, "LPMX_REGISTRY_USER": USER, "LPMX_REGISTRY_PASSWORD": "wrong"}
        assert lpmx("push", "x:1", name, check=False, env=wrong).returncode == 1
        right = {**wrong, "LPMX_REGISTRY_PASSWORD": PASSWORD}
        assert lpmx("push", "x:1", name, env=right).stdout.startswith(f"{name}@sha256:")


def test_one_token_lets_push_and_mount(
    lpmx: Lpmx, archive: Path, tmp_path: Path, spec: mkimage.Spec
) -> None:
    with TokenServer(tmp_path / "tokens") as server:
        server.begin(ada=User("s3cret", {"lab/*": "pull,push"}), eve=User("s3cret", {}))
        with docker_registry(tmp_path / "registry", tokens=server) as address:
            push(archive, f"{address}/lab/x:1", "--dest-creds", "ada:s3cret")
            ada = {"LPMX_REGISTRY_USER": "ada", "LPMX_REGISTRY_PASSWORD": "s3cret"}
            lpmx("pull", f"{address}/lab/x:1", env=ada)
            server.grants.clear()
            done = lpmx("push", f"{address}/lab/x:1", f"{address}/lab/y:1", env=ada)
            assert "3 mounted" in done.stderr
            (grant,) = server.grants
            assert set(grant.scopes) == {
                "repository:lab/y:pull,push",
                "repository:lab/x:pull",
            }
            eve = {**ada, "LPMX_REGISTRY_USER": "eve"}
            refused = lpmx("push", f"{address}/lab/x:1", f"{address}/lab/z:1", env=eve, check=False)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "eve" in refused.stderr or "LPMX_REGISTRY_USER" in refused.stderr


def test_the_docker_front_end_pushes_in_docker_s_words(
    lpmx: Lpmx, store: Lpmx, archive: Path, place: str
) -> None:
    script = f"{store.command[0]}-docker"
    lpmx("load", str(archive), "-t", f"{place}:7")
    done = run([script, "push", f"{place}:7"], env=lpmx.environment())
    first, last = done.stdout.splitlines()
    assert first == f"The push refers to repository [{place}]"
    assert re.fullmatch(r"7: digest: sha256:[0-9a-f]{64} size: [0-9]+", last)
    done = run([script, "push", f"{place}:8"], env=lpmx.environment(), check=False)
    assert done.returncode == 1
    assert "An image does not exist locally with the tag" in done.stderr


def test_a_committed_image_is_pushed_on_top_of_what_is_there(
    lpmx: Lpmx, archive: Path, proxy: FaultProxy, place: str, tmp_path: Path
) -> None:
    """The layers of its base are mounted, the new one is sent."""
    push(archive, f"{proxy.upstream}{place.removeprefix(proxy.address)}:1")
    lpmx("pull", f"{place}:1")
    lpmx("create", "--name", "box", f"{place}:1")
    (tmp_path / "new").write_text("new\n")
    lpmx("cp", tmp_path / "new", "box:/new")
    lpmx("commit", "box", "lab/made:1")
    done = lpmx("push", "lab/made:1", f"{place}/made:1")
    assert "4 blobs: 2 sent, 2 mounted" in done.stderr
    other = Lpmx(tmp_path / "other")
    other("pull", done.stdout.strip())
    (row,) = json.loads(other("--json", "images").stdout)
    (made,) = [one for one in json.loads(lpmx("--json", "images").stdout) if "made" in str(one)]
    assert row["id"] == made["id"]


def test_a_lock_pins_what_was_pushed(lpmx: Lpmx, archive: Path, place: str, tmp_path: Path) -> None:
    """The digest of a push is that of the lock, and brings the image in elsewhere."""
    lpmx("load", archive)
    digest = lpmx("push", "x:1", f"{place}:1").stdout.strip().rpartition("@")[2]
    lpmx("tag", "x:1", f"{place}:1")
    (tmp_path / "env.yaml").write_text(f"image: {place}:1\n")
    lpmx("env", "lock", tmp_path / "env.yaml")
    (pin,) = json.loads((tmp_path / "env.lock.json").read_text())["images"].values()
    assert pin["manifest"] == digest
