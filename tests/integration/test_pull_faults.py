"""Each thing that a registry, or the way to it, can do wrong, and what a pull makes of it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from support import mkimage
from support.lpmx import Lpmx
from support.registry import FaultProxy, Rule, json_body, lone_user, proxied_registry
from support.upload import (
    DOCKER,
    INDEX,
    MANIFEST,
    OCI,
    image_manifest,
    index,
    manifest_of,
    put_blob,
    put_manifest,
)

from lpmx_runtime.images.registry import download
from lpmx_runtime.images.registry.pull import pull
from lpmx_runtime.images.registry.wire import transport
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 2 << 20  # of each of the two layers
BLOBS = "GET .*/blobs/"
CONFIG = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}


@pytest.fixture(scope="module")
def spec() -> mkimage.Spec:
    layers = [mkimage.layer(mkimage.file(f"f{n}", os.urandom(SIZE))) for n in range(2)]
    return mkimage.Spec("x:1", layers, {"Cmd": ["/f0"]})


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, spec: mkimage.Spec) -> Iterator[FaultProxy]:
    folder = tmp_path_factory.mktemp("registry")
    mkimage.docker_archive(folder / "x.tar", [spec])
    with proxied_registry(folder, folder / "x.tar", "lab/x:1") as proxy:
        yield proxy


@pytest.fixture
def name(proxy: FaultProxy) -> str:
    proxy.begin()
    return f"{proxy.address}/lab/x:1"


@pytest.fixture
def lpmx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    lone_user(tmp_path / "home", monkeypatch)
    return Lpmx(tmp_path / "store")


def assert_here(lpmx: Lpmx, spec: mkimage.Spec) -> None:
    (row,) = json.loads(lpmx("--json", "images").stdout)
    assert row["id"] == spec.id
    assert list((lpmx.home / "downloads").iterdir()) == []


def refused(lpmx: Lpmx, name: str, **options: Any) -> str:
    """What is said when nothing comes: one line and perhaps a hint; only downloads are left."""
    done = lpmx("pull", name, check=False, **options)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("layer ")]
    assert lines[0].startswith("lpmx: "), lines
    assert [line.startswith("  (") for line in lines[1:]] in ([], [True]), lines
    assert json.loads(lpmx("--json", "images").stdout) == []
    assert os.listdir(lpmx.home / "tmp") == []
    return "\n".join(lines)


# ---- what passes


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([Rule(BLOBS, "reset", times=3, after=900_000)], id="reset"),
        pytest.param([Rule("/blobs/", "headers", headers={"Content-Encoding": "gzip"})], id="gzip"),
        pytest.param([Rule("manifests", "cut", times=2, after=100)], id="manifest cut"),
        pytest.param([Rule("manifests", "flip", times=1, at=50)], id="manifest flipped"),
        pytest.param([Rule(BLOBS, "cut", times=2, after=50)], id="configuration cut"),
        pytest.param([Rule(BLOBS, "flip", times=1, at=50)], id="configuration flipped"),
        pytest.param([Rule(BLOBS, "status", times=1, code=code) for code in (502, 408)], id="502"),
        pytest.param(
            [
                Rule(BLOBS, "pass", times=1),
                Rule(BLOBS, "cut", times=2, after=900_000),
                Rule(BLOBS, "status", times=1, code=416),
            ],
            id="416",
        ),
    ],
)
def test_what_passes_is_waited_for(
    rules: list[Rule], lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    proxy.begin(*rules)
    lpmx("pull", name)
    assert_here(lpmx, spec)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(
    form: str, lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    after = "2" if form == "seconds" else formatdate(time.time() + 6, usegmt=True)
    headers = {"Retry-After": after}
    proxy.begin(Rule("HEAD|GET .*manifests", "status", times=1, code=503, headers=headers))
    lpmx("pull", name)
    first, second = proxy.requests[:2]
    assert first.path == second.path
    assert 1.9 <= second.at - first.at <= 9
    assert_here(lpmx, spec)


def test_a_stalled_transfer_is_cut_and_resumed(
    tmp_path: Path,
    proxy: FaultProxy,
    name: str,
    spec: mkimage.Spec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "READ_SECONDS", 1.0)
    proxy.begin(Rule(BLOBS, "pass", times=1), Rule(BLOBS, "stall", times=1, after=1_000_000))
    assert pull(Store.open(tmp_path / "store"), name).image.id == spec.id
    assert [one.range for one in proxy.requests if one.range] == ["bytes=1000000-"]


def test_a_transfer_of_next_to_nothing_is_cut_and_resumed(
    tmp_path: Path,
    proxy: FaultProxy,
    name: str,
    spec: mkimage.Spec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(download, "SLOW_SECONDS", 0.5)
    monkeypatch.setattr(download, "SLOW_BYTES", 1 << 20)
    proxy.begin(Rule(BLOBS, "pass", times=1), Rule(BLOBS, "pass", times=1, rate=300_000))
    assert pull(Store.open(tmp_path / "store"), name).image.id == spec.id
    assert len([one for one in proxy.requests if one.range]) == 1


def test_a_warning_of_the_registry_is_shown_once(lpmx: Lpmx, proxy: FaultProxy, name: str) -> None:
    headers = {"Warning": '299 - "this registry moves in March"'}
    proxy.begin(Rule("", "headers", headers=headers))
    said = lpmx("pull", name).stderr
    line = f"lpmx: {proxy.address} warns: this registry moves in March\n"
    assert said.count(line) == 1


def test_cuts_cost_next_to_nothing(
    lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    """Of what crosses the line, no more than 2 in a hundred cross it twice."""
    proxy.begin(Rule(BLOBS, "cut", times=4, after=1_100_000))
    lpmx("pull", "--jobs", "1", name)
    assert_here(lpmx, spec)
    sent = sum(one.sent for one in proxy.requests if "/blobs/" in one.path)
    whole = sum(entry["size"] for entry in _layers(proxy)) + len(spec.config)
    assert whole <= sent <= 1.02 * whole


def _layers(proxy: FaultProxy) -> list[dict[str, Any]]:
    manifest = json.loads(manifest_of(f"{proxy.upstream}/lab/x", "1"))
    return list(manifest["layers"])


# ---- what does not


def test_a_pull_limit_is_told_at_once(lpmx: Lpmx, proxy: FaultProxy, name: str) -> None:
    """Docker Hub's answer: nothing is tried again, and what helps is named."""
    body = json_body("TOOMANYREQUESTS", "You have reached your pull rate limit. Upgrade ...")
    limit = {"RateLimit-Limit": "100;w=21600", "Retry-After": "1800"}
    host = proxy.address
    proxy.begin(Rule("", "status", code=429, body=body))
    assert refused(lpmx, name) == (
        f"lpmx: {host}: pull limit reached\n  (`lpmx login {host}`, use a mirror, or wait)"
    )
    assert len(proxy.requests) == 1
    proxy.begin(Rule("", "status", code=429, headers=limit))
    said = refused(lpmx, name)
    assert re.fullmatch(
        rf"lpmx: {host}: pull limit reached, 100 in 6 h\n"
        rf"  \(`lpmx login {host}`, use a mirror, or wait until \d\d:\d\d:\d\d\)",
        said,
    )


