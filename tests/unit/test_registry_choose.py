"""Which image of an index is taken."""

from __future__ import annotations

import hashlib
import json

import pytest

from lpmx_runtime.errors import UsageError
from lpmx_runtime.images.registry import choose
from lpmx_runtime.images.registry.choose import check_image, choose_manifest, parse_platform
from lpmx_runtime.images.registry.wire.client import INDEX_TYPES, MANIFEST_TYPES, Manifest
from lpmx_runtime.images.registry.wire.errors import RegistryError

AMD64 = parse_platform("linux/amd64")


def manifest(value, media_type=MANIFEST_TYPES[0]):
    data = json.dumps(value).encode()
    return Manifest(data, media_type, f"sha256:{hashlib.sha256(data).hexdigest()}")


class Registry:
    """Manifests by digest."""

    def __init__(self):
        self.by_digest = {}

    def add(self, value, media_type=MANIFEST_TYPES[0]):
        one = manifest(value, media_type)
        self.by_digest[one.digest] = one
        return one

    def entry(self, name, system="linux", machine="amd64", variant="", **more):
        platform = {
            "os": system,
            "architecture": machine,
            **({"variant": variant} if variant else {}),
        }
        one = self.add({"name": name})
        return {
            "mediaType": one.media_type, "digest": one.digest, "platform": platform, **more
        }  # fmt: skip

    def manifest(self, digest):
        return self.by_digest[digest]

    def choose(self, entries, wanted=AMD64):
        top = manifest({"manifests": entries}, INDEX_TYPES[0])
        return json.loads(choose_manifest(self, top, wanted, "x:1").data)["name"]


@pytest.fixture
def registry():
    return Registry()


def test_a_plain_manifest_is_taken_as_it_is(registry):
    one = manifest({"name": "plain"})
    assert choose_manifest(registry, one, AMD64, "x:1") is one


def test_the_platform_decides(registry):
    entries = [registry.entry("arm", machine="arm64"), registry.entry("win", "windows"),
               registry.entry("mine")]  # fmt: skip
    assert registry.choose(entries) == "mine"
    assert registry.choose(entries, parse_platform("linux/arm64")) == "arm"


@pytest.mark.parametrize(("levels", "name"), [(set(), "v1"), ({"v2"}, "v2"), ({"v2", "v3"}, "v3")])
def test_the_highest_variant_that_the_processor_has(registry, levels, name, monkeypatch):
    monkeypatch.setattr(choose, "_levels", lambda: levels)
    entries = [registry.entry(f"v{n}", variant=f"v{n}" if n > 1 else "") for n in (3, 1, 2, 4)]
    assert registry.choose(entries) == name


def test_a_variant_that_is_asked_for(registry):
    entries = [registry.entry("seven", machine="arm", variant="v7"),
               registry.entry("six", machine="arm", variant="v6")]  # fmt: skip
    assert registry.choose(entries, parse_platform("linux/arm/v6")) == "six"


def test_arm64_without_a_variant_is_v8(registry):
    entries = [registry.entry("plain", machine="arm64")]
    assert registry.choose(entries, parse_platform("linux/arm64/v8")) == "plain"


def test_attestations_and_artifacts_are_passed_over(registry):
    entries = [
        registry.entry(
            "attested", annotations={"vnd.docker.reference.type": "attestation-manifest"}
        ),
        registry.entry("unknown", "unknown", "unknown"),
        registry.entry("sbom", artifactType="application/x.sbom"),
        registry.entry("mine"),
    ]
    assert registry.choose(entries) == "mine"


def test_an_index_within_an_index(registry):
    inner = registry.add({"manifests": [registry.entry("mine")]}, INDEX_TYPES[1])
    entry = {"mediaType": INDEX_TYPES[1], "digest": inner.digest}
    assert registry.choose([registry.entry("arm", machine="arm64"), entry]) == "mine"


def test_indexes_without_an_end(registry):
    digest = f"sha256:{'a' * 64}"
    loop = {"manifests": [{"mediaType": INDEX_TYPES[0], "digest": digest}]}
    registry.by_digest[digest] = manifest(loop, INDEX_TYPES[0])
    with pytest.raises(RegistryError, match="too deep"):
        choose_manifest(registry, registry.by_digest[digest], AMD64, "x:1")


def test_no_image_for_the_platform_names_the_others(registry):
    entries = [registry.entry("arm", machine="arm64", variant="v8"), registry.entry("w", "windows")]
    with pytest.raises(RegistryError, match="only linux/arm64/v8, windows/amd64"):
        registry.choose(entries)


@pytest.mark.parametrize("text", ["linux", "linux/", "a/b/c/d", "/amd64"])
def test_a_platform_that_is_none(text):
    with pytest.raises(UsageError, match="OS/ARCH"):
        parse_platform(text)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "a Helm chart"),
        ({"artifactType": "application/x.sbom", "config": {}}, "an artifact of type application/x"),
        (
            {"config": {"mediaType": "application/vnd.wasm.config.v0+json"}, "layers": []},
            "artifact",
        ),
        ({"layers": []}, "without configuration"),
        ({"config": {}}, "without configuration"),
        ({"config": {}, "layers": [1]}, "makes no sense"),
        ({"config": {}, "layers": [{"mediaType": "x.tar+gzip+encrypted"}]}, "encrypted layer"),
    ],
)
def test_what_is_no_image_is_named(value, message):
    with pytest.raises(RegistryError, match=message):
        check_image(manifest(value), "x:1")


def test_an_image_of_docker_is_one():
    config = {"mediaType": "application/vnd.docker.container.image.v1+json"}
    assert check_image(manifest({"config": config, "layers": [{}]}), "x:1") == (config, [{}])
