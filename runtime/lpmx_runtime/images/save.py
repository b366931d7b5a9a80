"""`lpmx save`: images of the store as an archive that docker, podman, skopeo and umoci read.

Layers are put together again byte for byte (layerfile.py), and the configuration is the one that
came, so a saved image has the id and the diff ids it was loaded with. Formats: docker-archive as
`docker save` has written it since 1.10 (manifest.json, one tar a layer); an OCI image layout as a
folder or a tar (OCI image specification, image-layout.md).
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Protocol

from lpmx_runtime.errors import InUseError, UsageError, storage_errors
from lpmx_runtime.store.store import remove_tree
from lpmx_runtime.tar.writer import header

from .layerfile import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    compact_json,
    config_of,
    image_manifest,
    write_layer,
)
from .platforms import host_platform

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["FORMATS", "save"]

FORMATS = ("docker-archive", "oci-archive", "oci-dir")
_OCI = "application/vnd.oci.image"
_BLOCK = 512


class _Target(Protocol):
    """Where the files of an archive go, one after the other."""

    def put(self, name: str, data: bytes) -> None:
        """A small file."""

    def move(self, name: str, source: Path) -> None:
        """A file that was written already; it is gone afterwards."""

    def finish(self) -> None:
        """All files are there."""


class _TarTarget:
    """A tar. Its members are root's, or with @own the user's.

    skopeo unpacks OCI archives, and fails as an ordinary user where that would need a chown.
    """

    def __init__(self, out: IO[bytes], *, own: bool) -> None:
        self._out = out
        self._owner = (os.getuid(), os.getgid()) if own else (0, 0)
        self._folders: set[str] = set()

    def put(self, name: str, data: bytes) -> None:
        self._out.write(self._header(name, len(data)))
        self._out.write(data + bytes(-len(data) % _BLOCK))

    def move(self, name: str, source: Path) -> None:
        size = source.stat().st_size
        self._out.write(self._header(name, size))
        with open(source, "rb") as file:
            while block := file.read(1 << 20):
                self._out.write(block)
        self._out.write(bytes(-size % _BLOCK))
        source.unlink()

    def _header(self, name: str, size: int) -> bytes:
        """The header of a file, behind those of folders that were not there yet."""
        uid, gid = self._owner
        parts = name.split("/")[:-1]
        above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        new = [folder for folder in above if folder not in self._folders]
        self._folders.update(new)
        folders = b"".join(
            header(os.fsencode(folder) + b"/", b"5", mode=0o755, mtime=0, uid=uid, gid=gid)
            for folder in new
        )
        own = header(os.fsencode(name), b"0", mode=0o644, mtime=0, size=size, uid=uid, gid=gid)
        return folders + own

    def finish(self) -> None:
        self._out.write(bytes(2 * _BLOCK))
        self._out.flush()


class _FolderTarget:
    def __init__(self, folder: str) -> None:
        self._folder = folder

    def _place(self, name: str) -> str:
        path = os.path.join(self._folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def put(self, name: str, data: bytes) -> None:
        with open(self._place(name), "wb") as file:
            file.write(data)

    def move(self, name: str, source: Path) -> None:
        path = self._place(name)
        try:
            os.rename(source, path)
        except OSError:
            import shutil

            shutil.move(os.fspath(source), path)
        os.chmod(path, 0o644)

    def finish(self) -> None:
        pass


@dataclass(frozen=True)
class _Blob:
    """A file of an OCI layout, as manifests refer to it."""

    digest: str
    size: int
    media_type: str

    def as_dict(self, **more: Any) -> dict[str, Any]:
        return {
            "mediaType": self.media_type,
            "digest": f"sha256:{self.digest}",
            "size": self.size,
            **more,
        }


def save(
    store: Store, names: Sequence[str], output: str | IO[bytes], *,
    form: str = FORMATS[0], compress: bool = True,
) -> list[Image]:  # fmt: skip
    """Write the images called @names to the file, folder or stream @output.

    A file appears whole or not at all; a folder for `oci-dir` must be new or empty. @compress is
    for OCI forms: layers by gzip. StorageError when a layer's files are not what they were.
    """
    if form not in FORMATS:
        raise UsageError(f"--format {form}: not a format", hint=f"one of {', '.join(FORMATS)}")
    images = [store.resolve(name) for name in names]
    with store.adding(), store.workspace() as workspace:
        writer = _Writer(store, workspace, compress=compress)
        with storage_errors("the archive"):
            if not isinstance(output, str):
                writer.write(form, images, names, _TarTarget(output, own=form != FORMATS[0]))
            elif form == "oci-dir":
                _check_folder(output)
                writer.write(form, images, names, _FolderTarget(output))
            else:
                _write_file(writer, form, images, names, output)
    return images


def _check_folder(path: str) -> None:
    if os.path.lexists(path) and (not os.path.isdir(path) or os.listdir(path)):
        raise InUseError(f"{path}: exists and is not an empty folder", hint="name a new one")
    os.makedirs(path, exist_ok=True)


def _write_file(
    writer: _Writer, form: str, images: list[Image], names: Sequence[str], path: str
) -> None:
    temporary = f"{path}.{os.getpid()}.partial"
    folder = os.path.dirname(path)
    if folder and not os.path.isdir(folder):
        raise UsageError(f"{path}: there is no directory {folder}", hint="make it first")
    try:
        with open(temporary, "xb") as file:
            writer.write(form, images, names, _TarTarget(file, own=form != FORMATS[0]))
        os.rename(temporary, path)
    except BaseException:
        if os.path.lexists(temporary):
            remove_tree(temporary)
        raise


class _Writer:
    def __init__(self, store: Store, workspace: Path, *, compress: bool) -> None:
        self._store = store
        self._workspace = workspace
        self._compress = compress

    def write(self, form: str, images: list[Image], names: Sequence[str], target: _Target) -> None:
        named = [(image, _names_of(image, name)) for image, name in zip(images, names, strict=True)]
        merged: dict[str, tuple[Image, list[str]]] = {}
        for image, own in named:
            known = merged.setdefault(image.id, (image, []))[1]
            known += [name for name in own if name not in known]
        if form == "docker-archive":
            self._docker(list(merged.values()), target)
        else:
            self._oci(list(merged.values()), target)
        target.finish()

    def _layer(self, diff_id: str, *, compress: bool) -> tuple[Path, str]:
        """The layer's archive as a file of the workspace, and its digest."""
        path = self._workspace / f"{diff_id}.out"
        return path, write_layer(self._store, diff_id, path, compress=compress)

    def _docker(self, images: list[tuple[Image, list[str]]], target: _Target) -> None:
        manifest = []
        for image, names in images:
            target.put(f"{image.id}.json", config_of(self._store, image))
            manifest.append(
                {
                    "Config": f"{image.id}.json",
                    "RepoTags": names,
                    "Layers": [f"{diff_id}.tar" for diff_id in image.diff_ids],
                }
            )
        for diff_id in dict.fromkeys(d for image, _ in images for d in image.diff_ids):
            target.move(f"{diff_id}.tar", self._layer(diff_id, compress=False)[0])
        target.put("manifest.json", compact_json(manifest))

    def _oci(self, images: list[tuple[Image, list[str]]], target: _Target) -> None:
        target.put("oci-layout", compact_json({"imageLayoutVersion": "1.0.0"}))
        layers: dict[str, _Blob] = {}
        listed = []
        for image, names in images:
            for diff_id in image.diff_ids:
                if diff_id not in layers:
                    layers[diff_id] = self._oci_layer(diff_id, target)
            config = self._put(target, config_of(self._store, image), CONFIG_TYPE)
            manifest = image_manifest(
                config.as_dict(), [layers[diff_id].as_dict() for diff_id in image.diff_ids]
            )
            blob = self._put(target, manifest, MANIFEST_TYPE)
            listed += [blob.as_dict(**_listing(image, name)) for name in names or [""]]
        index = {"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": listed}
        target.put("index.json", compact_json(index))

    def _oci_layer(self, diff_id: str, target: _Target) -> _Blob:
        path, digest = self._layer(diff_id, compress=self._compress)
        size = path.stat().st_size
        target.move(f"blobs/sha256/{digest}", path)
        return _Blob(digest, size, LAYER_TYPE + ("+gzip" if self._compress else ""))

    @staticmethod
    def _put(target: _Target, data: bytes, media_type: str) -> _Blob:
        digest = hashlib.sha256(data).hexdigest()
        target.put(f"blobs/sha256/{digest}", data)
        return _Blob(digest, len(data), media_type)


def _listing(image: Image, name: str) -> dict[str, Any]:
    """What index.json says beside the digest: platform, and name under the keys readers look at."""
    system, _, machine = host_platform().partition("/")
    config = image.config
    said: dict[str, Any] = {
        "platform": {
            "architecture": config.get("architecture") or machine,
            "os": config.get("os") or system,
        }
    }
    if name:
        said["annotations"] = {
            "org.opencontainers.image.ref.name": name,
            "io.containerd.image.name": name,
        }
    return said


def _names_of(image: Image, asked: str) -> list[str]:
    """The name by which the image was asked for; none when that was its id."""
    from lpmx_runtime.reference import parse_reference

    with suppress(UsageError):
        name = str(parse_reference(asked))
        if name in image.names or not image.id.startswith(asked.removeprefix("sha256:")):
            return [name]
    return []
