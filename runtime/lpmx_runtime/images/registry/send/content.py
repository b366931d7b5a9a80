"""The bytes of a blob that is to be sent: any part of them, and again when a line breaks.

A blob of a registry is read while it is sent, and checked meanwhile: its last bytes are handed out
only when all of it has the right digest. So a wrong blob is never whole anywhere.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from urllib3.exceptions import HTTPError

from lpmx_runtime.errors import storage_errors
from lpmx_runtime.images.registry.wire.errors import (
    RegistryError,
    TransferCutError,
    WrongDataError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from urllib3.response import BaseHTTPResponse

    from lpmx_runtime.images.registry.download import Descriptor
    from lpmx_runtime.images.registry.wire.client import Repository

__all__ = ["Content", "FileContent", "RemoteContent", "SmallContent", "read_whole"]

TRIES = 5  # to read on, without a byte in between


class Content(Protocol):
    """Where the bytes of a blob come from."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes from @offset on, @size at most and one at least. StorageError, RegistryError."""

    def close(self) -> None:
        """Let go of what is held open."""


def read_whole(content: Content, blob: Descriptor, limit: int) -> bytes:
    """All bytes of @blob, of @limit at most. RegistryError: it is larger or shorter."""
    data = b""
    if blob.size > limit:
        raise RegistryError(f"blob {blob.digest[:12]}: larger than {limit} bytes")
    while len(data) < blob.size:
        block = content.read_at(len(data), blob.size - len(data))
        if not block:
            raise RegistryError(f"blob {blob.digest[:12]}: is shorter than its {blob.size} bytes")
        data += block
    return data


@dataclass
class SmallContent:
    """Bytes in memory."""

    data: bytes = field(repr=False)

    def read_at(self, offset: int, size: int) -> bytes:
        """A slice."""
        return self.data[offset : offset + size]

    def close(self) -> None:
        """Nothing is held open."""


@dataclass
class FileContent:
    """@length bytes of an open file from @start on; its descriptor is closed in the end."""

    fd: int
    label: str
    start: int = 0

    def read_at(self, offset: int, size: int) -> bytes:
        """A read of the file."""
        with storage_errors(self.label):
            return os.pread(self.fd, size, self.start + offset)

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)


class RemoteContent:
    """Blob @blob of the first of @places that sends it; one thread reads it."""

    def __init__(self, places: Sequence[Repository], blob: Descriptor) -> None:
        self._places, self._blob = list(places), blob
        self._answer: BaseHTTPResponse | None = None
        self._at = 0
        self._hash, self._hashed = hashlib.sha256(), 0

    def read_at(self, offset: int, size: int) -> bytes:
        """What the registry sends. WrongDataError instead of the end of a blob that is wrong."""
        for attempt in range(TRIES + 1):
            if self._answer is None or self._at != offset:
                self._open(offset)
            block = self._read(min(size, self._blob.size - offset))
            if block:
                self._at += len(block)
                self._check(offset, block)
                return block
            self.close()
            if attempt:
                self._places[0].transport.sleep(min(2.0**attempt, 16.0))
        place = self._places[0].endpoint
        raise TransferCutError(
            f"{place.host}: the transfer of {self._blob.digest[:12]} breaks again and again"
        )

    def _read(self, size: int) -> bytes:
        assert self._answer is not None
        try:
            return self._answer.read(size)
        except (HTTPError, OSError):
            return b""

    def _open(self, offset: int) -> None:
        self.close()
        while True:
            place = self._places[0]
            try:
                self._answer = _open_at(place, self._blob, offset)
            except RegistryError as error:
                if len(self._places) == 1:
                    raise
                place.transport.warn(f"{error.message}: another place is asked")
                del self._places[0]
            else:
                self._at = offset
                return

    def _check(self, offset: int, block: bytes) -> None:
        fresh = offset + len(block) - self._hashed
        if fresh > 0:
            self._hash.update(block[-fresh:])
            self._hashed += fresh
        if self._hashed == self._blob.size and self._hash.hexdigest() != self._blob.digest:
            place = self._places[0].endpoint
            raise WrongDataError(
                f"blob {self._blob.digest[:12]} of {place.registry}/{place.repository}:"
                " checksum differs",
                hint=f"{place.host}, or a proxy on the way, serves wrong data",
            )

    def close(self) -> None:
        """End the request."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None


def _open_at(place: Repository, blob: Descriptor, offset: int) -> BaseHTTPResponse:
    """The body from @offset on, also where the registry knows no ranges."""
    answer = place.blob(f"sha256:{blob.digest}", offset)
    if answer.status == 416:
        answer.close()
        raise RegistryError(f"{place.endpoint.host}: blob {blob.digest[:12]} is too short")
    skip = offset if answer.status == 200 else 0
    if answer.status == 206 and not answer.headers.get("Content-Range", "").startswith(
        f"bytes {offset}-"
    ):
        answer.close()
        raise RegistryError(f"{place.endpoint.host}: sends another part than asked for")
    try:
        while skip > 0 and (block := answer.read(min(skip, 1 << 18))):
            skip -= len(block)
    except (HTTPError, OSError):
        pass  # the next read finds the break
    return answer
