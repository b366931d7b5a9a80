"""An image by its name, wherever it is: the store, else a directory of archives, else a registry.

    image = obtain(store, "quay.io/biocontainers/bwa:0.7.17", policy="missing")

Processes that want an image that is not here wait for the one that fetches it. What only a
fetch needs is imported by it: the start of an image that is here passes through this file.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from lpmx_runtime.config.values import pull_policy
from lpmx_runtime.errors import ImageNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lpmx_runtime.images.progress import Display
    from lpmx_runtime.images.registry.download import Descriptor, Meter
    from lpmx_runtime.images.registry.pull import Options
    from lpmx_runtime.images.registry.wire.errors import UnreachableError
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import FileLock, Store

    MeterOf = Callable[[Sequence[Descriptor]], Meter]
    Report = Callable[[str], None]
    Finder = Callable[[str], Image]

__all__ = ["Step", "fetch_in_order", "finder", "may_be_fetched", "obtain"]

_WAIT = 6 * 3600.0  # seconds for another process to bring the same image in
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".sif")
_ID = 12  # hex digits from which on a word is an id, and no name


class Step(str):
    """A line for @report that is about what goes on, and no warning."""

    __slots__ = ()


def obtain(
    store: Store,
    name: str,
    *,
    policy: str = "",
    options: Options | None = None,
    meter: MeterOf | None = None,
    report: Report | None = None,
) -> Image:
    """The image called @name (`NAME[:TAG][@DIGEST]`, an id or the beginning of one).

    @policy: `missing` fetches what the store lacks, `always` looks whether there is another image
    of that name by now, `never` takes what the store has; "": what the user has configured. An id
    is never fetched. @meter and @report as for `pull`. Raises ImageNotFoundError when the image is
    not here and cannot be looked for, else what `load` and `pull` raise.
    """
    policy = pull_policy(policy)
    try:
        image = store.resolve(name)
    except ImageNotFoundError as error:
        missing = error
    else:
        if policy != "always" or _is_by_id(image, name):
            return image
        return _fetch(store, name, policy, options, meter, report)
    if _name_by_digest(store, name):
        return store.resolve(name)
    if policy == "never" or not may_be_fetched(name):
        raise missing
    return _fetch(store, name, policy, options, meter, report)


def finder(store: Store, policy: str = "") -> Finder:
    """What finds images by `obtain` for a command; what it fetches is seen on standard error."""

    def find(name: str) -> Image:
        shown: list[Display] = []

        def display() -> Display:
            from lpmx_runtime.images.progress import Display

            if not shown:
                shown.append(Display(name))
            return shown[0]

        try:
            return obtain(
                store,
                name,
                policy=policy,
                meter=lambda blobs: display().begin(blobs),
                report=lambda line: display().say(line),
            )
        finally:
            for one in shown:
                one.end()

    return find


def _is_by_id(image: Image, name: str) -> bool:
    """Was @image found by its id? One found by a name is called by it."""
    return not image.called and image.id.startswith(name.removeprefix("sha256:"))


def may_be_fetched(name: str) -> bool:
    """Is @name a name, and neither an id nor the archive of an image?"""
    from lpmx_runtime.errors import LpmxError
    from lpmx_runtime.reference import parse_reference

    word = name.removeprefix("sha256:")
    if len(word) >= _ID and not word.strip("0123456789abcdef"):
        return False
    if word.endswith(_ARCHIVES) and os.path.exists(word):
        return False
    try:
        return parse_reference(name).repository != "library/sha256"
    except LpmxError:
        return False


def _name_by_digest(store: Store, name: str) -> bool:
    """Give the image that was pulled as NAME@DIGEST under another name this one, if there is one.

    A later look-up of that name then finds it.
    """
    if "@sha256:" not in name:
        return False
    from lpmx_runtime.errors import LpmxError
    from lpmx_runtime.images.registry.sources import find_source
    from lpmx_runtime.reference import parse_reference

    try:
        reference = parse_reference(name)
    except LpmxError:
        return False
    found = find_source(store, reference, reference.digest or "")
    if found is not None:
        store.tag(str(reference), found.id)
    return found is not None


# ---- fetching


def _fetch(
    store: Store,
    name: str,
    policy: str,
    options: Options | None,
    meter: MeterOf | None,
    report: Report | None,
) -> Image:
    """Bring @name in, while others that want it wait."""
    from lpmx_runtime.reference import parse_reference

    from .supply import find_archive, load_archive_as

    reference = str(parse_reference(name))
    with fetch_in_order(), _turn(store, reference, report):
        if policy == "missing":
            try:
                return store.resolve(reference)  # another process has just brought it
            except ImageNotFoundError:
                pass
        archive = find_archive(store, reference)
        report = report or (lambda _line: None)
        if archive:
            report(Step(f"{reference}: loading {archive}"))
            load_archive_as(store, archive, reference)
        else:
            if store.named(reference) is None:
                report(Step(f"{reference}: not here, pulling it"))
            _pull(store, reference, options, meter, report)
        return store.resolve(reference)


@contextlib.contextmanager
def fetch_in_order() -> Iterator[None]:
    """Let SIGTERM, by which batch systems end jobs, end a fetch as an error does.

    Who has decided on that signal already, or is another thread, keeps what it has.
    """
    import signal
    import threading

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _turn(store: Store, reference: str, report: Report | None) -> FileLock:
    """The lock of @reference, taken."""
    import hashlib

    lock = store.lock(f"pull-{hashlib.sha256(reference.encode()).hexdigest()}")
    if not lock.try_acquire():
        if report is not None:
            report(Step(f"{reference}: another process fetches it, waiting"))
        lock.acquire(timeout=_WAIT, busy=f"{reference} is being fetched by another process")
    return lock


def _pull(
    store: Store,
    reference: str,
    options: Options | None,
    meter: MeterOf | None,
    report: Report | None,
) -> None:
    """From the registry; the error names where else the image was looked for, or what was meant."""
    from lpmx_runtime.images.registry.pull import pull
    from lpmx_runtime.images.registry.wire.errors import DeniedError, UnreachableError

    try:
        pull(store, reference, options, meter=meter, report=report)
    except DeniedError as error:
        error.hint = _similar(store, reference) or error.hint
        raise
    except UnreachableError as error:
        if store.named(reference) is None:
            raise _nowhere(store, reference, error) from error
        if error.hint is None:
            error.hint = "`--pull missing` takes the image that is here"
        raise


def _nowhere(store: Store, reference: str, error: UnreachableError) -> ImageNotFoundError:
    from .supply import directories

    where = ", ".join(directories(store)) or os.path.join(store.root, "supply")
    reason = error.message.replace(": cannot be reached", " cannot be reached", 1)
    return ImageNotFoundError(
        f"{reference}: no such image here, no archive of it in {where}, and {reason}",
        hint=_similar(store, reference)
        or error.hint
        or "`lpmx load FILE` brings in an archive that `lpmx save`,"
        " docker or skopeo has written elsewhere",
    )


def _similar(store: Store, reference: str) -> str | None:
    """A hint for who mistyped the name of an image that is here."""
    from lpmx_runtime.similar import did_you_mean_image

    return did_you_mean_image(reference, store.refs())