def test_a_redirected_host_that_cannot_be_reached_is_named(
    lpmx: Lpmx, proxy: FaultProxy, name: str
) -> None:
    proxy.begin(Rule(BLOBS, "redirect", to="http://cdn.invalid:81"))
    said = refused(lpmx, name)
    assert said.startswith(
        f"lpmx: {proxy.address} sends layers from cdn.invalid:81, which cannot be reached: "
    )
    assert said.endswith("\n  (a firewall on the way must let it through)")


def test_redirects_without_an_end(lpmx: Lpmx, proxy: FaultProxy, name: str) -> None:
    proxy.begin(Rule(BLOBS, "redirect", to=f"http://{proxy.address}"))
    assert f"{proxy.address}: redirects without an end" in refused(lpmx, name)


@pytest.mark.parametrize("to", ["file:///etc", "http://[", "gopher://x"])
def test_a_redirect_to_nowhere(to: str, lpmx: Lpmx, proxy: FaultProxy, name: str) -> None:
    proxy.begin(Rule(BLOBS, "status", code=307, headers={"Location": to}))
    refused(lpmx, name)


def test_the_page_of_a_proxy_in_place_of_a_layer(lpmx: Lpmx, proxy: FaultProxy, name: str) -> None:
    page = b"<html>please log in</html>"
    proxy.begin(Rule(BLOBS, "pass", times=1), Rule(BLOBS, "status", code=200, body=page))
    said = refused(lpmx, name)
    assert "checksum differs, twice" in said
    assert f"({proxy.address}, or a proxy on the way, serves wrong data)" in said
    assert all(os.stat(path).st_size == 0 for path in (lpmx.home / "downloads").iterdir())


def test_a_manifest_of_5_mb(lpmx: Lpmx, proxy: FaultProxy, name: str) -> None:
    headers = {"Content-Type": MANIFEST}
    proxy.begin(Rule("manifests", "status", code=200, headers=headers, body=b" " * (5 << 20)))
    assert f"the manifest of {name} is larger than 4194304 bytes" in refused(lpmx, name)


@pytest.mark.parametrize("sign", [b"\xff", b"", b"null", b"[]", b'"x"', b"{}"])
def test_a_manifest_that_is_none(sign: bytes, lpmx: Lpmx, proxy: FaultProxy, name: str) -> None:
    headers = {"Content-Type": MANIFEST}
    proxy.begin(Rule("manifests", "status", code=200, headers=headers, body=sign))
    refused(lpmx, name)


