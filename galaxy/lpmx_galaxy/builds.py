"""BioContainers' builds of a package: bwa:0.7.17--h5bf99c6_8 is the eighth of bwa 0.7.17.

Which there are, the store and the directories of archives tell, and else the registry by its list
of tags, which is remembered for a while: a tool list asks for the same repository many times.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lpmx_runtime.store.store import Store

__all__ = ["best_build"]


def best_build(store: Store, name: str) -> str:
    """The latest build of @name that store, archives or registry have.

    @name itself where there is none: who asks for it will be told so. Raises RegistryError when
    only the registry can know and it does not answer.
    """
    return _best(_local(store), name) or name


def _local(store: Store) -> set[str]:
    from lpmx_runtime.fetch.supply import directories, name_of_file, names_of

    known = set(store.refs())
    for place in directories(store):
        for entry in os.scandir(place):
            known.update(names_of(store, entry.path))
            known.update(filter(None, (name_of_file(entry.name),)))
    return known


def _best(known: set[str], name: str) -> str:
    """The latest of @known that is a build of @name; "": there is none."""
    sign = "-" if "mulled-v2-" in name and ":" in name else "--" if ":" in name else ":"
    found = [one for one in known if one == name or one.startswith(name + sign)]
    return max(found, key=_build_number) if found else ""


def _build_number(name: str) -> tuple[int, str]:
    number = name.rpartition("_" if "_" in name.rpartition(":")[2] else "-")[2]
    return (int(number) if number.isdigit() else -1, name)
