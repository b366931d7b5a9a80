"""The store's own copy of the engine.

Every execve in a container needs the loader's file. So containers do not run that of the package,
which `pip install --upgrade` replaces while a notebook's kernel is alive: a store keeps each
version that its containers may have been started with.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from lpmx_runtime.errors import NativeMissingError, StorageError, storage_errors
from lpmx_runtime.native import ENGINE, loader_digest, loader_path
from lpmx_runtime.store.store import atomic_write, make_private

from .names import ids

if TYPE_CHECKING:
    from pathlib import Path

    from lpmx_runtime.store.store import Store

__all__ = [
    "NOEXEC_HINT",
    "engine_path",
    "is_noexec",
    "keep_engine",
    "refuse_noexec",
    "stale_engines",
]

NOEXEC_HINT = "put the store on another file system: LPMX_HOME=/some/local/folder"
_FOLDER = "engine"
_MARK = "engine."


def engine_path(store: Store) -> str:
    """Where @store keeps the loader of this package. Raises NativeMissingError."""
    return os.fspath(store.root / _FOLDER / loader_digest() / ENGINE)


def keep_engine(path: str, folder: str) -> None:
    """Copy the loader to @path, which engine_path gave, for the container in @folder.

    A mark in the folder says which versions its processes may be of. Raises StorageError.
    """
    mark = os.path.join(folder, _MARK + os.path.basename(os.path.dirname(path)))
    with storage_errors(path):
        if not os.path.exists(mark):  # first, for whoever collects garbage meanwhile
            atomic_write(mark, b"", durable=False)
        if not os.path.exists(path):
            make_private(os.path.dirname(path))
            _copy(path)
    refuse_noexec(path)


def is_noexec(path: str | os.PathLike[str]) -> bool:
    """Is the file system that @path lies on mounted so that nothing is executed from it?"""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_NOEXEC)
    except OSError:
        return False


def refuse_noexec(path: str) -> None:
    """Raise StorageError if the engine at @path may not be executed."""
    if os.access(path, os.X_OK):
        return
    if is_noexec(path):
        raise StorageError(
            "the store's file system is mounted noexec: no program runs from there",
            hint=NOEXEC_HINT,
        )
    raise StorageError(f"{path}: it may not be executed", hint="`lpmx doctor` examines the store")


def _copy(path: str) -> None:
    """The first copy stays: another node's programs may be running from it already."""
    with open(loader_path(), "rb") as file:
        data = file.read()
    temporary = f"{path}.{os.urandom(6).hex()}"
    atomic_write(temporary, data, mode=0o755)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    except OSError:  # a file system without hard links
        os.rename(temporary, path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)


def stale_engines(store: Store) -> list[Path]:
    """The folders of versions that no container has been started with. Under the store's lock."""
    wanted = set()
    with contextlib.suppress(NativeMissingError):
        wanted.add(os.path.basename(os.path.dirname(engine_path(store))))
    for name in ids(os.fspath(store.containers_dir)):  # also those whose record cannot be read
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # it ends just now
            try:
                names = os.listdir(store.containers_dir / name)
            except PermissionError:
                return []  # it may need any
            wanted |= {name.removeprefix(_MARK) for name in names if name.startswith(_MARK)}
    try:
        return [folder for folder in (store.root / _FOLDER).iterdir() if folder.name not in wanted]
    except FileNotFoundError:
        return []
