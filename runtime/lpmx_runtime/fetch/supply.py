"""Directories of archives, asked for an image before any registry is.

The directories of $LPMX_SUPPLY (colon separated), else of `supply` in config.yaml, and `supply` in
the store hold what `docker save` wrote, or OCI layouts, under any name. One called as Galaxy's
cache of images calls it (`docker_quay.io_slash_biocontainers_slash_bwa:0.7.17.tar`) or like the
image with other signs for the slashes is found by its name, which also works where it is
compressed; any other plain archive by the names inside it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lpmx_runtime.config.values import supply
from lpmx_runtime.errors import ImageNotFoundError, LpmxError
from lpmx_runtime.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["directories", "find_archive", "load_archive_as", "name_of_file", "names_of"]

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", "")
_SLASHES = ("_slash_", "_", "%2F", "%2f", "-", "+")
_INDEX = "cache/supply.json"


def directories(store: Store) -> list[str]:
    """Those that exist."""
    listed = (*supply(), os.path.join(store.root, "supply"))
    return [path for path in listed if os.path.isdir(path)]


def find_archive(store: Store, reference: str) -> str:
    """The archive or layout that holds @reference, "" when no directory has one."""
    places = directories(store)
    for directory in places:
        for name in _file_names(reference):
            path = os.path.join(directory, name)
            if os.path.isfile(path) or os.path.isdir(path):
                return path
    return _by_content(store, places, reference) if places else ""


def load_archive_as(store: Store, archive: str, reference: str) -> Image:
    """Load @archive; an image in it without a name gets @reference, by which it was asked for.

    Raises ImageNotFoundError when it holds several images and none of that name, and what `load`
    raises.
    """
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


def name_of_file(file: str) -> str:
    """The image's name in what Galaxy calls an archive; "" when there is none in it."""
    base = file
    for suffix in SUFFIXES:
        base = base.removesuffix(suffix) if suffix else base
    base = base.removeprefix("docker_").replace("_slash_", "/")
    try:
        return str(parse_reference(base)) if ":" in base else ""
    except LpmxError:
        return ""


def names_of(store: Store, path: str) -> list[str]:
    """The names of the images in a plain archive or a layout; none of what is neither."""
    from lpmx_runtime.images.archive import open_archive
    from lpmx_runtime.images.manifest import read_images
    from lpmx_runtime.tar.blocks import kind_of

    try:
        if os.path.isfile(path):
            with open(path, "rb") as file:
                head = file.read(262)
            if kind_of(head[:8]) or head[257:262] != b"ustar":
                return []
        elif not os.path.isdir(path):
            return []
        with store.workspace() as workspace, open_archive(path, workspace) as archive:
            specs = read_images(archive, stem=os.path.basename(path))
    except (LpmxError, OSError):
        return []
    return [str(parse_reference(name)) for spec in specs for name in spec.names]


def _file_names(reference: str) -> Iterator[str]:
    """What an archive of @reference may be called, Galaxy's way first."""
    parsed = parse_reference(reference)
    full = f"{parsed.registry}/{parsed.repository}" + (f":{parsed.tag}" if parsed.tag else "")
    for text in dict.fromkeys((reference, full)):
        for slash in _SLASHES:
            mangled = text.replace("/", slash)
            for base in (f"docker_{mangled}", mangled, mangled.replace(":", "_")):
                yield from (base + suffix for suffix in SUFFIXES)


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
        for entry in _entries(place):
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


def _entries(place: str) -> list[os.DirEntry[str]]:
    """What is in directory @place, without links that lead nowhere."""
    try:
        with os.scandir(place) as entries:
            found = [entry for entry in entries if os.path.exists(entry.path)]
    except OSError:
        return []
    return sorted(found, key=lambda entry: entry.name)


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
