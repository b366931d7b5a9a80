"""A container's file tree from outside: names walked, listed and made by the engine's own rules.

A thin wrapper of preload/uufs/host.h by cffi. Nothing has to run in the container; what runs there
sees a new name at once. Paths are bytes and the container's; `..` and symlinks stay inside.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from . import launch
from .container import write_file
from .errors import StorageError, storage_errors
from .plan import compile_plan
from .view import check_result, load_library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .container import Container
    from .plan import LaunchPlan
    from .store import Store

__all__ = ["Hit", "Shown", "Union"]

ABSENT, LOWER, UPPER, BIND = range(4)  # enum uufs_where
_FOLLOW, _MISSING = 1, 2  # enum uufs_how
_ENTRY = struct.Struct("<QqHB")  # struct linux_dirent64 up to the name
_LIST = 1 << 16
_PATH_MAX = 4096


@dataclass(frozen=True)
class Shown:
    """Whose a file is, and of what kind, as a container under root emulation shows it."""

    mode: int
    uid: int
    gid: int
    rdev: int = 0


class Hit:
    """What a path of the container leads to."""

    def __init__(self, raw: Any, string: Any) -> None:
        self.raw = raw
        self._string = string

    @property
    def host(self) -> bytes:
        """Where it is, or would be, on the host."""
        return bytes(self._string(self.raw.host))

    @property
    def path(self) -> bytes:
        """Its canonical path in the container."""
        return bytes(self._string(self.raw.ctr)) or b"/"

    @property
    def absent(self) -> bool:
        """The folder is there, the name is not."""
        return int(self.raw.where) == ABSENT

    @property
    def in_union(self) -> bool:
        """False for what lies in a bind."""
        return bool(self.raw.in_union)

    @property
    def bind(self) -> int:
        """The bind it lies in, by number; -1 for the union."""
        return int(self.raw.bind)

    @property
    def read_only(self) -> bool:
        """It cannot be changed."""
        return bool(self.raw.read_only)

    def status(self) -> os.stat_result:
        """What the disk says of it."""
        return os.lstat(self.host)


class Union:
    """The tree of one container. Use `with`. Without @binds it is the container's own alone."""

    def __init__(self, store: Store, container: Container, *, binds: bool = True) -> None:
        self.container = container
        start = launch.plan_launch(store, container, launch.surroundings())
        self._ffi, self._lib = load_library()
        with storage_errors(f"container {container.label}"):
            start.prepare()
            if binds:
                self._host = self._open(start.plan_file)
            else:
                self._host = self._open_own(start.plan)
        self._shown = self._ffi.new("struct owner_shown *")

    def _open(self, plan_file: str) -> Any:
        error = self._ffi.new("int *")
        host = self._lib.host_open(os.fsencode(plan_file), error)
        if host == self._ffi.NULL:
            reason = os.strerror(-error[0])
            raise StorageError(f"container {self.container.label}: {reason}: {plan_file}")
        return host

    def _open_own(self, plan: LaunchPlan) -> Any:
        """By a plan of this process alone; gc removes it from work/ after a kill."""
        own = replace(plan, binds=(), commands=(), agent=False, env=())
        path = self.container.path(f"work/tmp.own-{os.getpid()}-{os.urandom(4).hex()}")
        write_file(path, compile_plan(own))
        try:
            return self._open(path)
        finally:
            os.unlink(path)

    def close(self) -> None:
        """Let go of it."""
        self._lib.host_close(self._host)
        self._host = self._ffi.NULL

    def __enter__(self) -> Union:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def walk(self, path: bytes, *, follow: bool = True) -> Hit:
        """What @path, from the root, leads to; the last symlink followed if @follow.

        A missing last name is a hit that is `absent`; OSError for whatever else is wrong.
        """
        raw = self._ffi.new("struct uufs_hit *")
        how = _MISSING | (_FOLLOW if follow else 0)
        self._check(self._lib.host_walk(self._host, b"/", path, how, raw), path)
        return Hit(raw, self._ffi.string)

    def _check(self, result: int, path: bytes) -> int:
        if result < 0:
            shown = f"{self.container.label}:{os.fsdecode(path)}"
            raise OSError(-result, os.strerror(-result), shown)
        return result

    def shown(self, hit: Hit) -> Shown:
        """Owner, mode and device; the user's own files in binds are the user's."""
        self._check(self._lib.host_shown(self._host, hit.raw, self._shown), hit.path)
        one = self._shown
        if one.known or not hit.in_union:
            return Shown(one.mode, one.uid, one.gid, one.rdev)
        return Shown(one.mode, *self._default(one.uid, one.gid), one.rdev)

    def _default(self, uid: int, gid: int) -> tuple[int, int]:
        """Whose an upper file without a record is."""
        if uid != os.geteuid():
            return uid, gid
        shown = self.container.identity
        return (shown.uid, shown.gid) if shown else (0, 0)

    def names(self, hit: Hit) -> list[bytes]:
        """The names in a directory, sorted."""
        fd = os.open(hit.host, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        buffer = self._ffi.new("char[]", _LIST)
        found = []
        try:
            while size := self._check(
                self._lib.host_list(self._host, hit.raw, fd, buffer, _LIST), hit.path
            ):
                found += list(_entries(bytes(self._ffi.buffer(buffer, size))))
        finally:
            os.close(fd)
        return sorted(name for name in found if name not in {b".", b".."})

    def open(self, hit: Hit) -> int:
        """A descriptor for reading a regular file."""
        return os.open(hit.host, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)

    # ---- changes
    def mkdir(self, path: bytes) -> Hit:
        """Make the directory @path, which must be absent; its parent must be there."""
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
        """Move @temporary to where @hit is, over whatever is there that is no directory."""
        self._check(self._lib.host_prepare(self._host, hit.raw), hit.path)
        os.rename(temporary, hit.host)

    def own(self, path: bytes, shown: Shown) -> None:
        """Give a file of ours, at host path @path, owner and mode."""
        one = self._ffi.new("struct owner_shown *")
        one.mode, one.uid, one.gid, one.rdev = shown.mode, shown.uid, shown.gid, shown.rdev
        check_result(self._lib.host_own(self._host, path, one), os.fsdecode(path))

    def own_folder(self, hit: Hit, shown: Shown) -> None:
        """The same for a directory of the container, which then is its own."""
        if not hit.in_union:
            os.chmod(hit.host, stat.S_IMODE(shown.mode))
            return
        self._check(self._lib.host_copy_up(self._host, hit.raw), hit.path)
        self.own(hit.host, shown)


def _entries(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length = _ENTRY.unpack_from(data, at)[2]
        yield data[at + _ENTRY.size : at + length].partition(b"\0")[0]
        at += length