HELM = "application/vnd.cncf.helm.config.v1+json"


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        (HELM, {}, f"a Helm chart ({HELM}), not an image"),
        ("application/vnd.x", {}, "an artifact of type application/vnd.x, not an image"),
        (
            f"{OCI}.config.v1+json",
            {"artifactType": "application/vnd.lab"},
            "an artifact of type application/vnd.lab, not an image",
        ),
    ],
)
def test_what_is_no_image_is_named(
    kind: str, more: dict[str, str], message: str, lpmx: Lpmx, proxy: FaultProxy
) -> None:
    place = f"{proxy.upstream}/lab/artifact"
    layer = put_blob(place, b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    put_manifest(place, image_manifest(put_blob(place, b"{}", kind), [layer], **more), "1")
    assert refused(lpmx, f"{place}:1") == f"lpmx: {place}:1: {message}"


def test_a_configuration_of_another_platform_is_refused_before_any_layer(
    lpmx: Lpmx, proxy: FaultProxy
) -> None:
    place = f"{proxy.upstream}/lab/arm"
    put_image(place, "1", {**CONFIG, "architecture": "arm64"})
    proxy.begin()
    through = f"{proxy.address}/lab/arm:1"
    assert refused(lpmx, through) == (
        f"lpmx: {through}: no image for linux/amd64, only linux/arm64"
    )
    assert len(proxy.blobs()) == 1, "the configuration"


def put_image(place: str, tag: str, config: dict[str, Any], **layer: Any) -> dict[str, Any]:
    """An image of one small layer, whatever its configuration says; its descriptor."""
    tar = mkimage.layer(mkimage.file("f", os.urandom(100)))
    config = {**config, "rootfs": {"type": "layers", "diff_ids": [_digest(tar)]}}
    kind = layer.pop("mediaType", f"{OCI}.layer.v1.tar+gzip")
    put = put_blob(place, gzip.compress(tar), kind, **layer)
    described = put_blob(place, json.dumps(config).encode(), f"{OCI}.config.v1+json")
    return put_manifest(place, image_manifest(described, [put]), tag)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_manifest_list_picks_variant(lpmx: Lpmx, proxy: FaultProxy) -> None:
    """Of arm64, an attestation, plain amd64 and a variant that no processor has."""
    place = f"{proxy.upstream}/lab/many"
    entries = []
    for system, machine, variant, more in (
        ("linux", "arm64", "v8", {}),
        ("unknown", "unknown", "", {"annotations": {"vnd.docker.reference.type": "attestation"}}),
        ("linux", "amd64", "v9", {}),
        ("linux", "amd64", "", {}),
        ("windows", "amd64", "", {}),
    ):
        platform = {"os": system, "architecture": machine}
        entry = put_image(place, "", {**CONFIG, **platform, "variant": variant})
        entries.append({**entry, "platform": platform | {"variant": variant}, **more})
    top = put_manifest(place, index(entries), "1", INDEX)
    row = json.loads(lpmx("--json", "pull", f"{place}:1").stdout.splitlines()[-1])
    assert row["digest"] == top["digest"]
    (source,) = json.loads((lpmx.home / "images" / row["id"] / "sources.json").read_text())
    assert source["manifest"] == entries[3]["digest"]
    put_manifest(place, index([entries[0], entries[4]]), "2", INDEX)
    done = lpmx("pull", f"{place}:2", check=False)
    assert done.stderr == (
        f"lpmx: {place}:2: no image for linux/amd64, only linux/arm64/v8, windows/amd64\n"
    )


def test_urls_of_foreign_layers_are_never_followed(
    lpmx: Lpmx, proxy: FaultProxy, tmp_path: Path
) -> None:
    """The registry's own blob is taken, where it has one; CVE-2020-15157 was the other way."""
    place = f"{proxy.upstream}/lab/foreign"
    put_image(place, "1", CONFIG)
    value = json.loads(manifest_of(place, "1"))
    with FaultProxy(proxy.upstream) as elsewhere:
        value["layers"][0] |= {
            "mediaType": f"{DOCKER}.image.rootfs.foreign.diff.tar.gzip",
            "urls": [f"http://{elsewhere.address}/layer"],
        }
        headers, body = {"Content-Type": MANIFEST}, json.dumps(value).encode()
        manifest = Rule("manifests", "status", code=200, headers=headers, body=body)
        through = f"{proxy.address}/lab/foreign:1"
        proxy.begin(manifest, Rule(BLOBS, "pass", times=1), Rule(BLOBS, "status", code=404))
        assert "has none of that name" in refused(lpmx, through)
        proxy.begin(manifest)
        assert lpmx("pull", through).stdout.startswith("pulled ")
        assert elsewhere.requests == []
