"""Where images come from when the store lacks one: a folder of archives, else skopeo.

The folders of $LPMX_SUPPLY (colon separated) and `supply` in the store hold what `docker save`
wrote, or OCI layouts, under any name. One called as Galaxy's cache of images calls it
(`docker_quay.io_slash_biocontainers_slash_bwa:0.7.17.tar`) or like the image with other signs for
the slashes is found by its name, which also works where it is compressed; any other plain archive
by the names inside it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from lpmx_runtime.errors import ImageNotFoundError, LpmxError, UsageError
from lpmx_runtime.store.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["best_build", "find_archive", "folders", "names_of", "obtain", "pull", "split_transport"]

_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", "")
_SLASHES = ("_slash_", "_", "%2F", "%2f", "-", "+")
_INDEX = "cache/supply.json"
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
            return _load(store, archive, reference)
        try:
            return store.resolve(reference)  # also: another process has just brought it
        except ImageNotFoundError:
            if "@" in reference or not _skopeo():
                raise _nowhere(store, reference) from None
        return _copy(store, reference)


def _load(store: Store, archive: str, reference: str) -> Image:
    """Load @archive; an image that says nothing of its name gets the one it was asked by."""
    from lpmx_runtime.images.load import load

    loaded = load(store, archive)
    named = [one.image for one in loaded if reference in one.image.names]
    if named:
        return named[0]
    if len(loaded) == 1:
        store.tag(reference, loaded[0].image.id)
        return store.image(loaded[0].image.id)
    raise ImageNotFoundError(
        f"{archive}: {len(loaded)} images in it, none called {reference}",
        hint="name the one that is meant with `lpmx tag`",
    )


def _nowhere(store: Store, reference: str) -> ImageNotFoundError:
    where = ", ".join(folders(store)) or os.path.join(store.root, "supply")
    return ImageNotFoundError(
        f"{reference}: no such image in the store, and no archive of it in {where}",
        hint=f"`skopeo copy docker://{reference} docker-archive:FILE:{reference}` where there is a"
        " network, then `lpmx load FILE` here; or put FILE into that folder",
    )


# ---- folders of archives


def folders(store: Store) -> list[str]:
    """Those that exist."""
    listed = [path for path in os.environ.get("LPMX_SUPPLY", "").split(":") if path]
    return [path for path in (*listed, os.path.join(store.root, "supply")) if os.path.isdir(path)]


def find_archive(store: Store, reference: str) -> str:
    """The archive or layout that holds @reference, "" when no folder has one."""
    places = folders(store)
    for folder in places:
        for name in _file_names(reference):
            path = os.path.join(folder, name)
            if os.path.isfile(path) or os.path.isdir(path):
                return path
    return _by_content(store, places, reference) if places else ""


def _file_names(reference: str) -> Iterator[str]:
    """What an archive of @reference may be called, Galaxy's way first."""
    parsed = parse_reference(reference)
    full = f"{parsed.registry}/{parsed.repository}" + (f":{parsed.tag}" if parsed.tag else "")
    for text in dict.fromkeys((reference, full)):
        for slash in _SLASHES:
            mangled = text.replace("/", slash)
            for base in (f"docker_{mangled}", mangled, mangled.replace(":", "_")):
                yield from (base + suffix for suffix in _SUFFIXES)


def _by_content(store: Store, places: list[str], reference: str) -> str:
    """Look into plain archives and layouts; what was seen is remembered by size and time."""
    import json

    path = os.path.join(store.root, _INDEX)
    try:
        with open(path, encoding="utf-8") as file:
            index = json.load(file)
    except (OSError, ValueError):
        index = {}
    fresh, found = {}, ""
    for place in places:
        for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
            key = _stamp(entry)
            names = index.get(key)
            if not isinstance(names, list):
                names = names_of(store, entry.path)
            fresh[key] = names
            if not found and reference in names:
                found = entry.path
    if fresh != index:
        _remember(path, json.dumps(fresh))
    return found


def _stamp(entry: os.DirEntry[str]) -> str:
    status = entry.stat()
    return f"{entry.path}:{status.st_size}:{status.st_mtime_ns}"


def _remember(path: str, text: str) -> None:
    from lpmx_runtime.store.store import atomic_write, make_private

    try:
        make_private(os.path.dirname(path))
        atomic_write(path, text.encode(), durable=False)
    except OSError:
        return  # a store that cannot be written is looked through again next time


def best_build(store: Store, name: str) -> str:
    """The latest build of @name that store or folders have: bwa:0.7.17--h5bf99c6_8 of bwa:0.7.17.

    @name itself where there is none: who asks for it will be told so.
    """
    known = set(store.refs())
    for place in folders(store):
        for entry in os.scandir(place):
            known.update(names_of(store, entry.path))
            known.update(_names_by_file(entry.name))
    sign = "-" if "mulled-v2-" in name and ":" in name else "--" if ":" in name else ":"
    found = [one for one in known if one == name or one.startswith(name + sign)]
    return max(found, key=_build_number) if found else name


def _build_number(name: str) -> tuple[int, str]:
    number = name.rpartition("_" if "_" in name.rpartition(":")[2] else "-")[2]
    return (int(number) if number.isdigit() else -1, name)


def _names_by_file(file: str) -> list[str]:
    """The name that Galaxy's way of calling an archive tells, as a list of one or none."""
    base = file
    for suffix in _SUFFIXES:
        base = base.removesuffix(suffix) if suffix else base
    base = base.removeprefix("docker_").replace("_slash_", "/")
    try:
        return [str(parse_reference(base))] if ":" in base else []
    except LpmxError:
        return []


def names_of(store: Store, path: str) -> list[str]:
    """The names of the images in a plain archive or a layout; none of what is neither."""
    from lpmx_runtime.images.archive import open_archive
    from lpmx_runtime.images.manifest import read_images
    from lpmx_runtime.tar.blocks import kind_of

    if os.path.isfile(path):
        with open(path, "rb") as file:
            head = file.read(262)
        if kind_of(head[:8]) or head[257:262] != b"ustar":
            return []
    elif not os.path.isdir(path):
        return []
    try:
        with store.workspace() as workspace, open_archive(path, workspace) as archive:
            specs = read_images(archive, stem=os.path.basename(path))
    except LpmxError:
        return []
    return [str(parse_reference(name)) for spec in specs for name in spec.names]


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
        return _load(store, os.fspath(archive), reference)


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
