"""Where an image comes from: a folder, a tar file, a compressed one, or a pipe.

A plain tar is indexed by its headers and read in place. What cannot be sought in (a pipe, a
compressed archive) is first written out, decompressed, to the store's tmp/: manifests stand at the
end of such files, and layers in any order.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lpmx_runtime.errors import ArchiveError, NotFoundError, storage_errors
from lpmx_runtime.tar.blocks import decompress, file_blocks, kind_of, prefetch
from lpmx_runtime.tar.reader import HARDLINK, REGULAR, SYMLINK, FileStream, TarReader

from .extract import clean_name
from .filekinds import file_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Archive", "Blob", "open_archive"]

MAX_JSON = 16 << 20
MAX_MEMBERS = 100_000
_MAX_LINKS = 16
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO planted in a folder must not hang us


@dataclass(frozen=True)
class Blob:
    """Bytes of a file: where they are. The descriptor belongs to who asked, close it."""

    fd: int
    offset: int
    size: int

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


class Archive(Protocol):
    """Named blobs."""

    label: str

    def __contains__(self, name: str) -> bool:
        """Is there a blob of this name?"""

    def blob(self, name: str) -> Blob:
        """The blob @name; ArchiveError when it is missing."""

    def close(self) -> None:
        """Let go of the files."""


def read_small(archive: Archive, name: str, limit: int = MAX_JSON) -> bytes:
    """The whole blob @name: manifests and configurations."""
    blob = archive.blob(name)
    try:
        if blob.size > limit:
            raise ArchiveError(f"{archive.label}: {name} is too large ({blob.size} bytes)")
        return b"".join(file_blocks(blob.fd, blob.offset, blob.size))
    finally:
        blob.close()


class FolderArchive:
    """An OCI layout, or an unpacked archive."""

    def __init__(self, path: str) -> None:
        self.label = path
        self._path = path

    def _find(self, name: str) -> str:
        return os.path.join(self._path, _clean(self.label, name))

    def __contains__(self, name: str) -> bool:
        return os.path.isfile(self._find(name))

    def blob(self, name: str) -> Blob:
        """The file @name below the folder."""
        try:
            fd = os.open(self._find(name), _OPEN)
        except OSError as error:
            raise _missing(self.label, name, error) from error
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(fd)
            raise ArchiveError(f"{self.label}: {name} is not a file")
        return Blob(fd, 0, status.st_size)

    def close(self) -> None:
        """Nothing is held open."""


class TarArchive:
    """A plain tar file, sought in. Links between members are followed: docker save makes them."""

    def __init__(self, fd: int, label: str) -> None:
        self.label = label
        self._fd = fd
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        stream = FileStream(fd, os.fstat(fd).st_size)
        for count, member in enumerate(TarReader(stream)):
            if count >= MAX_MEMBERS:
                raise ArchiveError(f"more than {MAX_MEMBERS} members: not an image archive")
            name = os.fsdecode(clean_name(member.name))
            self._places.pop(name, None)
            self._links.pop(name, None)
            if member.kind == REGULAR and member.pieces is None:
                self._places[name] = (stream.consumed, member.size)
            elif member.kind == SYMLINK:
                self._links[name] = posixpath.join(
                    posixpath.dirname(name), os.fsdecode(member.link)
                )
            elif member.kind == HARDLINK:
                self._links[name] = os.fsdecode(member.link)

    def _find(self, name: str) -> tuple[int, int] | None:
        for _ in range(_MAX_LINKS):
            name = _clean(self.label, name)
            if name not in self._links:
                return self._places.get(name)
            name = self._links[name]
        return None

    def __contains__(self, name: str) -> bool:
        return self._find(name) is not None

    def blob(self, name: str) -> Blob:
        """The member @name."""
        place = self._find(name)
        if place is None:
            raise _missing(self.label, name)
        return Blob(os.dup(self._fd), *place)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _clean(label: str, name: str) -> str:
    try:
        return os.fsdecode(clean_name(os.fsencode(name)))
    except (ArchiveError, UnicodeError) as error:
        raise ArchiveError(f"{label}: names a blob {name[:80]!r} that leads out of it") from error


def _missing(label: str, name: str, error: OSError | None = None) -> ArchiveError:
    why = (
        "is missing"
        if error is None or error.errno == errno.ENOENT
        else os.strerror(error.errno or 0)
    )
    return ArchiveError(
        f"{label}: {name} {why}", hint="the archive is not complete: get another copy"
    )


@contextmanager
def open_archive(
    path: str, workspace: Path, progress: Callable[[int], None] | None = None
) -> Iterator[Archive]:
    """Open folder or file @path, `-` for stdin. What must be written out goes to @workspace."""
    label = "stdin" if path == "-" else path
    archive: Archive
    if path != "-" and os.path.isdir(path):
        archive = FolderArchive(path)
    else:
        fd = _open(path)
        try:
            if not _in_place(fd):
                fd, pipe = _spool(fd, label, workspace, progress), fd
                os.close(pipe)
            _refuse_foreign(fd, label)
            archive = TarArchive(fd, label)
        except ArchiveError as error:
            os.close(fd)
            raise _about(label, error) from error
        except BaseException:
            os.close(fd)
            raise
    try:
        yield archive
    finally:
        archive.close()


def _refuse_foreign(fd: int, label: str) -> None:
    """Say what a file is that people give for an archive, and what to do with it."""
    kind = file_kind(fd)
    if kind is not None:
        file = "FILE" if label == "stdin" else label
        raise ArchiveError(
            f"{label}: {kind.name}, not an image archive", hint=kind.hint.format(file=file)
        )


def _about(label: str, error: ArchiveError) -> ArchiveError:
    hint = (
        error.hint
        or "`lpmx load` reads what `docker save` writes, and OCI layouts as a folder or tar"
    )
    return ArchiveError(f"{label}: {error.message.removeprefix(label + ': ')}", hint=hint)


def _open(path: str) -> int:
    if path == "-":
        if os.isatty(0):
            raise ArchiveError(
                "stdin is a terminal", hint="for example: docker save NAME | lpmx load -"
            )
        return os.dup(sys.stdin.fileno())
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise NotFoundError(f"{path}: no such file") from error
        raise NotFoundError(f"{path}: {os.strerror(error.errno or 0)}") from error


def _in_place(fd: int) -> bool:
    """Is it a plain file, read from its beginning?"""
    if not stat.S_ISREG(os.fstat(fd).st_mode) or os.lseek(fd, 0, os.SEEK_CUR) != 0:
        return False
    return not kind_of(os.pread(fd, 8, 0))


def _spool(fd: int, label: str, workspace: Path, progress: Callable[[int], None] | None) -> int:
    """Write what @fd yields, decompressed, to a file of the workspace."""
    target = workspace / "archive.tar"
    with storage_errors(f"{label}: unpacking to {workspace.parent}"):
        out = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.unlink(target)
        with prefetch(decompress(_pipe_blocks(fd, progress))) as blocks:
            for block in blocks:
                rest = memoryview(block)
                while rest:
                    with storage_errors(f"{label}: unpacking to {workspace.parent}"):
                        rest = rest[os.write(out, rest) :]
    except BaseException:
        os.close(out)
        raise
    return out


def _pipe_blocks(fd: int, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    while True:
        try:
            block = os.read(fd, 1 << 20)
        except OSError as error:
            raise ArchiveError(f"cannot be read: {os.strerror(error.errno or 0)}") from error
        if not block:
            return
        if progress is not None:
            progress(len(block))
        yield block
