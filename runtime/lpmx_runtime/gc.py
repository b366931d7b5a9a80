"""Garbage: what no image and no container needs, and what killed imports left behind.

Collecting holds the store's lock alone, so nothing that is just being added can be taken for
garbage. A container keeps its image even when all names of it are gone.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .container import owned
from .container import record as container
from .container.engine import stale_engines
from .errors import InUseError, StorageError, UsageError, pass_over, storage_errors
from .reference import parse_reference
from .store.image import chain_id, is_hex_digest
from .store.store import FileLock, is_there, remove_tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .store.store import Store

__all__ = ["Garbage", "Removal", "collect", "remove_image"]

DOWNLOAD_SECONDS = 7 * 86400.0

WAIT = 30.0  # seconds that gc waits for imports to end


@dataclass(frozen=True)
class Garbage:
    """What was (or would be) collected: by id, leftovers by file name."""

    containers: tuple[str, ...]
    layers: tuple[str, ...]
    views: tuple[str, ...]
    leftovers: tuple[str, ...]
    bytes: int


@dataclass(frozen=True)
class Removal:
    """What `remove_image` did: lines for the user, and whether an image itself went."""

    removed: bool
    lines: list[str] = field(default_factory=list)


def remove_image(store: Store, name: str, *, force: bool = False) -> Removal:
    """Take the name @name away; with the last one, or by its id, the image goes."""
    with store.lock("store") as lock:
        image_id = store.resolve_id(name)
        names = _names_of(store, image_id)
        canonical = _canonical(name)
        if canonical in names and len(names) > 1:
            store.untag(canonical)
            return Removal(removed=False, lines=[f"untagged {canonical}"])
        if canonical not in names and len(names) > 1 and not force:
            listed = ", ".join(names)
            raise InUseError(
                f"{name}: has several names ({listed})",
                hint="remove them by name, or all by --force",
            )
        users = store.containers_of(image_id)
        if users:
            raise InUseError(
                f"{names[0] if names else image_id[:12]}: in use by container {', '.join(users)}",
                hint=f"remove it first: `lpmx rm {users[0]}`",
            )
        store.remove_image(image_id)
        lock.release()
    return Removal(
        removed=True, lines=[*(f"untagged {one}" for one in names), f"removed {image_id}"]
    )


def _names_of(store: Store, image_id: str) -> Sequence[str]:
    """The names of an image that is there, were its record good or bad."""
    try:
        return store.image(image_id).names
    except StorageError:
        return store.names_of(image_id)


def _canonical(name: str) -> str:
    try:
        return str(parse_reference(name))
    except UsageError:
        return name  # an id


def collect(
    store: Store, *, dry_run: bool = False, temporaries: bool = True, downloads: bool = False
) -> Garbage:
    """Remove what no image needs and, with @temporaries, what dead imports and runs left.

    What interrupted pulls have fetched stays a week, for the next one to go on with; @downloads
    removes all of it.
    """
    lock = store.lock("store")
    lock.acquire(timeout=WAIT, busy=f"store {store.root}: another lpmx command is adding to it")
    with lock, storage_errors(f"store {store.root}"):
        left = owned.left_behind(store.root) if temporaries else []
        containers = container.leftovers(store) if temporaries else []
        containers += [name for name in owned.containers_of(store, left) if name not in containers]
        freed = _usage(*(store.containers_dir / name for name in containers))
        if temporaries and not dry_run:
            for one in left:
                owned.settle(store, one)
            container.collect(store)
        layers, views = _unwanted(store)
        leftovers = [*_leftovers(store), *stale_engines(store)] if temporaries else []
        if temporaries:
            leftovers += _downloads(store, 0.0 if downloads else DOWNLOAD_SECONDS)
        doomed = [
            *(store.layers_dir / name for name in layers),
            *(store.views_dir / name for name in views),
            *leftovers,
        ]
        freed += _usage(*doomed)
        if not dry_run:
            for path in doomed:
                _remove(store, path)
            if temporaries:
                _remove_locks(store)
        return Garbage(
            containers=tuple(map(container.plain_id, containers)),
            layers=tuple(layers),
            views=tuple(name.removesuffix(".view") for name in views),
            leftovers=tuple(path.name for path in leftovers),
            bytes=freed,
        )


def _unwanted(store: Store) -> tuple[list[str], list[str]]:
    """Layers and views that no image needs; none while nobody can say what an image needs."""
    wanted_layers: set[str] = set()
    wanted_views: set[str] = set()
    chains: set[tuple[str, ...]] = set()  # seen already
    for image_id in store.image_ids():
        diff_ids = store.layers_of(image_id)
        if diff_ids is None:
            pass_over(
                StorageError(
                    f"all layers: image {image_id[:12]} is damaged, and may need any of them",
                    hint=f"`lpmx rmi {image_id[:12]}` removes it",
                )
            )
            return [], []
        if diff_ids in chains:
            continue
        chains.add(diff_ids)
        wanted_layers.update(store.stack(diff_ids))
        wanted_views.add(f"{chain_id(diff_ids)}.view")
    layers = [name for name in os.listdir(store.layers_dir) if name not in wanted_layers]
    views = [name for name in os.listdir(store.views_dir) if name not in wanted_views]
    return layers, views


def _leftovers(store: Store) -> list[Path]:
    """What no living import holds in tmp/, images without a record, unfinished writes."""
    found = []
    for name in os.listdir(store.tmp_dir):
        base = name.removesuffix(".lock")
        lock = store.tmp_dir / f"{base}.lock"
        if not lock.exists() or _is_free(lock):
            found.append(store.tmp_dir / name)
    found += [
        store.images_dir / name
        for name in os.listdir(store.images_dir)
        if not is_hex_digest(name) or not is_there(store.images_dir / name / "image.json")
    ]
    for folder in (store.refs_dir, store.root):
        found += [folder / name for name in os.listdir(folder) if name.startswith(".")]
    return found


def _downloads(store: Store, age: float) -> list[Path]:
    """Parts of blobs that no pull has touched for @age seconds; with the store's lock held."""
    found = []
    for path in (store.root / "downloads").glob("sha256-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.lstat().st_mtime >= age:
                found.append(path)
    return found


def _is_free(path: Path) -> bool:
    lock = FileLock(path)
    free = lock.try_acquire()
    lock.release()
    return free


def _remove(store: Store, path: Path) -> None:
    """Remove a file or tree; a layer moves to tmp/ first, so that it is never half there."""
    if path.parent == store.layers_dir:
        grave = store.tmp_dir / f"removed-{path.name}"
        os.rename(path, grave)
        path = grave
    if path.is_dir() and not path.is_symlink():
        remove_tree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _remove_locks(store: Store) -> None:
    """Locks of single layers and blobs: taken only under the store's lock, which we hold alone."""
    for name in os.listdir(store.locks_dir):
        if name.startswith(("layer-", "download-")):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(store.locks_dir / name)


def _usage(*paths: Path) -> int:
    """Bytes on disk below @paths, hard links counted once."""
    seen: set[int] = set()
    total = 0
    pending = [os.fspath(path) for path in paths]
    while pending:
        current = pending.pop()
        try:
            status = os.lstat(current)
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_blocks * 512
            if os.path.isdir(current) and not os.path.islink(current):
                pending += [os.path.join(current, name) for name in os.listdir(current)]
        except (FileNotFoundError, OSError):
            continue
    return total
