"""One blob into a repository (distribution-spec, "Pushing Blobs").

A blob goes as the body of one PUT, the way that every registry knows, unless the registry asks for
pieces or refuses so much at a time (413). When the line breaks, the registry is asked how much has
arrived: what it has is not sent again. Where it has forgotten (docker-registry does), the blob
starts again in pieces, each of which can arrive by itself.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lpmx_runtime.images.registry.wire.errors import (
    RegistryError,
    TransferCutError,
    UnreachableError,
    WrongDataError,
)

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

    from lpmx_runtime.images.registry.download import Descriptor, Meter
    from lpmx_runtime.images.registry.wire.client import Repository

    from .content import Content

__all__ = ["Upload", "mount"]

PIECES = (64 << 20, 16 << 20, 4 << 20)  # bytes at a time, where not all at once
PROGRESS = 1 << 20  # bytes that make a try count as one that got on
TRIES = 5  # without
_START = "blobs/uploads/"
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")
_BINARY = "application/octet-stream"
_PASSING = {408, 429, 499, 500, 502, 503, 504, 522}


def mount(place: Repository, blob: Descriptor, source: str) -> bool:
    """Have the registry take @blob from its repository @source. False: it does not."""
    where = f"{_START}?mount=sha256:{blob.digest}&from={source}"
    answer = place.send("POST", where, {"Content-Length": "0"})
    location = answer.headers.get("Location", "")
    answer.drain_conn()
    if answer.status == 202 and location:  # a session that nobody wants
        place.send("DELETE", place.address_of(location, _START), {}).drain_conn()
    return answer.status == 201


class _Shrink(Exception):  # noqa: N818  (a finding, not an error)
    """So much at a time is not taken."""


@dataclass
class Upload:
    """@content on its way to @place as @blob."""

    place: Repository
    blob: Descriptor
    content: Content
    meter: Meter
    stopped: threading.Event = field(default_factory=threading.Event)
    _where: str = ""  # the session; "": none
    _have: int = 0  # bytes that the registry has confirmed
    _piece: int = 0  # bytes at a time; 0: all
    _least: int = 0  # what the registry wants at a time at least
    _shown: int = 0  # bytes that the meter knows of
    _most: int = 0  # bytes that were confirmed at best

    def run(self) -> None:
        """Send it. Raises RegistryError when the registry does not take it."""
        idle = 0
        while True:
            before = self._most
            try:
                self._finish()
            except _Shrink:
                self._shrink()
            except WrongDataError:
                self.seen(0)
                raise
            except TransferCutError:
                idle = 0 if self._most - before >= PROGRESS else idle + 1
                if idle >= TRIES:
                    raise
                self.place.transport.sleep(min(2.0**idle, 16.0) if idle > 1 else 0.2)
                if self._ask():
                    break
            else:
                break
        self.seen(self.blob.size)

    def seen(self, position: int) -> None:
        """Let the meter know that the bytes up to @position are sent."""
        self.meter.advance(self.blob, position - self._shown)
        self._shown = position

    # ---- requests
    def _finish(self) -> None:
        """Send what is missing, in as many requests as it takes."""
        if not self._where:
            self._begin()
        while self._piece or self._have:
            if self._have >= self.blob.size:
                self._close(0)
                return
            self._patch()
        self._close(self.blob.size)

    def _begin(self) -> None:
        answer = self.place.send("POST", _START, {"Content-Length": "0"})
        if answer.status != 202:
            raise self._refused(answer)
        self._least = _number(answer.headers.get("OCI-Chunk-Min-Length", ""))
        self._have = 0
        self.seen(0)
        self._follow(answer, _START)

    def _follow(self, answer: BaseHTTPResponse, base: str) -> None:
        location = answer.headers.get("Location", "")
        answer.drain_conn()
        if not location and not self._where:
            raise RegistryError(f"{self.place.endpoint.host}: an upload without a Location")
        if location:
            self._where = self.place.address_of(location, base)

    def _patch(self) -> None:
        """The next piece."""
        rest = self.blob.size - self._have
        size = min(rest, max(self._piece, self._least)) if self._piece else rest
        last = self._have + size - 1
        answer = self._send("PATCH", self._where, size, {"Content-Range": f"{self._have}-{last}"})
        if answer.status == 416:
            raise self._cut("takes another part")
        if answer.status not in {202, 204}:
            raise self._answered(answer)
        before = self._have
        match = _RANGE.fullmatch(answer.headers.get("Range", ""))
        self._confirm(int(match[1]) + 1 if match else last + 1)
        self._follow(answer, self._where)
        if self._have <= before:
            raise self._cut("keeps nothing of what is sent")

    def _close(self, size: int) -> None:
        """The request that makes it a blob; it may hold all of it."""
        sign = "&" if "?" in self._where else "?"
        url = f"{self._where}{sign}digest=sha256:{self.blob.digest}"
        answer = self._send("PUT", url, size, {})
        if answer.status not in {201, 204}:
            raise self._answered(answer)
        answer.drain_conn()

    def _send(self, method: str, url: str, size: int, more: dict[str, str]) -> BaseHTTPResponse:
        headers = {"Content-Type": _BINARY, "Content-Length": str(size), **more}
        start = self._have
        try:
            return self.place.send(
                method, url, headers, (lambda: _Piece(self, start, size)) if size else b""
            )
        except UnreachableError as error:
            if not error.status:  # its certificate
                raise
            raise self._cut(error.message) from error

    def _answered(self, answer: BaseHTTPResponse) -> Exception:
        """What an answer means that is not the one hoped for."""
        if answer.status == 413 and self._at_a_time() > PIECES[-1]:
            answer.drain_conn()
            return _Shrink()
        if answer.status in _PASSING or answer.status == 404:
            answer.drain_conn()
            return self._cut(f"answers {answer.status}")
        return self._refused(answer)

    def _refused(self, answer: BaseHTTPResponse) -> RegistryError:
        end = self.place.endpoint
        what = f"blob {self.blob.digest[:12]} to {end.registry}/{end.repository}"
        return self.place.refused(answer, what)

    def _cut(self, why: str) -> TransferCutError:
        host = self.place.endpoint.host
        return TransferCutError(
            f"{host}: the transfer of {self.blob.digest[:12]} breaks again and again"
            f" ({why.removeprefix(f'{host}: ')})"
        )

    # ---- after something went wrong
    def _at_a_time(self) -> int:
        return min(self._piece or self.blob.size, self.blob.size)

    def _shrink(self) -> None:
        """Smaller pieces, from the beginning."""
        self._piece = next(piece for piece in PIECES if piece < self._at_a_time())
        self._where = ""

    def _ask(self) -> bool:
        """Find out how much has arrived: True if it is the whole blob."""
        if self.place.has_blob(f"sha256:{self.blob.digest}"):
            return True
        arrived = self._arrived() if self._where else 0
        if arrived:
            self._confirm(arrived)
            return False
        if self._where:
            at_a_time = self._at_a_time()
            self._piece = next((piece for piece in PIECES if piece < at_a_time), self._piece)
        self._where = ""
        return False

    def _arrived(self) -> int:
        """Bytes that the session has; 0 where it is gone, or the answer is of no use.

        `0-0` is one byte by the specification, and none by docker-registry.
        """
        answer = self.place.send("GET", self._where, {})
        match = _RANGE.fullmatch(answer.headers.get("Range", ""))
        if answer.status not in {200, 202, 204} or match is None or not int(match[1]):
            answer.drain_conn()
            return 0
        self._follow(answer, self._where)
        return min(int(match[1]) + 1, self.blob.size)

    def _confirm(self, have: int) -> None:
        self._have = have
        self._most = max(self._most, have)
        self.seen(have)


class _Piece:
    """A part of a blob as the body of a request."""

    def __init__(self, upload: Upload, start: int, size: int) -> None:
        self._upload, self._at, self._end = upload, start, start + size
        upload.seen(start)

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        if self._upload.stopped.is_set():
            raise RegistryError("stopped")
        left = self._end - self._at
        if not left:
            return b""
        block = self._upload.content.read_at(self._at, min(left, size) if size >= 0 else left)
        if not block:
            blob = self._upload.blob
            raise RegistryError(f"blob {blob.digest[:12]}: is shorter than its {blob.size} bytes")
        self._at += len(block)
        self._upload.seen(self._at)
        return block


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
