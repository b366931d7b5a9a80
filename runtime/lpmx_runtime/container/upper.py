"""What a container has written, as it is shown, and what that is against the image below.

The upper directory is read with its records. Both `diff` and `commit` are made of this.
Owners, modes, devices and attributes come from the records (preload/uufs/change/owner.h); the
reading of them is the engine's own code.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lpmx_runtime.plans.plan import PlanError, parse_plan
from lpmx_runtime.union.view import check_result, load_library

from .marks import OPAQUE, PREFIX, escape, unescape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpmx_runtime.plans.plan import Bind
    from lpmx_runtime.union.view import View

    from .record import Container

__all__ = ["ADDED", "CHANGED", "DELETED", "Change", "Entry", "Records", "changes", "read_upper"]

ADDED, CHANGED, DELETED = "A", "C", "D"
_OURS = b"user.lpmx."
_OWNER = _OURS + b"owner"
_LIST_MAX = 1 << 16


@dataclass(frozen=True)
class Entry:
    """One name of the upper: what a layer's archive would say of it."""

    path: bytes  # relative to the root, clean
    mode: int  # type and all bits, as shown
    uid: int
    gid: int
    mtime_ns: int
    size: int  # bytes of a regular file, else 0
    rdev: int
    link: bytes  # target of a symlink
    inode: tuple[int, int]  # device and number
    nlink: int
    host: bytes = field(compare=False)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    whiteouts: tuple[bytes, ...] = ()  # of a directory: names of the layers that are gone
    opaque: bool = False  # of a directory: nothing of the layers shows in it
    recorded: bool = False  # something is remembered that the disk does not say

    @property
    def is_folder(self) -> bool:
        """Is it a directory?"""
        return stat.S_ISDIR(self.mode)


@dataclass(frozen=True)
class Change:
    """One line of `lpmx diff`."""

    kind: str  # ADDED, CHANGED or DELETED
    path: str  # absolute, of the container

    def as_dict(self) -> dict[str, str]:
        """For --json."""
        return {"kind": self.kind, "path": self.path}


class Records:
    """The extras of a container's files, by the engine's own code."""

    def __init__(self, container: Container) -> None:
        self._ffi, self._lib = load_library()
        self._work = os.fsencode(container.path("work"))
        self._beside = os.path.isdir(container.path("work/extra"))
        self._shown = self._ffi.new("struct owner_shown *")
        self._buffer = self._ffi.new("char[]", _LIST_MAX)

    def owner(self, host: bytes) -> Any:
        """What is remembered of @host: a struct owner_shown."""
        check_result(self._lib.owner_host_read(self._work, host, self._shown), os.fsdecode(host))
        return self._shown

    def xattrs(self, host: bytes, mode: int) -> dict[bytes, bytes]:
        """The attributes that programs see, by name."""
        found: dict[bytes, bytes] = {}
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            for name in _listxattr(host):
                shown = name.removeprefix(_OURS)
                if name != _OWNER and (name != shown or name.startswith(b"user.")):
                    found[shown] = os.getxattr(host, name, follow_symlinks=False)
        if self._beside:
            found |= self._kept_beside(host)
        return dict(sorted(found.items()))

    def _kept_beside(self, host: bytes) -> dict[bytes, bytes]:
        what = os.fsdecode(host)
        size = check_result(
            self._lib.owner_host_list(self._work, host, self._buffer, _LIST_MAX), what
        )
        names = bytes(self._ffi.buffer(self._buffer, size)).split(b"\0")[:-1]
        return {name: self._value(host, name) for name in names if name != b"owner"}

    def _value(self, host: bytes, name: bytes) -> bytes:
        size = check_result(
            self._lib.owner_host_get(self._work, host, name, self._buffer, _LIST_MAX),
            os.fsdecode(host),
        )
        return bytes(self._ffi.buffer(self._buffer, size))


def _listxattr(host: bytes) -> list[bytes]:
    try:
        return [os.fsencode(name) for name in os.listxattr(host, follow_symlinks=False)]
    except OSError as error:
        if error.errno in {errno.ENOTSUP, errno.ENOENT}:
            return []
        raise


def read_upper(container: Container) -> Iterator[Entry]:
    """All that @container has written, the root (empty path) first, in the order of names' bytes.

    Parents stand before what is in them, and names are those that programs see. Marks are facts of
    their directory, never entries. Sockets are left out: no archive has them. So are the places of
    binds that nothing was written to.
    """
    reader = _Reader(container)
    yield from reader.folder(b"", reader.top)


