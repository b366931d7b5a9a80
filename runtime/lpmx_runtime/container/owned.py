"""What belongs to a living process outside of it, written down before it is made.

    owned/NAME.json     the owner, and what goes with it: processes, a container, folders

A Jupyter client that is killed cannot clear up after its kernels. So each kernel has a record; a
process that ends in order removes what it owns and then the record, and whoever finds the record
of a dead owner does the same in its place: `lpmx gc`, the next start of a kernel, or a guard that
waits for just that (guard.py of the kernels):

    python -m lpmx_runtime.container.owned STORE NAME
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError
from lpmx_runtime.process import runs
from lpmx_runtime.process import scan as processes
from lpmx_runtime.store.store import Store, atomic_write, remove_tree

from . import record as containers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lpmx_runtime.process.runs import Process

__all__ = ["Owned", "forget", "left_behind", "record", "settle"]

FOLDER = "owned"
FOLDER_PREFIX = "lpmx-"  # of every folder that a record may name: nothing else is ever removed
_PATIENCE = 60.0  # seconds between looks at an owner that lives on


@dataclass(frozen=True)
class Owned:
    """What goes with a process."""

    name: str
    owner: Process
    variable: str  # NAME=VALUE in the environment of its processes
    container: str = ""  # id; removed where it is ephemeral
    files: tuple[str, ...] = ()  # in the container: they go even where it is kept
    folders: tuple[str, ...] = ()  # elsewhere on this node
    outlives: bool = False  # the owner's end is not its own ...
    process: Process | None = None  # ... but that of this process is

    def is_left(self) -> bool:
        """Say whether nobody is there any more who would clear up."""
        if self.owner.is_alive():
            return False
        return not (self.outlives and self.process is not None and self.process.is_alive())


def record(root: Path, owned: Owned) -> None:
    """Write it down."""
    folder = root / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    data = json.dumps(asdict(owned)).encode()
    atomic_write(folder / f"{owned.name}.json", data, durable=False)


def forget(root: Path, name: str) -> None:
    """Remove the record."""
    with contextlib.suppress(FileNotFoundError):
        _path(root, name).unlink()


def read(root: Path, name: str) -> Owned | None:
    """The record called @name; None where there is none that can be read."""
    try:
        data = json.loads(_path(root, name).read_bytes())
        for key in ("owner", "process"):
            data[key] = runs.Process.from_dict(data[key]) if data[key] else None
        for key in ("files", "folders"):
            data[key] = tuple(map(str, data[key]))
        found = Owned(**data)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if found.owner and found.name == name else None


def left_behind(root: Path) -> list[Owned]:
    """What dead owners have left."""
    try:
        names = sorted(os.listdir(root / FOLDER))
    except FileNotFoundError:
        return []
    found = [read(root, name.removesuffix(".json")) for name in names if name.endswith(".json")]
    return [owned for owned in found if owned and owned.is_left()]


def containers_of(store: Store, left: Sequence[Owned]) -> list[str]:
    """The ids of the ephemeral containers that go with @left."""
    root = os.fspath(store.containers_dir)
    found = [containers.load(root, owned.container) for owned in left]
    return [container.id for container in found if container and container.auto_remove]


def settle(store: Store, owned: Owned, *, grace: float = 0.0) -> None:
    """End and remove all of it, then the record."""
    if owned.variable:
        processes.end(lambda: processes.with_variable(owned.variable), grace=grace)
    for folder in owned.folders:
        _remove_folder(folder)
    if owned.container:
        _settle_container(store, owned)
    forget(store.root, owned.name)


def _settle_container(store: Store, owned: Owned) -> None:
    container = containers.load(os.fspath(store.containers_dir), owned.container)
    if container is None:
        return
    if container.auto_remove:
        containers.discard_own(container, kill=True)
        return
    for name in owned.files:
        remove_tree(container.path(os.path.basename(name)))


def _remove_folder(path: str) -> None:
    """Remove a folder of ours; what is anything else by now is left alone."""
    with contextlib.suppress(OSError):
        found = os.lstat(path)
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        if ours and os.path.basename(path).startswith(FOLDER_PREFIX):
            remove_tree(path)


def _path(root: Path, name: str) -> Path:
    return root / FOLDER / f"{os.path.basename(name)}.json"


def main(words: Sequence[str]) -> int:
    """Wait for the end of the owner of record NAME of the store STORE, then settle it."""
    root, name = words
    store = Store.open(root)
    while (owned := read(store.root, name)) and owned.owner.is_alive():
        if owned.outlives:
            return 0
        runs.wait_gone(owned.owner, _PATIENCE)
    if owned and owned.is_left():
        with contextlib.suppress(LpmxError, OSError):  # gc is next
            settle(store, owned)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
