"""A layer's archive without the contents of its files, to put it together again byte for byte.

So an image that was loaded is saved with the digests it came with. Beside fs/ lie

    layers/DIFF ID/tar.split      gzip of records, see below
    layers/DIFF ID/tar.removed/N  content number N, where the archive itself replaced the file

A record is `R` and a 32-bit length, with that many bytes of the archive behind it, or `C` with the
file's number, the offset and length of a piece of it, and its path in fs/. Little-endian. The idea
is docker's tar-split; the format is our own.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING

from lpmx_runtime.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["SplitWriter", "archive_blocks"]

SPLIT, REMOVED = "tar.split", "tar.removed"
_REST = struct.Struct("<I")
_CONTENT = struct.Struct("<IQQH")
_BUFFER = 1 << 16
_BLOCK = 1 << 20


class SplitWriter:
    """Writes the split of a layer into its @folder while the archive is read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rest = bytearray()
        self._zip = zlib.compressobj(1, zlib.DEFLATED, 31)
        self._file = open(folder / SPLIT, "xb")  # noqa: SIM115  closed by close()

    def rest(self, data: bytes) -> None:
        """Bytes of the archive that no file holds."""
        self._rest += data
        if len(self._rest) >= _BUFFER:
            self._flush()

    def content(self, number: int, path: bytes, offset: int, length: int) -> None:
        """The next @length bytes are those of file @number, @path, from @offset on."""
        self._flush()
        head = _CONTENT.pack(number, offset, length, len(path))
        self._file.write(self._zip.compress(b"C" + head + path))

    def keep(self, number: int, name: bytes, folder_fd: int) -> None:
        """File @number is about to be removed from the layer."""
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
        with open(source, "rb") as data:
            kept = self._folder / REMOVED
            kept.mkdir(mode=0o700, exist_ok=True)
            with open(kept / str(number), "wb") as out:
                while block := data.read(_BLOCK):
                    out.write(block)

    def _flush(self) -> None:
        if self._rest:
            head = b"R" + _REST.pack(len(self._rest))
            self._file.write(self._zip.compress(head + bytes(self._rest)))
            self._rest.clear()

    def finish(self) -> None:
        """Write what is still to be written."""
        self._flush()
        self._file.write(self._zip.flush())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Records:
    """Reads the decompressed records."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "rb")  # noqa: SIM115  closed by close()
        self._unzip = zlib.decompressobj(31)
        self._data = bytearray()

    def read(self, size: int) -> bytes:
        while len(self._data) < size:
            block = self._file.read(_BUFFER)
            if not block:
                break
            self._data += self._unzip.decompress(block)
        data = bytes(self._data[:size])
        del self._data[:size]
        return data

    def close(self) -> None:
        self._file.close()


def archive_blocks(layer: Path) -> Iterator[bytes]:
    """The archive of the layer in folder @layer, as it was when it came.

    StorageError when the layer does not say, or its files are not what they were.
    """
    path = layer / SPLIT
    if not path.exists():
        raise StorageError(
            f"layer {layer.name[:12]}: brought in by an lpmx that did not keep its archive's form",
            hint="remove the image (`lpmx rmi`, `lpmx gc`) and load it again",
        )
    records = _Records(path)
    try:
        while kind := records.read(1):
            if kind == b"R":
                (size,) = _REST.unpack(records.read(_REST.size))
                yield records.read(size)
            elif kind == b"C":
                number, offset, length, name = _CONTENT.unpack(records.read(_CONTENT.size))
                yield from _content(layer, number, records.read(name), offset, length)
            else:
                raise _damaged(layer)
    except (struct.error, zlib.error) as error:
        raise _damaged(layer) from error
    finally:
        records.close()


def _content(layer: Path, number: int, name: bytes, offset: int, length: int) -> Iterator[bytes]:
    kept = layer / REMOVED / str(number)
    path = os.fsencode(kept) if kept.exists() else os.path.join(os.fsencode(layer), b"fs", name)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _damaged(layer) from error
    with open(fd, "rb") as file:
        file.seek(offset)
        while length:
            block = file.read(min(length, _BLOCK))
            if not block:
                raise _damaged(layer)
            length -= len(block)
            yield block


def _damaged(layer: Path) -> StorageError:
    return StorageError(
        f"layer {layer.name[:12]}: its files are not those of its archive any more",
        hint="remove the image (`lpmx rmi`, `lpmx gc`) and load it again",
    )