class _Reader:
    def __init__(self, container: Container) -> None:
        self.top = os.fsencode(container.path("upper"))
        self._records = Records(container)
        self._own = os.geteuid()
        shown = container.identity
        self._default = (shown.uid, shown.gid) if shown else (0, 0)
        binds = list(_binds(container))
        self._mounts = {os.fsencode(bind.dst.strip("/")) for bind in binds if not bind.seed}
        self._places = self._mounts | {os.fsencode(bind.dst.strip("/")) for bind in binds}

    def folder(self, path: bytes, host: bytes) -> Iterator[Entry]:
        names = sorted(os.fsencode(name) for name in os.listdir(host))
        present = {unescape(name) for name in names if not name.startswith(PREFIX)}
        hidden = [
            name[len(PREFIX) :]
            for name in names
            if name.startswith(PREFIX) and not name.startswith(PREFIX + PREFIX)
        ]
        entry = self._entry(path, host)
        below = (item for name in sorted(present) for item in self._name(path, host, name))
        gone = tuple(name for name in hidden if name not in present)
        opaque = OPAQUE in names
        first = next(below, None)
        if first is None and self._is_only_a_place(path, entry, gone, opaque):
            return
        yield _with_marks(entry, gone, opaque)
        if first is not None:
            yield first
        yield from below

    def _name(self, folder: bytes, place: bytes, name: bytes) -> Iterator[Entry]:
        path = folder + b"/" + name if folder else name
        host = os.path.join(place, escape(name))
        mode = os.lstat(host).st_mode
        if stat.S_ISDIR(mode):
            yield from self.folder(path, host)
        elif not stat.S_ISSOCK(mode) and path not in self._mounts:
            yield self._entry(path, host)

    def _is_only_a_place(
        self, path: bytes, entry: Entry, gone: tuple[bytes, ...], opaque: bool
    ) -> bool:
        """Was the directory, empty, made only for a bind to be seen at, or below, it?"""
        if not path or gone or opaque or entry.recorded:
            return False
        return path in self._mounts or any(m.startswith(path + b"/") for m in self._places)

    def _entry(self, path: bytes, host: bytes) -> Entry:
        status = os.lstat(host)
        shown = self._records.owner(host)
        if shown.known:
            uid, gid, mode, rdev = shown.uid, shown.gid, shown.mode, shown.rdev
        else:
            own = status.st_uid == self._own
            uid, gid = self._default if own else (status.st_uid, status.st_gid)
            mode, rdev = status.st_mode, status.st_rdev
        return Entry(
            path=path,
            mode=int(mode),
            uid=int(uid),
            gid=int(gid),
            mtime_ns=status.st_mtime_ns,
            size=status.st_size if stat.S_ISREG(mode) else 0,
            rdev=int(rdev),
            link=os.readlink(host) if stat.S_ISLNK(status.st_mode) else b"",
            inode=(status.st_dev, status.st_ino),
            nlink=status.st_nlink,
            host=host,
            xattrs=self._records.xattrs(host, status.st_mode),
            recorded=bool(shown.known),
        )


def _binds(container: Container) -> Iterator[Bind]:
    """Those it was made with, and those that its starts added: GPUs, jobs, commands."""
    yield from container.binds
    for name in os.listdir(container.folder):
        if name == "plan" or name.startswith("plan-"):
            with suppress(OSError, PlanError), open(container.path(name), "rb") as file:
                yield from parse_plan(file.read()).binds


def _with_marks(entry: Entry, gone: tuple[bytes, ...], opaque: bool) -> Entry:
    return replace(entry, whiteouts=gone, opaque=opaque)


def changes(container: Container, view: View) -> Iterator[Change]:
    """What @container has added, changed and deleted of the image whose @view it is.

    A directory in which something differs is itself changed, as with docker.
    """
    for entry in read_upper(container):
        lower = view.lookup(b"/" + entry.path, follow=False) if entry.path else view.node(0)
        if entry.path:
            yield Change(ADDED if lower is None else CHANGED, _shown_path(entry.path))
        if not entry.is_folder or lower is None or not stat.S_ISDIR(lower.mode):
            continue
        names = {node.name for node in view.children(lower)}
        gone = names & set(entry.whiteouts)
        if entry.opaque:
            gone |= {
                name
                for name in names
                if not os.path.lexists(os.path.join(entry.host, escape(name)))
            }
        for name in sorted(gone):
            yield Change(DELETED, _shown_path(entry.path + b"/" + name if entry.path else name))


def _shown_path(path: bytes) -> str:
    return "/" + os.fsdecode(path)
