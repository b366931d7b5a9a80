"""`lpmx copy` between registries and OCI layouts: all of an image, under the same digests."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support import mkimage
from support.lpmx import Lpmx, run
from support.miniregistry import MiniRegistry
from support.registry import FaultProxy, Rule, docker_registry, json_body, lone_user
from support.upload import (
    EMPTY,
    MANIFEST,
    digest_of,
    image_manifest,
    index,
    manifest_of,
    put_blob,
    put_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
SBOM = "application/vnd.lab.sbom+json"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry") / "data") as address:
        yield address


@pytest.fixture
def lpmx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    """With a store that stays empty, and a home without anybody's credentials."""
    lone_user(tmp_path / "home", monkeypatch)
    return Lpmx(tmp_path / "store")


@pytest.fixture
def place(upstream: str) -> str:
    return f"{upstream}/lab/{os.urandom(4).hex()}"


def put_image(place: str, machine: str, **more: object) -> dict[str, object]:
    """An image of one layer, by its digest; its descriptor."""
    layer = mkimage.layer(mkimage.file("f", machine.encode() + os.urandom(300_000)))
    spec = mkimage.Spec("x", [layer], {"Cmd": ["/f"]}, architecture=machine)
    config = put_blob(place, spec.raw_config, CONFIG)
    manifest = image_manifest(config, [put_blob(place, layer, LAYER)], **more)
    return {
        **put_manifest(place, manifest),
        "platform": {"os": "linux", "architecture": machine},
    }


def put_platforms(place: str, tag: str = "1") -> str:
    """An index of two platforms; its digest."""
    both = [put_image(place, machine) for machine in ("amd64", "arm64")]
    return str(put_manifest(place, index(both), tag, INDEX)["digest"])


def put_referrer(place: str, subject: dict[str, object], text: bytes) -> dict[str, object]:
    """An artifact about @subject; its descriptor."""
    empty = put_blob(place, b"{}", EMPTY)
    about = {key: subject[key] for key in ("mediaType", "digest", "size")}
    value = image_manifest(empty, [put_blob(place, text, SBOM)], artifactType=SBOM, subject=about)
    return put_manifest(place, value)


def sent_digest(done_stdout: str) -> str:
    return done_stdout.strip().rpartition("@")[2]


def test_copy_keeps_all_digests_to_a_layout_and_back(
    lpmx: Lpmx, place: str, tmp_path: Path
) -> None:
    digest = put_platforms(place)
    layout = f"oci:{tmp_path}/layout:x"
    assert sent_digest(lpmx("copy", f"docker://{place}:1", layout).stdout) == digest
    assert sent_digest(lpmx("copy", layout, f"{place}/back:2").stdout) == digest
    assert manifest_of(f"{place}/back", "2") == manifest_of(place, "1")
    for entry in json.loads(manifest_of(place, "1"))["manifests"]:
        assert digest_of(manifest_of(f"{place}/back", entry["digest"])) == entry["digest"]
    assert not lpmx.home.exists(), "nothing goes through the store"


def test_copy_between_registries(lpmx: Lpmx, place: str) -> None:
    """Twice: the second time nothing is sent."""
    digest = put_platforms(place)
    with MiniRegistry() as mini:
        done = lpmx("copy", f"{place}:1", f"{mini.address}/lab/x:1")
        assert sent_digest(done.stdout) == digest == mini.digest("lab/x", "1")
        assert "3 manifests, 4 blobs" in done.stderr
        uploads = mini.count("POST")
        again = lpmx("copy", f"{place}:1", f"{mini.address}/lab/x:2")
        assert mini.count("POST") == uploads
        assert "(0 B sent)" in again.stderr


def test_copy_within_a_registry_mounts(lpmx: Lpmx, upstream: str, place: str) -> None:
    with FaultProxy(upstream) as proxy:
        put_platforms(place)
        name = place.replace(upstream, proxy.address)
        lpmx("copy", f"{name}:1", f"{name}/other:1")
        assert proxy.blobs() == [], "no blob crosses the line"
        assert not [one for one in proxy.requests if one.method == "PATCH"]


def test_one_platform_has_its_own_digest(lpmx: Lpmx, place: str) -> None:
    put_platforms(place)
    entries = json.loads(manifest_of(place, "1"))["manifests"]
    done = lpmx("copy", "--platform", "linux/arm64", f"{place}:1", f"{place}/arm:1")
    assert sent_digest(done.stdout) == entries[1]["digest"]


