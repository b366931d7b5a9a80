"""Folders that a container needs and neither image nor binds have: working directory, tmpfs.

They lie in the container's own folder, are shown by a bind, and go with the container.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from lpmx_runtime.container.record import taken_back
from lpmx_runtime.errors import storage_errors
from lpmx_runtime.plans.binds import find_bind, merge_binds
from lpmx_runtime.plans.plan import Bind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.container.record import Container
    from lpmx_runtime.launch.start import Draft
    from lpmx_runtime.store.store import Store

__all__ = ["with_folders"]


def with_folders(
    store: Store, draft: Draft, *, fresh: Sequence[str] = (), missing: Sequence[str] = ()
) -> Container:
    """Create the container of @draft with what it lacks.

    @fresh: directories that begin empty, whatever the image has there. @missing: those to be made
    only where nothing is; the working directory is always one of them.
    """
    container = draft.container
    wanted = [*fresh, *_lacking(store, container, [*missing, container.cwd])]
    if not wanted:
        return draft.create(store)
    added = [
        Bind(container.path(f"folders/{number}"), destination)
        for number, destination in enumerate(dict.fromkeys(wanted))
    ]
    binds = merge_binds(container.binds, added)
    container = replace(draft, container=replace(container, binds=binds)).create(store)
    with taken_back(container), storage_errors(f"container {container.label}"):
        for bind in added:
            os.makedirs(bind.src)
    return container


def _lacking(store: Store, container: Container, paths: Sequence[str]) -> list[str]:
    """Those of @paths that the container is to get; those below a bind are made there instead."""
    pending = [path for path in paths if path != "/" and not _in_bind(container, path)]
    if not pending:
        return []
    from lpmx_runtime.union.paths import real_place
    from lpmx_runtime.union.tree import Tree

    with Tree.of_image(store, store.image(container.image)) as tree:
        return [real_place(tree, path) for path in pending if not tree.find(os.fsencode(path))]


def _in_bind(container: Container, path: str) -> bool:
    """Is @path shown by a bind? Then it is made there, if it can be."""
    bind = find_bind(container.binds, path)
    if bind is None:
        return False
    host = bind.src + path[len(bind.dst) :]
    if not bind.read_only and not os.path.lexists(host):
        with storage_errors(f"directory {path} of the container"):
            os.makedirs(host, exist_ok=True)
    return True
