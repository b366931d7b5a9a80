"""Where images come from when the store lacks one: a directory of archives, else skopeo."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from lpmx_runtime.errors import ImageNotFoundError, LpmxError, UsageError
from lpmx_runtime.fetch.supply import (
    directories,
    find_archive,
    load_archive_as,
    name_of_file,
    names_of,
)
from lpmx_runtime.reference import parse_reference

if TYPE_CHECKING:
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["best_build", "obtain", "pull", "split_transport"]

_WAIT = 3600.0  # seconds for another process to bring the same image in


def obtain(store: Store, name: str, *, when: str = "missing") -> Image:
    """The image called @name; brought in by @when `missing` or `always`, never by `never`.

    ImageNotFoundError when it cannot be had, and then says how to get it.
    """
    if when != "always":
        try:
            return store.resolve(name)
        except ImageNotFoundError:
            if when == "never":
                raise
    return pull(store, name)


def pull(store: Store, name: str) -> Image:
    """Bring the image in from a folder, else by skopeo; what is here stays if neither has it."""
    reference = str(parse_reference(name))
    lock = store.lock(f"pull-{quote(reference, safe='')}")
    lock.acquire(timeout=_WAIT, busy=f"{reference} is being fetched by another process")
    with lock:
        archive = find_archive(store, reference)
        if archive:
            return load_archive_as(store, archive, reference)
        try:
            return store.resolve(reference)  # also: another process has just brought it
        except ImageNotFoundError:
            if "@" in reference or not _skopeo():
                raise _nowhere(store, reference) from None
        return _copy(store, reference)


def _nowhere(store: Store, reference: str) -> ImageNotFoundError:
    where = ", ".join(directories(store)) or os.path.join(store.root, "supply")
    return ImageNotFoundError(
        f"{reference}: no such image in the store, and no archive of it in {where}",
        hint=f"`skopeo copy docker://{reference} docker-archive:FILE:{reference}` where there is a"
        " network, then `lpmx load FILE` here; or put FILE into that folder",
    )


# ---- directories of archives


def best_build(store: Store, name: str) -> str:
    """The latest build of @name that store or folders have: bwa:0.7.17--h5bf99c6_8 of bwa:0.7.17.

    @name itself where there is none: who asks for it will be told so.
    """
    known = set(store.refs())
    for place in directories(store):
        for entry in os.scandir(place):
            known.update(names_of(store, entry.path))
            known.update(filter(None, (name_of_file(entry.name),)))
    sign = "-" if "mulled-v2-" in name and ":" in name else "--" if ":" in name else ":"
    found = [one for one in known if one == name or one.startswith(name + sign)]
    return max(found, key=_build_number) if found else name


def _build_number(name: str) -> tuple[int, str]:
    number = name.rpartition("_" if "_" in name.rpartition(":")[2] else "-")[2]
    return (int(number) if number.isdigit() else -1, name)


# ---- skopeo


def _skopeo() -> str:
    from shutil import which

    return which("skopeo") or ""


def _copy(store: Store, reference: str) -> Image:
    """Fetch by skopeo, which knows registries, into an archive that is loaded and removed."""
    from lpmx_runtime.process.proc import run

    with store.workspace() as workspace:
        archive = workspace / "fetched.tar"
        target = f"docker-archive:{archive}:{reference}"
        try:
            run([_skopeo(), "copy", "--quiet", f"docker://{reference}", target])
        except LpmxError as error:
            reason = error.message.rpartition("msg=")[2]
            raise ImageNotFoundError(
                f"{reference}: no such image in the store, and skopeo could not fetch it: {reason}",
                hint="where there is no network, `lpmx load` an archive of it",
            ) from error
        return load_archive_as(store, os.fspath(archive), reference)


def split_transport(text: str) -> tuple[str, str]:
    """`docker://bwa:1` as ("docker", "bwa:1"); ("", text) for a bare name or path."""
    for name in ("docker", "docker-daemon", "docker-archive", "oci-archive", "oci", "oras",
                 "library", "shub", "http", "https", "instance"):  # fmt: skip
        for sign in ("://", ":"):
            if text.startswith(name + sign):
                rest = text[len(name + sign) :]
                if not rest:
                    raise UsageError(f"{text}: no image is named")
                return name, rest
    return "", text
