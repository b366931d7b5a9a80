"""An OCI image layout as the end of a copy: `oci:DIRECTORY[:NAME]` (image-layout.md).

Blobs are files named by their digest, and `index.json` lists manifests with their names. A layout
grows: what is in it stays, and a name moves.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import ArchiveError, LpmxError, NotFoundError, StorageError
from lpmx_runtime.images.layerfile import compact_json
from lpmx_runtime.images.registry.wire.client import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Manifest,
    digest_of,
    is_digest,
)
from lpmx_runtime.images.registry.wire.errors import DeniedError, WrongDataError
from lpmx_runtime.store.store import atomic_write
from lpmx_runtime.text import parse_json

from .content import FileContent
from .ends import entry_of
from .target import in_parallel, twice_if_wrong

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    from lpmx_runtime.images.registry.download import Descriptor, Meter

    from .content import Content
    from .ends import Source
    from .target import Outgoing

__all__ = ["LayoutSource", "LayoutTarget", "is_layout"]

SCHEME = "oci:"
_NAME = "org.opencontainers.image.ref.name"
_SMALL_MAX = 16 << 20
_BLOCK = 1 << 20


def is_layout(text: str) -> bool:
    """Is it `oci:DIRECTORY`, and no reference with `oci://`?"""
    return text.startswith(SCHEME) and not text.startswith(f"{SCHEME}//")


class _Layout:
    def __init__(self, text: str) -> None:
        self.label = text
        self._directory, _, self._name = text.removeprefix(SCHEME).partition(":")
        if not self._directory:
            raise NotFoundError(f"{text}: names no directory", hint="oci:DIRECTORY[:NAME]")

    def _blob(self, digest: str) -> str:
        if not is_digest(digest):
            raise ArchiveError(f"{self.label}: {digest[:80]!r} is no sha256 digest")
        return os.path.join(self._directory, "blobs", "sha256", digest.removeprefix("sha256:"))

    def _entries(self) -> list[dict[str, Any]]:
        """What index.json lists. ArchiveError: this is no layout."""
        data = self._small(os.path.join(self._directory, "index.json"))
        try:
            value = parse_json(data)
        except ValueError as error:
            raise ArchiveError(f"{self._directory}: index.json is not JSON") from error
        listed = value.get("manifests") if isinstance(value, dict) else None
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise ArchiveError(f"{self._directory}: index.json lists no manifests")
        return listed

    def _small(self, path: str) -> bytes:
        try:
            with open(_open(path), "rb") as file:
                data = file.read(_SMALL_MAX + 1)
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise NotFoundError(
                f"{self._directory}: no OCI layout: {os.path.relpath(path, self._directory)}: {why}"
            ) from error
        if len(data) > _SMALL_MAX:
            raise ArchiveError(f"{path}: larger than {_SMALL_MAX} bytes")
        return data


class LayoutSource(_Layout):
    """An image of a layout."""

    repositories: tuple[str, ...] = ()

    def top(self) -> Manifest:
        """The one of that name, or the only one. NotFoundError, ArchiveError."""
        entries = self._entries()
        names = [_name_of(one) for one in entries]
        if self._name:
            found = [one for one, name in zip(entries, names, strict=True) if name == self._name]
        else:
            found = [one for one in entries if not self._subject(str(one.get("digest")))]
        if len({str(one.get("digest")) for one in found}) != 1:
            listed = ", ".join(sorted({name for name in names if name})) or "no names"
            what = f"{len(found)} images" if found else "no such image"
            raise NotFoundError(f"{self.label}: {what} in it, of {listed}")
        return self.manifest(str(found[0].get("digest")))

    def manifest(self, reference: str) -> Manifest:
        """The manifest of a digest, checked; DeniedError for a tag that is not listed."""
        digest = reference if ":" in reference else self._tagged(reference)  # tags have none
        data = self._small(self._blob(digest))
        if digest_of(data) != digest:
            raise ArchiveError(f"{self.label}: checksum of manifest {digest[7:19]} differs")
        try:
            value = parse_json(data)
            kind = str(value.get("mediaType") or "")
        except (ValueError, AttributeError) as error:
            raise ArchiveError(
                f"{self.label}: manifest {digest[7:19]} is no JSON object"
            ) from error
        default = INDEX_TYPES[0] if "manifests" in value else MANIFEST_TYPES[0]
        return Manifest(data, kind or default, digest)

    def _tagged(self, tag: str) -> str:
        for one in self._entries():
            if _name_of(one) == tag:
                return str(one.get("digest"))
        raise DeniedError(f"{self.label}: has no {tag}")

    def _subject(self, digest: str) -> str:
        with contextlib.suppress(LpmxError, AttributeError):
            value = parse_json(self.manifest(digest).data)
            return str((value.get("subject") or {}).get("digest") or "")
        return ""

    def has_blob(self, digest: str) -> bool:
        """Is the file there?"""
        return os.path.isfile(self._blob(digest))

    def content(self, blob: Descriptor) -> Content:
        """The file."""
        path = self._blob(f"sha256:{blob.digest}")
        try:
            return FileContent(_open(path), path)
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise ArchiveError(f"{self.label}: blob {blob.digest[:12]}: {why}") from error

    def referrers(self, digest: str) -> list[str]:
        """Those of the listed manifests whose subject is @digest."""
        listed = [str(one.get("digest")) for one in self._entries()]
        return [one for one in listed if self._subject(one) == digest]


class LayoutTarget(_Layout):
    """A layout that is made, or grows."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._blobs = os.path.join(self._directory, "blobs", "sha256")
        with self._disk():
            version = os.path.join(self._directory, "oci-layout")
            is_new = not os.path.isdir(self._directory) or not os.listdir(self._directory)
            if not is_new and not os.path.exists(version):
                self._entries()  # not with other things
            os.makedirs(self._blobs, exist_ok=True)
            if not os.path.exists(version):
                self._write(version, {"imageLayoutVersion": "1.0.0"})

    def neighbours(self, source: Source) -> tuple[str, ...]:  # noqa: ARG002  what registries have
        """None."""
        return ()

    def put_blobs(
        self, blobs: Sequence[Outgoing], jobs: int, meter: Callable[[Sequence[Descriptor]], Meter]
    ) -> int:
        """Write those that are missing."""
        missing = [one for one in blobs if not self._has(one.blob)]
        progress = meter([one.blob for one in missing])

        def write(one: Outgoing, stopped: threading.Event) -> None:
            twice_if_wrong(one, lambda content: self._copy(one.blob, content, progress, stopped))
            progress.done(one.blob)

        in_parallel(write, missing, jobs)
        return sum(one.blob.size for one in missing)

    def _has(self, blob: Descriptor) -> bool:
        """Is it there, and what it should be?"""
        seen = hashlib.sha256()
        try:
            with open(_open(self._blob(f"sha256:{blob.digest}")), "rb") as file:
                while block := file.read(_BLOCK):
                    seen.update(block)
        except OSError:
            return False
        return seen.hexdigest() == blob.digest

    def _copy(
        self, blob: Descriptor, content: Content, meter: Meter, stopped: threading.Event
    ) -> None:
        path = self._blob(f"sha256:{blob.digest}")
        temporary = f"{path}.{os.getpid()}.partial"
        seen = hashlib.sha256()
        at = 0
        try:
            with self._disk(), open(temporary, "xb") as file:
                while at < blob.size and not stopped.is_set():
                    block = content.read_at(at, min(_BLOCK, blob.size - at))
                    if not block:
                        break
                    file.write(block)
                    seen.update(block)
                    at += len(block)
                    meter.advance(blob, len(block))
                file.flush()
                os.fsync(file.fileno())
            if seen.hexdigest() != blob.digest:
                why = "stopped" if stopped.is_set() else "checksum differs"
                raise ArchiveError(f"blob {blob.digest[:12]} for {self.label}: {why}")
            os.rename(temporary, path)
        except WrongDataError:
            meter.advance(blob, -at)
            raise
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def put(self, manifest: Manifest) -> None:
        """As a file."""
        with self._disk():
            atomic_write(self._blob(manifest.digest), manifest.data, mode=0o644)

    def put_named(self, manifest: Manifest) -> None:
        """As the name, or nameless."""
        self.put_tagged(manifest, self._name)

    def put_tagged(self, manifest: Manifest, tag: str) -> None:
        """As a file, listed by @tag; one that had that name loses it."""
        self.put(manifest)
        self._list(entry_of(manifest), tag)

    def put_referrers(self, subject: str, manifests: Sequence[Manifest]) -> None:
        """As files, listed: their subject is in themselves."""
        del subject
        for manifest in manifests:
            self.put_tagged(manifest, "")

    def _list(self, entry: dict[str, Any], name: str) -> None:
        path = os.path.join(self._directory, "index.json")
        with self._disk(), self._locked():
            listed = self._entries() if os.path.exists(path) else []
            if name:
                entry["annotations"] = {**entry.get("annotations", {}), _NAME: name}
            kept = [
                one
                for one in listed
                if not _same(one, entry) and not (name and _name_of(one) == name)
            ]
            value = {
                "schemaVersion": 2,
                "mediaType": INDEX_TYPES[0],
                "manifests": [*kept, entry],
            }
            self._write(path, value)

    def _write(self, path: str, value: dict[str, Any]) -> None:
        atomic_write(path, compact_json(value), mode=0o644)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Of copies into one layout at the same time none loses another's name."""
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        """Errors of the disk name the directory."""
        try:
            yield
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise StorageError(
                f"{self._directory}: {why}", hint="what is there by now stays"
            ) from error


def _open(path: str) -> int:
    """The descriptor of a file. OSError for what is none: a FIFO would hang who reads it."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return fd


def _name_of(entry: dict[str, Any]) -> str:
    """By what name index.json lists it; "": by none."""
    annotations = entry.get("annotations")
    name = annotations.get(_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else ""


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Is it the same manifest by the same name?"""
    return one.get("digest") == other.get("digest") and _name_of(one) == _name_of(other)
