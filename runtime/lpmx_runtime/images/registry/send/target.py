"""Blobs and manifests into a repository: what it has is not sent, what a neighbour has is mounted.

The manifest comes last, so that what it names is there.
"""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lpmx_runtime.images.registry.wire.errors import RegistryError, WrongDataError

from .upload import Upload, mount

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lpmx_runtime.images.registry.download import Descriptor, Meter
    from lpmx_runtime.images.registry.wire.client import Manifest, Repository

    from .content import Content

__all__ = ["Outgoing", "in_parallel", "put_manifest", "send_blobs", "settle", "twice_if_wrong"]

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Outgoing:
    """A blob that a repository is to have."""

    blob: Descriptor
    open: Callable[[], Content]
    neighbours: tuple[str, ...] = ()  # repositories of the same registry that may have it


def settle(place: Repository, outgoing: Sequence[Outgoing], *, jobs: int) -> list[str]:
    """For each of @outgoing: is it `there`, or `mounted` by now? "": it has to be sent."""
    return in_parallel(lambda one, _stop: _is_there(place, one), outgoing, jobs)


def send_blobs(
    place: Repository,
    outgoing: Sequence[Outgoing],
    *,
    jobs: int,
    meter: Callable[[Sequence[Descriptor]], Meter],
) -> int:
    """Send all of @outgoing to @place, @jobs at a time; how many bytes they are.

    @meter is given what is to be sent. Raises RegistryError when one of them is not taken or
    cannot be had, StorageError when it cannot be read.
    """
    progress = meter([one.blob for one in outgoing])

    def send(one: Outgoing, stopped: threading.Event) -> None:
        twice_if_wrong(
            one, lambda content: Upload(place, one.blob, content, progress, stopped).run()
        )
        progress.done(one.blob)

    in_parallel(send, outgoing, jobs)
    return sum(one.blob.size for one in outgoing)


def twice_if_wrong(one: Outgoing, send: Callable[[Content], None]) -> None:
    """@send the content of @one, and once more where it had another checksum than its digest."""
    for last in (False, True):
        content = one.open()
        try:
            send(content)
        except WrongDataError as error:
            if last:
                raise WrongDataError(f"{error.message}, twice", hint=error.hint) from error
        else:
            return
        finally:
            content.close()


def _is_there(place: Repository, one: Outgoing) -> str:
    """Is the blob `there`, or `mounted` by now? "": neither."""
    if place.has_blob(f"sha256:{one.blob.digest}"):
        return "there"
    for name in one.neighbours:
        if name != place.endpoint.repository and mount(place, one.blob, name):
            return "mounted"
    return ""


def put_manifest(place: Repository, manifest: Manifest, tag: str = "") -> bool:
    """Put @manifest as @tag, or by its digest alone. True: its subject knows of it by that.

    Raises RegistryError when it is refused, or kept with another digest.
    """
    reference = tag or manifest.digest
    headers = {"Content-Type": manifest.media_type, "Content-Length": str(len(manifest.data))}
    answer = place.send("PUT", f"manifests/{reference}", headers, manifest.data)
    label = place.label(reference)
    if answer.status not in {201, 202, 204}:
        raise place.refused(answer, label)
    answer.drain_conn()
    kept = answer.headers.get("Docker-Content-Digest", manifest.digest)
    if kept != manifest.digest:
        raise RegistryError(f"{label}: the registry keeps it as {kept}, sent was {manifest.digest}")
    return "OCI-Subject" in answer.headers


def in_parallel(
    work: Callable[[_T, threading.Event], _R], items: Sequence[_T], jobs: int
) -> list[_R]:
    """@work of each of @items, @jobs at a time; the first error ends the others by the event."""
    stopped = threading.Event()
    with ThreadPoolExecutor(max(1, min(jobs, len(items))), "send") as workers:
        coming: list[Future[_R]] = [workers.submit(work, item, stopped) for item in items]
        try:
            done = wait(coming, return_when=FIRST_EXCEPTION).done
            for one in coming:
                if one in done:
                    one.result()
        finally:
            stopped.set()
            workers.shutdown(wait=True, cancel_futures=True)
    return [one.result() for one in coming]
