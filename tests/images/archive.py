"""docker-save archives out of finished layer tars, in the three styles that are found in the wild.

`v1`   docker before 25: <id>/layer.tar, <id>/json, <id>/VERSION, repositories, manifest.json
`flat` skopeo and podman: <diff id>.tar beside manifest.json
`oci`  docker 25 and later: blobs/sha256/*, index.json, oci-layout, and manifest.json for old
readers
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CREATED = "2022-03-24T00:00:00Z"  # fixed: the same layers give the same image id
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
STYLES = ("v1", "flat", "oci")


def write_archive(
    out: Path, name: str, layers: Sequence[Path], config: Mapping[str, Any], *, style: str = "v1"
) -> str:
    """Write the image @name (`repository:tag`) as an archive; return the image id (hex)."""
    digests = [sha256_file(layer) for layer in layers]
    raw = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": CREATED,
            "config": dict(config),
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
            "history": [{"created": CREATED, "created_by": layer.stem} for layer in layers],
        }
    )
    partial = out.with_name(out.name + ".partial")
    with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
        writer = {"v1": _write_v1, "flat": _write_flat, "oci": _write_oci}[style]
        writer(_Archive(tar), name, list(zip(layers, digests, strict=True)), raw)
    partial.replace(out)
    return hashlib.sha256(raw).hexdigest()


def sha256_file(path: Path) -> str:
    """The digest of a file, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class _Archive:
    """Members with nothing of the moment in their headers."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self.tar = tar

    def bytes(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        self.tar.addfile(info, io.BytesIO(data))

    def file(self, name: str, path: Path) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = path.stat().st_size, 0o644
        with open(path, "rb") as data:
            self.tar.addfile(info, data)

    def directory(self, name: str) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        self.tar.addfile(info)


_Layers = list[tuple[Path, str]]


def _write_v1(archive: _Archive, name: str, layers: _Layers, config: bytes) -> None:
    image_id = hashlib.sha256(config).hexdigest()
    parent: str | None = None
    paths: list[str] = []
    for path, digest in layers:
        layer_id = hashlib.sha256(f"{parent}{digest}".encode()).hexdigest()
        archive.directory(f"{layer_id}/")
        archive.bytes(f"{layer_id}/VERSION", b"1.0")
        legacy = {"id": layer_id, "created": CREATED, **({"parent": parent} if parent else {})}
        archive.bytes(f"{layer_id}/json", _json(legacy))
        archive.file(f"{layer_id}/layer.tar", path)
        paths.append(f"{layer_id}/layer.tar")
        parent = layer_id
    archive.bytes(f"{image_id}.json", config)
    archive.bytes("manifest.json", _manifest(f"{image_id}.json", name, paths))
    repository, _, tag = name.rpartition(":")
    archive.bytes("repositories", _json({repository: {tag: parent}}))


def _write_flat(archive: _Archive, name: str, layers: _Layers, config: bytes) -> None:
    image_id = hashlib.sha256(config).hexdigest()
    for path, digest in layers:
        archive.file(f"{digest}.tar", path)
    archive.bytes(f"{image_id}.json", config)
    paths = [f"{digest}.tar" for _, digest in layers]
    archive.bytes("manifest.json", _manifest(f"{image_id}.json", name, paths))


def _write_oci(archive: _Archive, name: str, layers: _Layers, config: bytes) -> None:
    image_id = hashlib.sha256(config).hexdigest()
    for folder in ("blobs/", "blobs/sha256/"):
        archive.directory(folder)
    for path, digest in layers:
        archive.file(f"blobs/sha256/{digest}", path)
    archive.bytes(f"blobs/sha256/{image_id}", config)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, image_id, len(config)),
            "layers": [
                _descriptor(LAYER_TYPE, digest, path.stat().st_size) for path, digest in layers
            ],
        }
    )
    manifest_id = hashlib.sha256(manifest).hexdigest()
    archive.bytes(f"blobs/sha256/{manifest_id}", manifest)
    annotations = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }
    entry = _descriptor(MANIFEST_TYPE, manifest_id, len(manifest)) | {"annotations": annotations}
    archive.bytes("index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
    archive.bytes("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    paths = [f"blobs/sha256/{digest}" for _, digest in layers]
    archive.bytes("manifest.json", _manifest(f"blobs/sha256/{image_id}", name, paths))


def _manifest(config: str, name: str, layers: list[str]) -> bytes:
    return _json([{"Config": config, "RepoTags": [name], "Layers": layers}])


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
