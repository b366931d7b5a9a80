"""What images an archive holds: docker's manifest.json, or an OCI index with its manifests.

Every blob that is named by a digest is checked against it before it is believed. Attestations,
other artifacts (signatures, lists of software) and other platforms' images are passed over.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import ArchiveError, UsageError
from lpmx_runtime.reference import parse_reference
from lpmx_runtime.store.image import is_hex_digest, parse_config
from lpmx_runtime.text import parse_json

from .archive import read_small
from .platforms import host_platform, platform_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .archive import Archive

__all__ = ["ImageSpec", "LayerSpec", "read_images"]

_INDEX_TYPES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}
_MANIFEST_TYPES = {
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
}
_CONFIG_TYPES = {
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
}
_MAX_DEPTH = 4
_MAX_LAYERS = 1000
_ROOT_FILES = ("etc/passwd", "etc/os-release", "usr/lib/os-release", "bin/sh", "usr/bin/env")
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
    assumed: bool = False  # the configuration leaves (part of) the platform open


class _Artifact(Exception):  # noqa: N818  (a finding, not an error)
    """What a manifest describes is of this type, and no image."""


def read_images(
    archive: Archive, *, stem: str = "", report: Callable[[str], None] | None = None
) -> list[ImageSpec]:
    """The images of @archive that run on this machine. @stem names one that has a tag only.

    @report gets a line for what the user should know: artifacts passed over, platforms assumed.
    """
    artifacts: list[str] = []
    if "manifest.json" in archive:
        found = list(_docker_images(archive))
    elif "index.json" in archive:
        found = list(_oci_images(archive, stem, artifacts))
    else:
        raise _no_manifest(archive)
    fit = [spec for spec in found if spec.platform == host_platform()]
    kinds = ", ".join(sorted(set(artifacts)))
    if not fit:
        others = ", ".join(sorted({spec.platform for spec in found}))
        others = others or (f"artifacts ({kinds})" if artifacts else "no image at all")
        raise ArchiveError(f"{archive.label}: no image for {host_platform()} in it, only {others}")
    if report is not None:
        if artifacts:
            count = "an artifact that is" if len(artifacts) == 1 else f"{len(artifacts)} that are"
            report(f"{archive.label}: {count} no image passed over ({kinds})")
        for spec in fit:
            if spec.assumed:
                name = spec.names[0] if spec.names else spec.id[:12]
                report(f"{name}: names no platform, taken as {spec.platform}")
    return fit


def _no_manifest(archive: Archive) -> ArchiveError:
    label = archive.label
    if any(name in archive for name in _ROOT_FILES):
        folder = os.path.isdir(label)
        source = f"tar -C {label} -c . | lpmx-docker import -" if folder else "lpmx-docker import "
        what = "" if folder else "-" if label == "stdin" else label
        return ArchiveError(
            f"{label}: a file system, no image: neither manifest.json nor index.json is in it",
            hint=f"`{source}{what} NAME` makes an image of it",
        )
    return ArchiveError(
        f"{label}: neither manifest.json nor index.json is in it",
        hint="`lpmx load` reads what `docker save` writes (docker 1.10 or later), and OCI layouts",
    )


def _json(archive: Archive, raw: bytes, what: str) -> Any:
    try:
        return parse_json(raw)
    except ValueError as error:
        raise ArchiveError(f"{archive.label}: {what} is not JSON") from error


def _bad(archive: Archive, what: str) -> ArchiveError:
    return ArchiveError(f"{archive.label}: {what}", hint="the archive is damaged: get another copy")


def _spec(
    archive: Archive, config: bytes, names: list[str], blobs: list[tuple[str, str | None]]
) -> ImageSpec:
    """Put an image together from its configuration and the blobs of its layers."""
    parsed, diff_ids = parse_config(config)
    if len(diff_ids) != len(blobs):
        raise _bad(
            archive, f"{len(blobs)} layers are listed, the configuration has {len(diff_ids)}"
        )
    if len(blobs) > _MAX_LAYERS:
        raise ArchiveError(
            f"{archive.label}: an image of {len(blobs)} layers, lpmx takes up to {_MAX_LAYERS}",
            hint="squash it: docker and podman take up to 127 layers themselves",
        )
    layers = tuple(
        LayerSpec(blob, digest, diff_id)
        for (blob, digest), diff_id in zip(blobs, diff_ids, strict=True)
    )
    image_id = hashlib.sha256(config).hexdigest()
    return ImageSpec(
        image_id,
        tuple(_canonical(names)),
        config,
        layers,
        platform_of(parsed),
        not _is_said(parsed),
    )


def _is_said(value: dict[str, Any]) -> bool:
    return bool(value.get("architecture"))


def _canonical(names: list[str]) -> Iterator[str]:
    """An archive's names, without what is none."""
    for name in names:
        with suppress(UsageError):
            yield str(parse_reference(name))


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
def _oci_images(archive: Archive, stem: str, artifacts: list[str]) -> Iterator[ImageSpec]:
    """The images that index.json leads to; types of what is no image are added to @artifacts."""
    index = _json(archive, read_small(archive, "index.json"), "index.json")
    seen: dict[str, ImageSpec] = {}
    for descriptor in _manifests(archive, index, "index.json"):
        name = _name_of(descriptor, stem)
        for number, spec in enumerate(_described(archive, descriptor, artifacts)):
            known = seen.get(spec.id)
            # Several of one platform are variants of one image: the first is the plain one.
            own = tuple(_canonical([name])) if name and number == 0 else ()
            names = tuple(dict.fromkeys((*(known.names if known else ()), *own)))
            seen[spec.id] = replace(spec, names=names)
    yield from seen.values()


