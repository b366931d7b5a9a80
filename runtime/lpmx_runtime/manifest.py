"""What images an archive holds: docker's manifest.json, or an OCI index with its manifests.

Every blob that is named by a digest is checked against it before it is believed. Attestations and
other platforms' images are passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .archive import read_small
from .errors import ArchiveError, UsageError
from .image import is_hex_digest, parse_config
from .reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .archive import Archive

__all__ = ["ImageSpec", "LayerSpec", "read_images"]

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}
_INDEX_TYPES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}
_MAX_DEPTH = 4
_MAX_LAYERS = 1000
_ATTESTATION = "vnd.docker.reference.type"
_FULL_NAME = ("io.containerd.image.name", "containerd.io/distribution.source.ref")
_REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class LayerSpec:
    """One layer: its blob's name, that blob's digest where the archive states it, its diff id."""

    blob: str
    digest: str | None
    diff_id: str


@dataclass(frozen=True)
class ImageSpec:
    """One image of an archive, decided and checked as far as its configuration goes."""

    id: str
    names: tuple[str, ...]
    config: bytes
    layers: tuple[LayerSpec, ...]
    platform: str


def host_platform() -> str:
    """The platform whose images run here."""
    machine = os.uname().machine
    return f"linux/{_MACHINES.get(machine, machine)}"


def read_images(archive: Archive, *, stem: str = "") -> list[ImageSpec]:
    """The images of @archive that run on this machine. @stem names one that has a tag only."""
    if "manifest.json" in archive:
        found = list(_docker_images(archive))
    elif "index.json" in archive:
        found = list(_oci_images(archive, stem))
    else:
        hint = "`lpmx load` reads what `docker save` writes (docker 1.10 or later), and OCI layouts"
        raise ArchiveError(
            f"{archive.label}: neither manifest.json nor index.json is in it", hint=hint
        )
    fit = [spec for spec in found if spec.platform == host_platform()]
    if not fit:
        others = ", ".join(sorted({spec.platform for spec in found})) or "no image at all"
        raise ArchiveError(f"{archive.label}: no image for {host_platform()} in it, only {others}")
    return fit


def _json(archive: Archive, raw: bytes, what: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{archive.label}: {what} is not JSON") from error


def _bad(archive: Archive, what: str) -> ArchiveError:
    return ArchiveError(f"{archive.label}: {what}", hint="the archive is damaged: get another copy")


def _spec(
    archive: Archive, config: bytes, names: list[str], blobs: list[tuple[str, str | None]]
) -> ImageSpec:
    """Put an image together from its configuration and the blobs of its layers."""
    parsed, diff_ids = parse_config(config)
    if len(diff_ids) != len(blobs) or len(blobs) > _MAX_LAYERS:
        raise _bad(
            archive, f"{len(blobs)} layers are listed, the configuration has {len(diff_ids)}"
        )
    layers = tuple(
        LayerSpec(blob, digest, diff_id)
        for (blob, digest), diff_id in zip(blobs, diff_ids, strict=True)
    )
    platform = f"{parsed.get('os') or 'linux'}/{parsed.get('architecture') or 'unknown'}"
    image_id = hashlib.sha256(config).hexdigest()
    return ImageSpec(image_id, tuple(_canonical(names)), config, layers, platform)


def _canonical(names: list[str]) -> Iterator[str]:
    """The usable ones of an archive's names."""
    for name in names:
        try:
            yield str(parse_reference(name))
        except UsageError:
            continue


# ---------------------------------------------------------------- docker save
def _docker_images(archive: Archive) -> Iterator[ImageSpec]:
    listed = _json(archive, read_small(archive, "manifest.json"), "manifest.json")
    if not isinstance(listed, list):
        raise _bad(archive, "manifest.json is not a list")
    for item in listed:
        config_name = item.get("Config") if isinstance(item, dict) else None
        blobs = item.get("Layers") if isinstance(item, dict) else None
        if not isinstance(config_name, str) or not isinstance(blobs, list) or not _all_text(blobs):
            raise _bad(archive, "manifest.json has an entry without Config and Layers")
        tags = item.get("RepoTags")
        config = read_small(archive, config_name)
        claimed = _digest_in(config_name)
        if claimed is not None and hashlib.sha256(config).hexdigest() != claimed:
            raise _bad(archive, f"{config_name}: checksum differs")
        names = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
        yield _spec(archive, config, names, [(blob, _blob_digest(blob)) for blob in blobs])