@pytest.mark.parametrize("api", [True, False])
def test_referrers_come_along(api: bool, lpmx: Lpmx, place: str, tmp_path: Path) -> None:
    """By the API or by tags at the target; from docker-registry, which has tags alone."""
    del place
    with MiniRegistry() as source, MiniRegistry(referrers=api) as target:
        origin = f"{source.address}/lab/x"
        image = put_image(origin, "amd64")
        put_manifest(origin, source.manifests["lab/x", str(image["digest"])][1], "1")
        sbom = put_referrer(origin, image, b'{"parts": []}')
        signature = put_referrer(origin, sbom, b"about the list")
        sig = f"{str(image['digest']).replace(':', '-')}.sig"
        put_manifest(origin, source.manifests["lab/x", str(sbom["digest"])][1], sig)
        done = lpmx("copy", "--referrers", f"{origin}:1", f"oci:{tmp_path}/layout:x")
        assert "3 referrers" in done.stderr
        lpmx("copy", "--referrers", f"oci:{tmp_path}/layout:x", f"{target.address}/lab/y:2")
        for one in (image, sbom, signature):
            assert ("lab/y", str(one["digest"])) in target.manifests
        assert target.digest("lab/y", sig) == sbom["digest"]
        listed = str(image["digest"]).replace(":", "-")
        assert (listed in target.tags["lab/y"]) is not api
        third = lpmx("copy", "--referrers", f"{target.address}/lab/y:2", f"oci:{tmp_path}/third")
        assert "3 referrers" in third.stderr


def test_referrers_come_from_all_pages_of_their_list(lpmx: Lpmx, tmp_path: Path) -> None:
    with MiniRegistry(page=2) as source:
        origin = f"{source.address}/lab/x"
        image = put_image(origin, "amd64")
        put_manifest(origin, source.manifests["lab/x", str(image["digest"])][1], "1")
        for number in range(5):
            put_referrer(origin, image, b"list %d" % number)
        done = lpmx("copy", "--referrers", f"{origin}:1", f"oci:{tmp_path}/layout:x")
        assert "5 referrers" in done.stderr
        assert source.count("GET", "/referrers/.*start=") >= 2


def test_a_password_for_the_target_is_not_sent_to_the_source(
    lpmx: Lpmx, upstream: str, place: str
) -> None:
    put_platforms(place)
    asks = Rule(".", "status", code=401, headers={"WWW-Authenticate": 'Basic realm="lab"'})
    ada = {"LPMX_REGISTRY_USER": "ada", "LPMX_REGISTRY_PASSWORD": "secret"}
    with FaultProxy(upstream) as source, FaultProxy(upstream) as target:
        source.begin(asks)
        name = place.replace(upstream, source.address)
        to = f"{place.replace(upstream, target.address)}/x:1"
        done = lpmx("copy", f"{name}:1", to, check=False, env=ada)
        assert (done.returncode, "wants credentials" in done.stderr) == (1, True)
        assert {one.authorization for one in source.requests} == {""}
        source.begin()
        target.begin(Rule("POST", "status", times=1, code=401, headers=asks.headers))
        lpmx("copy", "--jobs", "1", f"{name}:1", to, env=ada)
        assert "Basic" in {one.authorization for one in target.requests}
        assert {one.authorization for one in source.requests} == {""}


def test_peers_read_the_layout(lpmx: Lpmx, place: str, tmp_path: Path) -> None:
    """And lpmx copies what skopeo wrote, which has made an index of its own."""
    put_platforms(place)
    for program in ("skopeo", "umoci"):
        if not shutil.which(program):
            pytest.skip(f"no {program} on this machine")
    lpmx("copy", "--platform", "linux/amd64", f"{place}:1", f"oci:{tmp_path}/ours:x")
    run(["umoci", "unpack", "--rootless", "--image", f"{tmp_path}/ours:x", tmp_path / "bundle"])
    assert (tmp_path / "bundle/rootfs/f").stat().st_size > 300_000
    words = ["skopeo", "copy", "--all", "-q", "--insecure-policy", "--src-tls-verify=false"]
    run([*words, f"docker://{place}:1", f"oci:{tmp_path}/theirs:x"])
    (entry,) = json.loads((tmp_path / "theirs/index.json").read_text())["manifests"]
    done = lpmx("copy", f"oci:{tmp_path}/theirs:x", f"{place}/theirs:1")
    assert sent_digest(done.stdout) == entry["digest"]


def test_a_source_that_breaks_off_is_read_on(lpmx: Lpmx, upstream: str, place: str) -> None:
    put_platforms(place)
    with FaultProxy(upstream) as proxy, MiniRegistry() as mini:
        proxy.begin(Rule("GET .*/blobs/", "cut", times=3, after=100_000))
        name = place.replace(upstream, proxy.address)
        lpmx("copy", "--jobs", "1", f"{name}:1", f"{mini.address}/lab/x:1")
        assert [one.range for one in proxy.requests if one.range] != []
        for data in mini.blobs.values():
            assert len(data) > 0


@pytest.mark.parametrize("to_layout", [True, False])
def test_a_flipped_byte_is_fetched_again(
    to_layout: bool, lpmx: Lpmx, upstream: str, place: str, tmp_path: Path
) -> None:
    digest = put_platforms(place)
    with FaultProxy(upstream) as proxy, MiniRegistry() as mini:
        proxy.begin(Rule("GET .*/blobs/", "flip", times=1, at=4000))
        name = place.replace(upstream, proxy.address)
        target = f"oci:{tmp_path}/layout" if to_layout else f"{mini.address}/lab/x:1"
        assert sent_digest(lpmx("copy", "--jobs", "1", f"{name}:1", target).stdout) == digest


