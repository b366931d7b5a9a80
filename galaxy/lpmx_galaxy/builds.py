"""BioContainers' builds of a package: bwa:0.7.17--h5bf99c6_8 is the eighth of bwa 0.7.17.

Which there are, the store and the directories of archives tell, and where they have none the
registry by its list of tags. That is remembered for an hour: a tool list asks for the same
repository many times.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lpmx_runtime.store.store import Store

__all__ = ["best_build"]

KEPT = 3600.0  # seconds
_PART = re.compile(r"(\d+)")


def best_build(store: Store, name: str) -> str:
    """The latest build of @name that store, archives or registry have.

    @name itself where there is none: who asks for it will be told so. Raises RegistryError when
    only the registry can know and does not answer.
    """
    return _best(_local(store), name) or _best(_remote(store, name), name) or name


def _local(store: Store) -> set[str]:
    from lpmx_runtime.fetch.supply import directories, name_of_file, names_of

    known = set(store.refs())
    for place in directories(store):
        for entry in os.scandir(place):
            known.update(names_of(store, entry.path))
            known.update(filter(None, (name_of_file(entry.name),)))
    return known


# ---- the registry


def _remote(store: Store, name: str) -> list[str]:
    """NAME:TAG for all tags of the repository."""
    from lpmx_runtime.config.values import pull_policy
    from lpmx_runtime.reference import parse_reference

    if pull_policy() == "never":
        return []
    reference = parse_reference(name)
    key = hashlib.sha256(reference.name.encode()).hexdigest()
    path = store.root / "cache" / "tags" / key
    tags = _remembered(path)
    if tags is None:
        from lpmx_runtime.images.registry.places import Access, open_places
        from lpmx_runtime.images.registry.tags import list_tags

        tags = list_tags(open_places(reference, Access()))
        _remember(path, tags)
    return [f"{reference.name}:{tag}" for tag in tags]


def _remembered(path: Path) -> list[str] | None:
    try:
        if time.time() - os.stat(path).st_mtime > KEPT:
            return None
        tags = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else None


def _remember(path: Path, tags: list[str]) -> None:
    from lpmx_runtime.store.store import atomic_write, make_private

    try:
        make_private(path.parent)
        atomic_write(path, json.dumps(tags).encode(), durable=False)
    except OSError:
        return  # a store that cannot be written asks again


# ---- the latest


def _best(known: Iterable[str], name: str) -> str:
    """The latest of @known that is a build of @name; "": there is none."""
    sign = "-" if "mulled-v2-" in name and ":" in name else "--" if ":" in name else ":"
    found = [one for one in known if one == name or one.startswith(name + sign)]
    return max(found, key=_age) if found else ""


def _age(name: str) -> tuple[list[tuple[int, str]], int, str]:
    """What makes a build later than another: its version, its number, and then anything."""
    tag = name.rpartition(":")[2]
    version, _, build = tag.partition("--")
    if "mulled-v2-" in name:  # CHECKSUM-BUILD
        version, build = "", tag.rpartition("-")[2]
    number = build.rpartition("_")[2]
    return _natural(version), int(number) if number.isdigit() else -1, name


def _natural(version: str) -> list[tuple[int, str]]:
    """1.10 is later than 1.9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _PART.split(version)]
