"""What a registry has: `lpmx inspect --remote` and `lpmx search`, without fetching an image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support import mkimage
from support.lpmx import Lpmx
from support.miniregistry import MiniRegistry
from support.registry import (
    PASSWORD,
    USER,
    FaultProxy,
    Rule,
    docker_registry,
    lone_user,
)
from support.upload import index, put_blob, put_manifest

from lpmx_runtime.images.registry import search as registry_search
from lpmx_runtime.images.registry.places import Access, image_reference, open_places
from lpmx_runtime.images.registry.tags import list_tags

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OCI = "application/vnd.oci.image"
LAYER = mkimage.layer(mkimage.file("f", b"x" * 5000))


def put_image(place: str, machine: str = "amd64", tag: str = "") -> dict[str, object]:
    spec = mkimage.Spec("x", [LAYER], {"Cmd": ["/f"]}, architecture=machine)
    config = put_blob(place, spec.raw_config, f"{OCI}.config.v1+json")
    layer = put_blob(place, LAYER, f"{OCI}.layer.v1.tar")
    value = {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "config": config}
    platform = {"os": "linux", "architecture": machine}
    return {**put_manifest(place, {**value, "layers": [layer]}, tag), "platform": platform}


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    """With lab/one:1 for this machine, lab/two:1 for two, and other/three:1."""
    folder = tmp_path_factory.mktemp("registry")
    with docker_registry(folder / "data") as address, FaultProxy(address) as proxy:
        put_image(f"{address}/lab/one", tag="1")
        put_image(f"{address}/other/three", tag="1")
        two = [put_image(f"{address}/lab/two", machine) for machine in ("amd64", "arm64")]
        put_manifest(f"{address}/lab/two", index(two), "1", f"{OCI}.index.v1+json")
        yield proxy


@pytest.fixture
def lpmx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: FaultProxy) -> Lpmx:
    lone_user(tmp_path / "home", monkeypatch)
    proxy.begin()
    return Lpmx(tmp_path / "store")


def test_an_image_is_described_without_its_layers(lpmx: Lpmx, proxy: FaultProxy) -> None:
    (row,) = json.loads(lpmx("inspect", "--remote", f"docker://{proxy.address}/lab/one:1").stdout)
    image = row["image"]
    assert row["platforms"] == ["linux/amd64"]
    assert row["digest"] == image["digest"]
    assert image["config"]["config"]["Cmd"] == ["/f"]
    assert [layer["size"] for layer in image["layers"]] == [len(LAYER)]
    assert image["size"] == len(LAYER) + row["manifest"]["config"]["size"]
    assert proxy.blobs() == [image["id"]], "the configuration alone"
    assert not lpmx.home.exists()


def test_an_index_is_described_with_the_image_for_this_machine_or_another(
    lpmx: Lpmx, proxy: FaultProxy
) -> None:
    name = f"{proxy.address}/lab/two:1"
    (row,) = json.loads(lpmx("inspect", "--remote", name).stdout)
    assert row["platforms"] == ["linux/amd64", "linux/arm64"]
    listed = [one["digest"] for one in row["manifest"]["manifests"]]
    assert row["image"]["digest"] == listed[0]
    (row,) = json.loads(lpmx("inspect", "--remote", "--platform", "linux/arm64", name).stdout)
    assert row["image"]["digest"] == listed[1]
    done = lpmx("inspect", "--remote", "--platform", "linux/s390x", name, check=False)
    assert (done.returncode, "no image for linux/s390x" in done.stderr) == (1, True)


def test_what_is_not_there_is_one_line(lpmx: Lpmx, proxy: FaultProxy) -> None:
    done = lpmx("inspect", "--remote", f"{proxy.address}/lab/nothing:1", check=False)
    assert (done.returncode, done.stdout, "not found" in done.stderr) == (1, "", True)


def test_search_lists_what_the_registry_lists(lpmx: Lpmx, proxy: FaultProxy) -> None:
    rows = json.loads(lpmx("--json", "search", f"{proxy.address}/lab").stdout)
    names = [row["name"] for row in rows]
    assert names == [f"{proxy.address}/lab/one", f"{proxy.address}/lab/two"]
    assert lpmx("search", f"{proxy.address}/nothing").stdout.split() == ["NAME"]
    limited = json.loads(lpmx("--json", "search", "--limit", "1", f"{proxy.address}/").stdout)
    assert len(limited) == 1


@pytest.mark.parametrize("status", [404, 405, 400])
def test_search_where_there_is_none_is_refused(status: int, lpmx: Lpmx, proxy: FaultProxy) -> None:
    proxy.begin(Rule("_catalog", "status", code=status))
    done = lpmx("search", f"{proxy.address}/x", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"offers no search (status {status})" in done.stderr


def test_docker_hub_is_searched_by_its_own_list(
    lpmx: Lpmx, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is of the form that Docker Hub's has (docs.docker.com, `docker search`)."""
    del lpmx
    row = {"name": "lab/bwa", "description": "An aligner", "star_count": 3, "is_official": False}
    body = json.dumps({"num_results": 2, "results": [row, {**row, "name": "b"}]}).encode()
    proxy.begin(Rule("GET /v1/search", "status", code=200, body=body))
    monkeypatch.setattr(registry_search, "HUB_SEARCH", f"http://{proxy.address}/v1/search")
    (found,) = registry_search.search("docker.io", "b w", Access(), limit=1)
    assert (found.name, found.stars, found.is_official) == ("lab/bwa", 3, False)
    assert [one.path for one in proxy.requests] == ["/v1/search?q=b+w&n=1"]


def test_search_with_a_password(lpmx: Lpmx, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "secured", secured=True) as address:
        name = f"localhost:{address.rpartition(':')[2]}/x"
        trust = {"SSL_CERT_FILE": str(tmp_path / "secured/ca.crt")}
        done = lpmx("search", name, check=False, env=trust)
        assert (done.returncode, "does not list its repositories" in done.stderr) == (1, True)
        ada = {**trust, "LPMX_REGISTRY_USER": USER, "LPMX_REGISTRY_PASSWORD": PASSWORD}
        assert lpmx("search", name, env=ada).stdout.split() == ["NAME"]


def test_tags_come_page_by_page(lpmx: Lpmx) -> None:
    del lpmx
    with MiniRegistry(page=2) as mini:
        place = f"{mini.address}/lab/x"
        digest = str(put_image(place)["digest"])
        for tag in "abcde":
            put_manifest(place, mini.manifests["lab/x", digest][1], tag)
        places = open_places(image_reference(f"{place}:a"), Access())
        assert list_tags(places) == list("abcde")
        assert mini.count("GET", "/tags/list") == 3