def _all_text(values: list[Any]) -> bool:
    return all(isinstance(item, str) for item in values)


def _digest_in(config_name: str) -> str | None:
    """The digest that a configuration's file name states."""
    base = config_name.rpartition("/")[2].removesuffix(".json")
    return base if is_hex_digest(base) else None


def _blob_digest(name: str) -> str | None:
    """The digest that a layer's path states (docker 25 and later; older ones state others)."""
    match = re.fullmatch(r"blobs/sha256/([0-9a-f]{64})", name)
    return match[1] if match else None


# ---------------------------------------------------------------- OCI
def _oci_images(archive: Archive, stem: str) -> Iterator[ImageSpec]:
    index = _json(archive, read_small(archive, "index.json"), "index.json")
    seen: dict[str, ImageSpec] = {}
    for descriptor in _manifests(archive, index, "index.json"):
        name = _name_of(descriptor, stem)
        for manifest in _platform_manifests(archive, descriptor, 0):
            spec = _oci_image(archive, manifest, [name] if name else [])
            known = seen.get(spec.id)
            names = tuple(dict.fromkeys((*(known.names if known else ()), *spec.names)))
            seen[spec.id] = ImageSpec(spec.id, names, spec.config, spec.layers, spec.platform)
    yield from seen.values()


def _manifests(archive: Archive, index: Any, what: str) -> list[dict[str, Any]]:
    listed = index.get("manifests") if isinstance(index, dict) else None
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise _bad(archive, f"{what} lists no manifests")
    return listed


def _annotations(descriptor: dict[str, Any]) -> dict[str, Any]:
    value = descriptor.get("annotations")
    return value if isinstance(value, dict) else {}


def _name_of(descriptor: dict[str, Any], stem: str) -> str | None:
    """What an entry of index.json is called: a full name, or a tag behind the file's own name."""
    annotations = _annotations(descriptor)
    for key in _FULL_NAME:
        if isinstance(annotations.get(key), str):
            return str(annotations[key])
    name = annotations.get(_REF_NAME)
    if not isinstance(name, str) or not name:
        return None
    if "/" in name or ":" in name:
        return name
    return f"{stem}:{name}" if stem else None


def _platform_manifests(
    archive: Archive, descriptor: dict[str, Any], depth: int
) -> Iterator[dict[str, Any]]:
    """The image manifests behind a descriptor: itself, or its index's ones for this platform."""
    if _ATTESTATION in _annotations(descriptor):
        return
    platform = descriptor.get("platform")
    if isinstance(platform, dict) and platform.get("os") == "unknown":
        return
    if isinstance(platform, dict) and platform.get("architecture"):
        stated = f"{platform.get('os')}/{platform.get('architecture')}"
        if stated != host_platform():
            return
    value = _json(archive, _verified(archive, descriptor), "a manifest")
    if not isinstance(value, dict):
        raise _bad(archive, "a manifest is not an object")
    if "manifests" in value or descriptor.get("mediaType") in _INDEX_TYPES:
        if depth >= _MAX_DEPTH:
            raise _bad(archive, "indexes within indexes, too deep")
        for inner in _manifests(archive, value, "an index"):
            yield from _platform_manifests(archive, inner, depth + 1)
    else:
        yield value


def _digest(archive: Archive, descriptor: Any) -> str:
    text = descriptor.get("digest") if isinstance(descriptor, dict) else None
    algorithm, _, digest = text.partition(":") if isinstance(text, str) else ("", "", "")
    if algorithm != "sha256" or not is_hex_digest(digest):
        raise _bad(archive, f"a descriptor with a bad digest {str(text)[:80]!r}")
    return digest


def _verified(archive: Archive, descriptor: Any) -> bytes:
    """The small blob that a descriptor names, checked."""
    digest = _digest(archive, descriptor)
    data = read_small(archive, f"blobs/sha256/{digest}")
    if hashlib.sha256(data).hexdigest() != digest:
        raise _bad(archive, f"blobs/sha256/{digest}: checksum differs")
    return data


def _oci_image(archive: Archive, manifest: dict[str, Any], names: list[str]) -> ImageSpec:
    layers = manifest.get("layers")
    if not isinstance(layers, list):
        raise _bad(archive, "a manifest lists no layers")
    digests = [_digest(archive, layer) for layer in layers]
    config = _verified(archive, manifest.get("config"))
    return _spec(archive, config, names, [(f"blobs/sha256/{one}", one) for one in digests])