def _described(
    archive: Archive, descriptor: dict[str, Any], artifacts: list[str]
) -> list[ImageSpec]:
    """The images behind one entry of index.json: this platform's, else one that names none."""
    found = []
    for manifest in _platform_manifests(archive, descriptor, 0, artifacts):
        try:
            found.append(_oci_image(archive, manifest))
        except _Artifact as artifact:
            artifacts.append(str(artifact))
    own = [spec for spec in found if spec.platform == host_platform()]
    return [spec for spec in own if not spec.assumed] or own or found


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
    archive: Archive, descriptor: dict[str, Any], depth: int, artifacts: list[str]
) -> Iterator[dict[str, Any]]:
    """The image manifests behind a descriptor: itself, or its index's ones for this platform."""
    if _ATTESTATION in _annotations(descriptor):
        return
    platform = descriptor.get("platform")
    if isinstance(platform, dict) and platform.get("os") == "unknown":
        return
    if isinstance(platform, dict) and platform_of(platform) != host_platform():
        return
    media = descriptor.get("mediaType")
    if media and media not in _INDEX_TYPES | _MANIFEST_TYPES:
        artifacts.append(_clean_type(media))
        return
    value = _json(archive, _verified(archive, descriptor), "a manifest")
    if not isinstance(value, dict):
        raise _bad(archive, "a manifest is not an object")
    if "manifests" in value or descriptor.get("mediaType") in _INDEX_TYPES:
        if depth >= _MAX_DEPTH:
            raise _bad(archive, "indexes within indexes, too deep")
        for inner in _manifests(archive, value, "an index"):
            yield from _platform_manifests(archive, inner, depth + 1, artifacts)
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


def _oci_image(archive: Archive, manifest: dict[str, Any]) -> ImageSpec:
    """The image of a manifest; _Artifact when it describes something else."""
    layers = manifest.get("layers")
    if kind := _artifact_type(manifest):
        raise _Artifact(kind)
    if not isinstance(layers, list):
        raise _bad(archive, "a manifest lists no layers")
    digests = [_digest(archive, layer) for layer in layers]
    config = _verified(archive, manifest.get("config"))
    return _spec(archive, config, [], [(f"blobs/sha256/{one}", one) for one in digests])


def _artifact_type(manifest: dict[str, Any]) -> str:
    """The type of what is no image: "" for images.

    An artifact has a configuration of another type, or, as cosign's signatures and BuildKit's
    attestations, an image's configuration and layers that are no file trees.
    """
    config = _media_type(manifest.get("config"))
    stated = manifest.get("artifactType")
    if (config and config not in _CONFIG_TYPES) or (stated and not config):
        return _clean_type(stated or config)
    layers = manifest.get("layers")
    types = [_media_type(layer) for layer in layers] if isinstance(layers, list) else []
    is_image = not types or any(not one or _is_tree(one) for one in types)
    return "" if is_image else _clean_type(types[0])


def _media_type(descriptor: Any) -> str:
    value = descriptor.get("mediaType") if isinstance(descriptor, dict) else None
    return value if isinstance(value, str) else ""


def _clean_type(value: object) -> str:
    """A media type for a message."""
    good = isinstance(value, str) and re.fullmatch(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+", value, re.ASCII)
    return str(value)[:80] if good else "unknown"


def _is_tree(media_type: str) -> bool:
    """Is a layer of this type a file tree: `...layer.v1.tar+gzip`, `...rootfs.diff.tar.gzip`?"""
    return re.search(r"\btar\b", media_type) is not None
