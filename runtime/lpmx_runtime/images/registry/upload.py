"""Blobs and manifests up to a repository, as the distribution specification has it.

A blob that is there is not sent; one of another repository of the same registry is mounted. What is
sent goes in one request. Where the line breaks, the registry is asked how much it has, and the rest
goes in parts; where it knows nothing of the upload any more, it begins again.
"""

from __future__ import annotations

import io
import re
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import urljoin, urlsplit

from .wire.errors import RegistryError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3.response import BaseHTTPResponse

    from .download import Descriptor, Meter
    from .wire.client import Manifest, Repository

__all__ = ["Upload", "put_manifest"]

TRIES = 5  # of one blob, while nothing more of it arrives
CHUNKS = (64 << 20, 16 << 20)  # bytes of a request, where the registry takes no larger ones
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")
_TOO_LARGE = 413


def put_manifest(place: Repository, reference: str, manifest: Manifest) -> None:
    """Give @place a manifest under the tag or digest @reference, byte for byte.

    RegistryError when it is refused, or kept as something else.
    """
    answer = place.send(
        "PUT",
        f"manifests/{reference}",
        {"Content-Type": manifest.media_type},
        body=manifest.data,
        good=(201,),
        what=place.label(reference),
    )
    answer.drain_conn()
    kept = answer.headers.get("Docker-Content-Digest", manifest.digest)
    if kept != manifest.digest:
        raise RegistryError(
            f"{place.label(reference)}: {place.endpoint.host} keeps it as {kept}",
            hint="it changes manifests, so digests do not survive there",
        )


class Upload:
    """The sending of one blob to @place; @open_blob gives its bytes, each time from the start."""

    def __init__(
        self,
        place: Repository,
        blob: Descriptor,
        open_blob: Callable[[], IO[bytes]],
        meter: Meter,
    ) -> None:
        self._place = place
        self._blob = blob
        self._open = open_blob
        self._meter = meter
        self._told = 0  # bytes that the meter knows of
        self._what = f"blob {blob.digest[:12]} to {place.label('').rstrip(':')}"

    @staticmethod
    def is_there(place: Repository, digest: str) -> bool:
        """Does @place have the blob with sha256 @digest?"""
        answer = place.get(f"blobs/sha256:{digest}", {}, method="HEAD", good=(200, 404))
        answer.drain_conn()
        return answer.status == 200

    @staticmethod
    def mount(place: Repository, digest: str, source: str) -> bool:
        """Have @place take the blob from repository @source of the same registry, if it can."""
        answer = place.send(
            "POST",
            f"blobs/uploads/?mount=sha256:{digest}&from={source}",
            {"Content-Length": "0"},
            good=(201, 202),
            what=f"blob {digest[:12]}",
        )
        answer.drain_conn()
        if answer.status == 202:  # an upload has begun in its place
            _cancel(place, answer.headers.get("Location", ""))
        return answer.status == 201

    def run(self) -> None:
        """Send it. RegistryError when it is refused, or does not get through."""
        tries, have, location = 0, 0, ""
        chunk = 0  # all in one request
        while True:
            try:
                if not location:
                    location, have = self._begin(), 0
                if not have and not chunk:
                    self._whole(location)
                else:
                    self._rest(location, have, chunk or CHUNKS[0])
            except UnreachableError:
                tries += 1
                if tries >= TRIES:
                    raise
                self._place.transport.sleep(min(2.0**tries - 1, 8.0))
                arrived = self._arrived(location) if location else -1
                if arrived < 0:
                    location = ""
                elif arrived > have:
                    have, tries = arrived, 0
                self._tell(max(arrived, 0))
            except RegistryError as error:
                smaller = next((size for size in CHUNKS if not chunk or size < chunk), 0)
                if error.status != _TOO_LARGE or not smaller:
                    raise
                location, chunk = "", smaller
                self._tell(0)
            else:
                self._tell(self._blob.size)
                self._meter.done(self._blob)
                return

    def _begin(self) -> str:
        answer = self._place.send(
            "POST", "blobs/uploads/", {"Content-Length": "0"}, good=(202,), what=self._what
        )
        answer.drain_conn()
        return self._location(answer, "blobs/uploads/")

    def _location(self, answer: BaseHTTPResponse, before: str) -> str:
        """Where the upload goes on, as the registry says it: an address or a path, with a query."""
        location = str(answer.headers.get("Location", ""))
        if not location and not before.endswith("/"):
            return before
        if not location:
            raise RegistryError(f"{self._what}: {self._place.endpoint.host} names no place for it")
        if urlsplit(location).netloc or location.startswith("/"):
            return location
        return urljoin(f"/v2/{self._place.endpoint.repository}/{before}", location)

    def _whole(self, location: str) -> None:
        with self._open() as file:
            body = cast("IO[bytes]", _Counted(file, 0, self._blob.size, self._tell))
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(self._blob.size),
            }
            self._put(_with_digest(location, self._blob), headers, body)

    def _rest(self, location: str, have: int, chunk: int) -> None:
        """Parts from byte @have on, one after the other, and the end."""
        while have < self._blob.size:
            size = min(chunk, self._blob.size - have)
            with self._open() as file:
                answer = self._place.send(
                    "PATCH",
                    location,
                    {
                        "Content-Type": "application/octet-stream",
                        "Content-Length": str(size),
                        "Content-Range": f"{have}-{have + size - 1}",
                    },
                    body=cast("IO[bytes]", _Counted(file, have, size, self._tell)),
                    good=(202, 204),
                    what=self._what,
                )
            answer.drain_conn()
            location, have = self._location(answer, location), have + size
        self._put(_with_digest(location, self._blob), {"Content-Length": "0"}, None)

    def _put(self, location: str, headers: dict[str, str], body: IO[bytes] | None) -> None:
        answer = self._place.send(
            "PUT", location, headers, body=body, good=(201, 204), what=self._what
        )
        answer.drain_conn()

    def _arrived(self, location: str) -> int:
        """How many bytes the registry has; -1: it knows nothing of this upload."""
        try:
            answer = self._place.send("GET", location, {}, good=(204, 200), what=self._what)
        except RegistryError:
            return -1
        answer.drain_conn()
        found = _RANGE.fullmatch(answer.headers.get("Range", ""))
        return int(found[1]) + 1 if found and found[1] != "0" else 0

    def _tell(self, size: int) -> None:
        if size != self._told:
            self._meter.advance(self._blob, size - self._told)
            self._told = size


def _cancel(place: Repository, location: str) -> None:
    if location:
        try:
            answer = place.send("DELETE", location, {}, good=(204, 202, 200), what="an upload")
        except RegistryError:
            return  # it ends by itself
        answer.drain_conn()


def _with_digest(location: str, blob: Descriptor) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest=sha256:{blob.digest}"


class _Counted(io.RawIOBase):
    """@size bytes of @file from byte @start on, which says how far it is read."""

    def __init__(self, file: IO[bytes], start: int, size: int, tell: Callable[[int], None]) -> None:
        self._file, self._start, self._size, self._report = file, start, size, tell
        self._at = 0
        file.seek(start)

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._at
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        self._report(self._start + self._at)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == io.SEEK_SET:
            self._at = offset
            self._file.seek(self._start + offset)
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
