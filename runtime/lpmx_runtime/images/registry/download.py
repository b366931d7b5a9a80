"""Blobs as files: checked, continued after a cut and by the next command.

A blob grows in `downloads/sha256-HEX.partial` of the store and loses the suffix when its digest is
right. What a killed or cut command leaves is where the next one goes on. Commands that want one
blob wait for each other, so it crosses the line once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from urllib3.exceptions import HTTPError

from lpmx_runtime.errors import StorageError, storage_errors
from lpmx_runtime.store.image import is_hex_digest

from .wire.errors import RegistryError, TransferCutError, WrongDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from urllib3.response import BaseHTTPResponse

    from lpmx_runtime.store.store import Store

    from .wire.client import Repository

__all__ = ["Blobs", "Descriptor", "Meter", "descriptor", "discard", "folder", "require_space"]

BLOCK = 1 << 18
PROGRESS = 1 << 20  # bytes that make a try count as one that got on
TRIES = 5  # without
SLOW_BYTES, SLOW_SECONDS = 60 << 10, 60.0  # less than that in this time is a line that is dead
WRONG = 2  # times that a blob may arrive with another digest
_RANGE = re.compile(r"bytes (\d+)-\d+/")


@dataclass(frozen=True)
class Descriptor:
    """A blob: its sha256 in hex, and its size in bytes."""

    digest: str
    size: int


def descriptor(value: dict[str, Any], label: str) -> Descriptor:
    """Digest and size of the descriptor @value. Only sha256: others are nowhere in use.

    RegistryError: it makes no sense; @label is whose it is.
    """
    text, size = value.get("digest"), value.get("size")
    algorithm, _, digest = text.partition(":") if isinstance(text, str) else ("", "", "")
    if algorithm and algorithm != "sha256":
        raise RegistryError(f"{label}: digest algorithm {algorithm} is not supported")
    if not is_hex_digest(digest) or not isinstance(size, int) or size < 0:
        raise RegistryError(f"{label}: a descriptor that makes no sense")
    return Descriptor(digest, size)


class Meter(Protocol):
    """Who wants to know how far it is; called from several threads."""

    def advance(self, blob: Descriptor, size: int) -> None:
        """@size more bytes of @blob are here, or are to be fetched again (less than 0)."""

    def done(self, blob: Descriptor) -> None:
        """It is whole."""


class StoppedError(RegistryError):
    """Another blob failed, or the user wants to end."""


def folder(store: Store) -> Path:
    """Where blobs grow."""
    return store.root / "downloads"


def require_space(store: Store, blobs: Sequence[Descriptor]) -> None:
    """StorageError where the disk has no room for what is still to come of @blobs, and a tenth."""
    needed = 0
    for blob in {blob.digest: blob for blob in blobs}.values():
        have = 0
        for path in _paths(store, blob):
            with contextlib.suppress(OSError):
                have = max(have, os.stat(path).st_size)
        needed += max(0, blob.size - have)
    state = os.statvfs(store.root)
    free = state.f_bavail * state.f_frsize
    if needed * 11 // 10 > free:
        raise StorageError(
            f"{store.root}: needs {_mb(needed * 11 // 10)} MB, has {_mb(free)} MB",
            hint="make room (`lpmx gc`), or put the store elsewhere with LPMX_HOME",
        )


def discard(store: Store, blob: Descriptor) -> None:
    """Remove what there is of @blob."""
    for path in _paths(store, blob):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _mb(size: int) -> int:
    return -(-size // 1_000_000)


def _paths(store: Store, blob: Descriptor) -> tuple[Path, Path]:
    whole = folder(store) / f"sha256-{blob.digest}"
    return whole, whole.with_name(f"{whole.name}.partial")


@dataclass
class Blobs:
    """Fetches blobs of one image from the first of @places that has them."""

    store: Store
    places: Sequence[Repository]
    meter: Meter
    stopped: threading.Event = field(default_factory=threading.Event)

    def fetch(self, blob: Descriptor, is_here: Callable[[], bool] = lambda: False) -> Path:
        """The file of @blob, whole and checked. It belongs to the caller, who removes it.

        @is_here: what is in it is in the store by now, through another command: then nothing of it
        is fetched or kept. Raises RegistryError when it cannot be had, StorageError when the disk
        is full.
        """
        whole, partial = _paths(self.store, blob)
        with storage_errors(f"blob {blob.digest[:12]}"):
            folder(self.store).mkdir(mode=0o700, exist_ok=True)
            with self.store.lock(f"download-{blob.digest}"):
                if self.stopped.is_set():
                    raise StoppedError("stopped")
                if is_here():
                    discard(self.store, blob)
                elif not whole.exists():
                    self._grow(blob, partial)
                    os.rename(partial, whole)
                else:
                    self.meter.advance(blob, blob.size)
                self.meter.done(blob)
        return whole

    def _grow(self, blob: Descriptor, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(path, flags, 0o600), "r+b", buffering=0) as file:
            growth = _Growth(self, blob, file.fileno())
            growth.take_up()
            for place in self.places:
                try:
                    growth.finish(place)
                except StoppedError:
                    raise
                except RegistryError as error:
                    if place is self.places[-1]:
                        raise
                    place.transport.warn(f"{error.message}: another place is asked")
                else:
                    os.fsync(file.fileno())
                    return


class _Growth:
    """One blob on its way into a file."""

    def __init__(self, blobs: Blobs, blob: Descriptor, fd: int) -> None:
        self._blobs, self._blob, self._fd = blobs, blob, fd
        self._size = 0
        self._hash = hashlib.sha256()

    def take_up(self) -> None:
        """Go on behind what an earlier command has left."""
        at = 0
        while block := os.pread(self._fd, BLOCK, at):
            self._hash.update(block)
            at += len(block)
        self._size = at
        self._blobs.meter.advance(self._blob, at)
        if at > self._blob.size:
            self._start_over()

    def finish(self, place: Repository) -> None:
        """Fetch what is missing from @place, however often the line breaks."""
        idle = wrong = 0
        while True:
            before = self._size
            try:
                if self._size < self._blob.size:
                    with contextlib.suppress(WrongDataError):
                        self._fetch(place)
                if self._is_right():
                    return
                wrong += 1
                self._start_over()
                if wrong >= WRONG:
                    raise self._wrong(place)
            except TransferCutError:
                idle = 0 if self._size - before >= PROGRESS else idle + 1
                if idle >= TRIES:
                    raise
                place.transport.sleep(min(2.0**idle, 16.0) if idle else 0.0)

    def _is_right(self) -> bool:
        return self._size == self._blob.size and self._hash.hexdigest() == self._blob.digest

    def _wrong(self, place: Repository) -> WrongDataError:
        return WrongDataError(
            f"layer {self._blob.digest[:12]} of {place.endpoint.registry}"
            f"/{place.endpoint.repository}: checksum differs, twice",
            hint=f"{place.endpoint.host}, or a proxy on the way, serves wrong data",
        )

    def _start_over(self) -> None:
        os.ftruncate(self._fd, 0)
        self._blobs.meter.advance(self._blob, -self._size)
        self._size, self._hash = 0, hashlib.sha256()

    def _fetch(self, place: Repository) -> None:
        """One request: from where we are to the end, or to where the line breaks."""
        digest = f"sha256:{self._blob.digest}"
        answer = place.blob(digest, self._size)
        if answer.status == 416 and self._size:  # it is shorter than what is here
            answer.drain_conn()
            self._start_over()
            answer = place.blob(digest)
        try:
            if answer.status == 416:
                raise WrongDataError("nothing of it")
            if answer.status == 200 and self._size:
                self._start_over()  # Range means nothing there
            if answer.status == 206:
                match = _RANGE.match(answer.headers.get("Content-Range", ""))
                if match is None or int(match[1]) != self._size:
                    raise RegistryError(f"{place.endpoint.host}: sends another part than asked for")
            length = answer.headers.get("Content-Length", "")
            if answer.status == 200 and length.isdecimal() and int(length) != self._blob.size:
                raise WrongDataError("another size")  # the page of a proxy, perhaps
            self._read(answer, place)
        finally:
            answer.close()

    def _read(self, answer: BaseHTTPResponse, place: Repository) -> None:
        mark, marked = time.monotonic(), self._size
        while self._size < self._blob.size:
            if self._blobs.stopped.is_set():
                raise StoppedError("stopped")
            try:
                block = answer.read1(min(BLOCK, self._blob.size - self._size))
            except (HTTPError, OSError) as error:
                raise self._cut(place, type(error).__name__) from error
            if not block:
                raise self._cut(place, "a body that is too short")
            self._write(block)
            now = time.monotonic()
            if now - mark >= SLOW_SECONDS:
                if self._size - marked < SLOW_BYTES:
                    raise self._cut(place, "next to nothing arrives")
                mark, marked = now, self._size

    def _write(self, block: bytes) -> None:
        rest = memoryview(block)
        while rest:
            rest = rest[os.pwrite(self._fd, rest, self._size + len(block) - len(rest)) :]
        self._hash.update(block)
        self._size += len(block)
        self._blobs.meter.advance(self._blob, len(block))

    def _cut(self, place: Repository, why: str) -> TransferCutError:
        return TransferCutError(
            f"{place.endpoint.host}: the transfer of {self._blob.digest[:12]}"
            f" breaks again and again ({why})",
            hint="the next `lpmx pull` goes on where it ended",
        )