@pytest.mark.parametrize("to_layout", [True, False])
def test_wrong_bytes_are_never_whole_at_the_target(
    to_layout: bool, lpmx: Lpmx, upstream: str, place: str, tmp_path: Path
) -> None:
    put_platforms(place)
    with FaultProxy(upstream) as proxy, MiniRegistry() as mini:
        proxy.begin(Rule("GET .*/blobs/", "flip", at=4000))
        name = place.replace(upstream, proxy.address)
        target = f"oci:{tmp_path}/layout" if to_layout else f"{mini.address}/lab/x:1"
        done = lpmx("copy", f"{name}:1", target, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "checksum differs, twice" in done.stderr
        assert mini.tags == {}
        whole = {digest: data for (_, digest), data in mini.blobs.items()}
        assert all(digest_of(data) == digest for digest, data in whole.items())
        assert not list(tmp_path.glob("layout/index.json"))
        assert not list(tmp_path.glob("layout/blobs/sha256/*.partial"))


def test_a_name_in_a_layout_moves_and_others_stay(lpmx: Lpmx, place: str, tmp_path: Path) -> None:
    first, second = put_platforms(place, "1"), put_platforms(place, "2")
    layout = f"oci:{tmp_path}/layout"
    lpmx("copy", f"{place}:1", f"{layout}:a")
    lpmx("copy", f"{place}:1", f"{layout}:b")
    lpmx("copy", f"{place}:2", f"{layout}:a")
    assert sent_digest(lpmx("copy", f"{layout}:a", f"{place}/a:1").stdout) == second
    assert sent_digest(lpmx("copy", f"{layout}:b", f"{place}/b:1").stdout) == first


def fill(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


ONE = {"mediaType": MANIFEST, "digest": "sha256:" + "0" * 64, "size": 2}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no OCI layout: index.json"),
        ({"index.json": b"{"}, "index.json is not JSON"),
        ({"index.json": b"[]"}, "lists no manifests"),
        ({"index.json": b'{"manifests": []}'}, "no such image"),
        ({"index.json": json.dumps({"manifests": [ONE]}).encode()}, "no such file"),
        (
            {
                "index.json": json.dumps({"manifests": [ONE]}).encode(),
                f"blobs/sha256/{'0' * 64}": b"{}",
            },
            "checksum of manifest",
        ),
        (
            {"index.json": json.dumps({"manifests": [{**ONE, "digest": "sha256:../x"}]}).encode()},
            "is no sha256 digest",
        ),
    ],
)
def test_a_bad_layout_is_one_line(
    files: dict[str, bytes], message: str, lpmx: Lpmx, place: str, tmp_path: Path
) -> None:
    fill(tmp_path / "layout", files)
    done = lpmx("copy", f"oci:{tmp_path}/layout", f"{place}:1", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_with_other_things_is_left_alone(
    lpmx: Lpmx, place: str, tmp_path: Path
) -> None:
    put_platforms(place)
    fill(tmp_path / "mine", {"thesis.txt": b"x"})
    done = lpmx("copy", f"{place}:1", f"oci:{tmp_path}/mine:x", check=False)
    assert (done.returncode, "no OCI layout" in done.stderr) == (1, True)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["thesis.txt"]


def test_a_digest_as_target_has_to_be_the_sources(lpmx: Lpmx, place: str) -> None:
    digest = put_platforms(place)
    assert sent_digest(lpmx("copy", f"{place}:1", f"{place}/x@{digest}").stdout) == digest
    done = lpmx("copy", f"{place}:1", f"{place}/x@sha256:{'0' * 64}", check=False)
    assert (done.returncode != 0, digest in done.stderr) == (True, True)


def test_a_full_disk_leaves_no_half_blob(lpmx: Lpmx, place: str, tmp_path: Path) -> None:
    """The limit plays the disk: it is met in the middle of a layer."""
    put_platforms(place)
    small = Lpmx(lpmx.home, prefix=("prlimit", "--fsize=200000"))
    done = small("copy", f"{place}:1", f"oci:{tmp_path}/layout", check=False)
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (1, "", False)
    assert f"{tmp_path}/layout: file too large" in done.stderr
    blobs = list((tmp_path / "layout/blobs/sha256").iterdir())
    assert all(digest_of(path.read_bytes())[7:] == path.name for path in blobs)
    assert not (tmp_path / "layout/index.json").exists()
    assert lpmx("copy", f"{place}:1", f"oci:{tmp_path}/layout").returncode == 0


def test_a_registry_without_the_image_or_that_refuses(
    lpmx: Lpmx, upstream: str, place: str
) -> None:
    put_platforms(place)
    missing = lpmx("copy", f"{place}:nothing", f"{place}/x:1", check=False)
    assert (missing.returncode, "not found" in missing.stderr) == (1, True)
    with FaultProxy(upstream) as proxy:
        proxy.begin(Rule("PUT .*/manifests/", "status", code=400, body=json_body("BAD", "no")))
        target = f"{place.replace(upstream, proxy.address)}/x:1"
        refused = lpmx("copy", f"{place}:1", target, check=False)
        assert (refused.returncode, "BAD: no" in refused.stderr) == (1, True)
