"""Blocks of bytes on their way through threads: reading, decompression and digests.

zlib, zstd and hashlib let go of the interpreter while they work, so a layer is decompressed,
extracted and digested at the speed of the slowest of the three.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from lpmx_runtime.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Digest", "decompress", "file_blocks", "kind_of", "prefetch"]

SIZE = 1 << 20
DEPTH = 6  # blocks waiting between two threads
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
)


class Digest:
    """A sha256 that a thread of its own computes, block by block."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._queue: queue.Queue[bytes | None] = queue.Queue(DEPTH)
        self._thread = threading.Thread(target=self._work, name="digest", daemon=True)
        self._thread.start()
        self.update = self._queue.put

    def _work(self) -> None:
        while (block := self._queue.get()) is not None:
            self._hash.update(block)

    def hexdigest(self) -> str:
        """The digest of all blocks; ends the thread."""
        self._queue.put(None)
        self._thread.join()
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the thread, whatever became of the stream."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()


@contextmanager
def prefetch(blocks: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """Run @blocks ahead in a thread; its exceptions are raised here."""
    ahead: queue.Queue[bytes | BaseException | None] = queue.Queue(DEPTH)
    stopped = threading.Event()

    def work() -> None:
        last: BaseException | None = None
        try:
            for block in blocks:
                ahead.put(block)
                if stopped.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 (carried to the consumer)
            last = error
        ahead.put(last)

    def consume() -> Iterator[bytes]:
        while True:
            item = ahead.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                return
            yield item

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stopped.set()
        while thread.is_alive():
            try:
                ahead.get(timeout=0.01)
            except queue.Empty:
                continue
        thread.join()


def file_blocks(
    fd: int, offset: int, size: int, progress: Callable[[int], None] | None = None
) -> Iterator[bytes]:
    """@size bytes of a file from @offset on."""
    while size > 0:
        try:
            block = os.pread(fd, min(SIZE, size), offset)
        except OSError as error:
            raise ArchiveError(f"cannot be read: {error.strerror}") from error
        if not block:
            raise ArchiveError("truncated: the archive ends before its last member does")
        offset += len(block)
        size -= len(block)
        if progress is not None:
            progress(len(block))
        yield block


def kind_of(head: bytes) -> str:
    """The compression of what begins with @head: gzip, zstd, xz, bzip2, empty for none."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zstd"  # a skippable frame first
    return ""


def decompress(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The bytes that @blocks hold, whatever their compression; plain ones as they are."""
    first = next(blocks, b"")
    while len(first) < 6:
        more = next(blocks, b"")
        if not more:
            break
        first += more
    kind = kind_of(first)
    if not kind:
        yield first
        yield from blocks
        return
    yield from _zstd_frames(first, blocks) if kind == "zstd" else _frames(first, blocks, kind)


class _Decoder(Protocol):
    eof: bool
    unused_data: bytes

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What @data decompresses to, in pieces of bounded size."""


class _Gzip:
    def __init__(self) -> None:
        import zlib

        self._inner = zlib.decompressobj(31)
        self.eof = False
        self.unused_data = b""

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data and not self.eof:
            yield self._inner.decompress(data, SIZE)
            data = self._inner.unconsumed_tail
            self.eof = self._inner.eof
        self.unused_data = self._inner.unused_data


class _Bounded:
    """lzma and bz2 share an interface."""

    def __init__(self, kind: str) -> None:
        self._inner = _bounded(kind)
        self.eof = False
        self.unused_data = b""

    def decode(self, data: bytes) -> Iterator[bytes]:
        yield self._inner.decompress(data, SIZE)
        while not self._inner.eof and not self._inner.needs_input:
            yield self._inner.decompress(b"", SIZE)
        self.eof = self._inner.eof
        self.unused_data = self._inner.unused_data


class _BoundedInner(Protocol):
    @property
    def eof(self) -> bool:
        """Is the end of the stream reached?"""

    @property
    def needs_input(self) -> bool:
        """Is there nothing left of the last input?"""

    @property
    def unused_data(self) -> bytes:
        """What came behind the end."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """As lzma.LZMADecompressor and bz2.BZ2Decompressor have it."""


def _bounded(kind: str) -> _BoundedInner:
    if kind == "xz":
        import lzma

        return lzma.LZMADecompressor(memlimit=1 << 30)
    import bz2

    return bz2.BZ2Decompressor()


class _Reading:
    """What a library that wants a file reads from: the first block, then the others."""

    def __init__(self, first: bytes, blocks: Iterator[bytes]) -> None:
        self._left = first
        self._blocks = blocks

    def read(self, size: int = SIZE) -> bytes:
        """Up to @size bytes, empty only at the end."""
        while not self._left:
            block = next(self._blocks, None)
            if block is None:
                return b""
            self._left = block
        data, self._left = self._left[:size], self._left[size:]
        return data


def _zstd_frames(first: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Through the library's reader, the only one of its ways that bounds the output of a call."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    try:
        with decompressor.stream_reader(
            _Reading(first, blocks),  # type: ignore[arg-type]  # it asks for read() only
            read_size=SIZE,
            read_across_frames=True,
        ) as reader:
            while data := reader.read(SIZE):
                yield data
    except zstandard.ZstdError as error:
        raise ArchiveError("damaged: bad zstd data") from error


def _decoder(kind: str) -> _Decoder:
    if kind == "gzip":
        return _Gzip()
    return _Bounded(kind)


def _frames(first: bytes, blocks: Iterator[bytes], kind: str) -> Iterator[bytes]:
    """Decompress members one behind the other, as pigz and eStargz write them."""
    import zlib

    decoder = _decoder(kind)
    data = first
    try:
        while True:
            yield from decoder.decode(data)
            data = decoder.unused_data if decoder.eof else b""
            if not data:
                data = next(blocks, b"")
                if not data:
                    break
            if decoder.eof:
                data = data.lstrip(b"\0")  # padding between members, as tapes have it
                if data:
                    decoder = _decoder(kind)
    except (zlib.error, EOFError, ValueError, OSError) as error:
        raise ArchiveError(f"damaged: bad {kind} data") from error
    except Exception as error:
        if type(error).__name__ == "LZMAError":
            raise ArchiveError(f"damaged: bad {kind} data") from error
        raise
    if not decoder.eof:
        raise ArchiveError(f"truncated: the {kind} data ends too early")
