"""A container's file tree from outside, to be read and changed by the engine's own rules.

Nothing has to run in the container; what runs there sees a new name at once.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from lpmx_runtime.errors import storage_errors
from lpmx_runtime.launch import start as launch
from lpmx_runtime.union.tree import Hit, Shown, Tree, plan_file
from lpmx_runtime.union.view import check_result

if TYPE_CHECKING:
    from lpmx_runtime.container.record import Container
    from lpmx_runtime.store.store import Store

__all__ = ["WritableTree"]

_PATH_MAX = 4096


class WritableTree(Tree):
    """The tree of one container. Without @binds it is the union alone.

    StorageError: something that the tree needs cannot be read or made.
    """

    def __init__(self, store: Store, container: Container, *, binds: bool = True) -> None:
        self.container = container
        start = launch.plan_launch(store, container, launch.surroundings())
        with storage_errors(f"container {container.label}"):
            start.prepare()
            if binds:
                super().__init__(start.plan_file, container.label)
            else:
                with plan_file(replace(start.plan, binds=())) as path:
                    super().__init__(path, container.label)

    def shown(self, hit: Hit) -> Shown:
        """Owner, mode and device; files in binds keep the owner that the disk has."""
        known = self.describe(hit)
        one = self._shown
        if known or not hit.in_union:
            return Shown(one.mode, one.uid, one.gid, one.rdev)
        return Shown(one.mode, *self._default(one.uid, one.gid), one.rdev)

    def _default(self, uid: int, gid: int) -> tuple[int, int]:
        """Owner of an upper file that has no record."""
        if uid != os.geteuid():
            return uid, gid
        shown = self.container.identity
        return (shown.uid, shown.gid) if shown else (0, 0)

    # ---- changes
    def mkdir(self, path: bytes) -> Hit:
        """Make the directory @path, which must be absent, in a directory that exists.

        FileExistsError: it is there; OSError: it cannot be made.
        """
        hit = self.walk(path, follow=False)
        if not hit.absent:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(path))
        check_result(self._lib.host_mkdir(self._host, hit.raw, 0o755), os.fsdecode(path))
        return self.walk(path, follow=False)

    def temporary(self) -> bytes:
        """A free name on the file system of the container's files."""
        buffer = self._ffi.new("char[]", _PATH_MAX)
        self._check(self._lib.host_temp(self._host, buffer), b"work")
        return bytes(self._ffi.string(buffer))

    def publish(self, temporary: bytes, hit: Hit) -> None:
        """Move host file @temporary to the place of @hit, over a file there. OSError: it failed."""
        self._check(self._lib.host_prepare(self._host, hit.raw), hit.path)
        os.rename(temporary, hit.host)

    def set_owner(self, path: bytes, shown: Shown) -> None:
        """Give the file at host path @path owner and mode. OSError: they cannot be set."""
        one = self._ffi.new("struct owner_shown *")
        one.mode, one.uid, one.gid, one.rdev = shown.mode, shown.uid, shown.gid, shown.rdev
        check_result(self._lib.host_own(self._host, path, one), os.fsdecode(path))

    def set_directory_owner(self, hit: Hit, shown: Shown) -> None:
        """The same for a directory of the container, which is copied up first."""
        if not hit.in_union:
            os.chmod(hit.host, stat.S_IMODE(shown.mode))
            return
        self._check(self._lib.host_copy_up(self._host, hit.raw), hit.path)
        self.set_owner(hit.host, shown)
