"""`lpmx pull --verify` and trust.yaml, with signatures in a real registry."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import mkimage
from support.lpmx import Lpmx, run
from support.registry import FaultProxy, Rule, docker_registry, lone_user, push
from support.signing import Signer, payload, sign_bundle, sign_classic
from support.upload import (
    INDEX,
    image_manifest,
    index,
    manifest_digest,
    manifest_of,
    put_blob,
    put_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("signatures")


@pytest.fixture(scope="module")
def lab(folder: Path) -> Signer:
    return Signer(folder / "lab.pub")


@pytest.fixture(scope="module")
def other(folder: Path) -> Signer:
    return Signer(folder / "other.pub")


@pytest.fixture(scope="module")
def registry(folder: Path) -> Iterator[FaultProxy]:
    with docker_registry(folder / "registry") as address, FaultProxy(address) as proxy:
        yield proxy


@pytest.fixture
def lpmx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    lone_user(tmp_path / "home", monkeypatch)
    return Lpmx(tmp_path / "store")


@pytest.fixture
def place(registry: FaultProxy, tmp_path: Path) -> str:
    """A repository of its own with an image of its own as tag 1, behind no proxy."""
    registry.begin()
    place = f"{registry.upstream}/lab/{tmp_path.name.replace('_', '-')[:60].strip('-').lower()}"
    layer = mkimage.layer(mkimage.file("f", os.urandom(1000)))
    mkimage.docker_archive(tmp_path / "x.tar", [mkimage.Spec("x:1", [layer], {"Cmd": ["/f"]})])
    push(tmp_path / "x.tar", f"{place}:1")
    return place


def trust(text: str) -> str:
    path = os.path.expanduser("~/.config/lpmx/trust.yaml")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def stored(lpmx: Lpmx) -> list[str]:
    """The images, layers and downloads that are here."""
    places = [lpmx.home / name for name in ("images", "layers", "refs", "downloads")]
    return [str(path) for place in places if place.exists() for path in place.iterdir()]


def refused(lpmx: Lpmx, *words: str | os.PathLike[str]) -> str:
    """What is said when nothing comes."""
    done = lpmx("pull", *words, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert stored(lpmx) == []
    message, hint = done.stderr.splitlines()
    return f"{message}\n{hint}"


@pytest.mark.parametrize("form", [sign_classic, sign_bundle])
@pytest.mark.parametrize("kind", ["ecdsa", "rsa", "ed25519"])
def test_what_is_signed_comes(form, kind: str, lpmx: Lpmx, place: str, tmp_path: Path) -> None:
    signer = Signer(tmp_path / "key.pub", kind)
    form(place, manifest_digest(place, "1"), signer)
    assert lpmx("pull", "--verify", signer.public, f"{place}:1").stdout.startswith("pulled ")


def test_what_is_not_signed_does_not_come(lpmx: Lpmx, place: str, lab: Signer) -> None:
    assert refused(lpmx, "--verify", lab.public, f"{place}:1") == (
        f"lpmx: {place}:1: not signed, wanted is {lab.public}\n  (--verify asks for it)"
    )


@pytest.mark.parametrize("form", [sign_classic, sign_bundle])
def test_a_signature_by_another_key_does_not_count(
    form, lpmx: Lpmx, place: str, lab: Signer, other: Signer
) -> None:
    form(place, manifest_digest(place, "1"), other)
    assert f"its signature is not by {lab.public}" in refused(
        lpmx, "--verify", lab.public, f"{place}:1"
    )


def test_one_of_several_signatures_is_enough(
    lpmx: Lpmx, place: str, lab: Signer, other: Signer
) -> None:
    sign_classic(place, manifest_digest(place, "1"), other, lab)
    lpmx("pull", "--verify", lab.public, f"{place}:1")


def test_the_signature_of_another_image_does_not_count(lpmx: Lpmx, place: str, lab: Signer) -> None:
    """Moved to where this image's would be, in both forms."""
    digest, wrong = manifest_digest(place, "1"), "sha256:" + "a" * 64
    sign_classic(place, digest, lab, data=payload(wrong))
    refused(lpmx, "--verify", lab.public, f"{place}:1")
    sign_bundle(place, wrong, lab)
    listed = json.loads(manifest_of(place, wrong.replace(":", "-")))
    put_manifest(place, listed, digest.replace(":", "-"), listed["mediaType"])
    refused(lpmx, "--verify", lab.public, f"{place}:1")


def test_what_is_signed_but_says_something_else_does_not_count(
    lpmx: Lpmx, place: str, lab: Signer
) -> None:
    """An attestation of the same owner, and a payload of another type."""
    digest = manifest_digest(place, "1")
    sign_bundle(place, digest, lab, predicate="https://spdx.dev/Document")
    sign_classic(place, digest, lab, data=payload(digest, kind="atomic container signature"))
    refused(lpmx, "--verify", lab.public, f"{place}:1")


def test_a_payload_changed_after_signing_does_not_count(
    lpmx: Lpmx, registry: FaultProxy, place: str, lab: Signer
) -> None:
    sign_classic(place, manifest_digest(place, "1"), lab)
    registry.begin(Rule("GET .*/blobs/", "flip", at=30))
    name = f"{registry.address}/{place.partition('/')[2]}:1"
    refused(lpmx, "--verify", lab.public, name)


def test_an_index_is_signed_for_all_that_it_lists(lpmx: Lpmx, place: str, lab: Signer) -> None:
    entry = {
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "digest": manifest_digest(place, "1"),
        "size": len(manifest_of(place, "1")),
        "platform": {"os": "linux", "architecture": "amd64"},
    }
    top = put_manifest(place, index([entry]), "many", INDEX)
    sign_classic(place, top["digest"], lab)
    lpmx("pull", "--verify", lab.public, f"{place}:many")
    done = lpmx("pull", "--verify", lab.public, f"{place}:1", check=False)
    assert (done.returncode, "not signed" in done.stderr) == (1, True)


def test_bundles_are_found_by_the_registry_s_list_of_referrers(
    lpmx: Lpmx, registry: FaultProxy, place: str, lab: Signer
) -> None:
    """A registry of OCI 1.1: it lists them itself, and has no tag for it."""
    digest = manifest_digest(place, "1")
    sign_bundle(place, digest, lab)
    listed = manifest_of(place, digest.replace(":", "-"))
    registry.begin(
        Rule("/referrers/", "status", code=200, body=listed),
        Rule(f"manifests/{digest.replace(':', '-')}$", "status", code=404),
    )
    name = f"{registry.address}/{place.partition('/')[2]}:1"
    lpmx("pull", "--verify", lab.public, name)


def test_a_registry_that_fails_is_no_missing_signature(
    lpmx: Lpmx, registry: FaultProxy, place: str, lab: Signer
) -> None:
    registry.begin(Rule(r"\.sig$", "status", code=418))
    name = f"{registry.address}/{place.partition('/')[2]}:1"
    done = lpmx("pull", "--verify", lab.public, name, check=False)
    assert (done.returncode, "status 418" in done.stderr) == (1, True)
    assert stored(lpmx) == []


def test_trust_yaml_counts_for_pulls_and_for_images_that_come_by_themselves(
    lpmx: Lpmx, place: str, lab: Signer
) -> None:
    file = trust(f"{place.rpartition('/')[0]}/: {{keys: [{lab.public}]}}\n")
    said = refused(lpmx, f"{place}:1")
    assert said.endswith(f"\n  ({file}:1:{len(place.rpartition('/')[0]) + 4} asks for it)")
    run = lpmx("run", "--pull", "missing", f"{place}:1", "true", check=False)
    assert (run.returncode, "not signed" in run.stderr, stored(lpmx)) == (125, True, [])
    sign_classic(place, manifest_digest(place, "1"), lab)
    lpmx("pull", f"{place}:1")


def test_an_image_that_came_before_the_policy_is_looked_at_when_it_is_pulled_again(
    lpmx: Lpmx, registry: FaultProxy, place: str, lab: Signer
) -> None:
    name = f"{registry.address}/{place.partition('/')[2]}:1"
    lpmx("pull", name)
    trust(f"{registry.address}/: {{keys: [{lab.public}]}}\n")
    assert lpmx("pull", name, check=False).returncode == 1
    sign_classic(place, manifest_digest(place, "1"), lab)
    assert "0 new" in lpmx("pull", name).stdout
    registry.begin()
    assert "is up to date" in lpmx("pull", name).stdout
    assert [one.method for one in registry.requests] == ["HEAD"]


def test_all_that_asks_for_a_signature_has_to_get_one(
    lpmx: Lpmx, place: str, lab: Signer, other: Signer
) -> None:
    trust(f'"*": {{keys: [{other.public}]}}\n')
    sign_classic(place, manifest_digest(place, "1"), lab)
    refused(lpmx, "--verify", lab.public, f"{place}:1")
    sign_classic(place, manifest_digest(place, "1"), lab, other)
    lpmx("pull", "--verify", lab.public, f"{place}:1")


def test_without_cryptography_a_line_says_what_to_install(
    lpmx: Lpmx, place: str, lab: Signer, tmp_path: Path
) -> None:
    (tmp_path / "shadow/cryptography").mkdir(parents=True)
    (tmp_path / "shadow/cryptography/__init__.py").write_text("raise ImportError('not here')\n")
    env = {"PYTHONPATH": str(tmp_path / "shadow")}
    done = lpmx("pull", "--verify", lab.public, f"{place}:1", env=env, check=False)
    assert (done.returncode, stored(lpmx)) == (1, [])
    assert done.stderr.splitlines() == [
        "lpmx: --verify: signatures need the package cryptography, which is not installed",
        "  (`pip install 'lpmx-kernels[verify]'`)",
    ]
    assert lpmx("pull", f"{place}:1", env=env).returncode == 0, "it is needed for nothing else"


def test_a_sif_image_of_a_registry_obeys_as_well(
    lpmx: Lpmx, place: str, lab: Signer, tmp_path: Path
) -> None:
    """`oras://` does not pass through the store's own pull."""
    sif = put_blob(place, b"sif", "application/vnd.sylabs.sif.layer.v1.sif")
    config = put_blob(place, b"{}", "application/vnd.sylabs.sif.config.v1+json")
    put_manifest(place, image_manifest(config, [sif]), "sif")
    trust(f"{place.partition('/')[0]}/: {{keys: [{lab.public}]}}\n")
    program = str(Path(lpmx.command[0]).with_name("lpmx-singularity"))
    words = [program, "pull", tmp_path / "x.sif", f"oras://{place}:sif"]
    done = run(words, env=lpmx.environment(), check=False)
    assert (done.returncode, "not signed" in done.stderr) == (255, True), done.stderr
    assert not (tmp_path / "x.sif").exists()
    sign_classic(place, manifest_digest(place, "sif"), lab)
    run(words, env=lpmx.environment())
    assert (tmp_path / "x.sif").read_bytes() == b"sif"
