"""The tree that a plan describes: walked, listed and described by the C library.

Nothing is started and nothing is written. Paths are bytes and the container's; `..` and symlinks
stay inside.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lpmx_runtime.plans.binds import find_bind
from lpmx_runtime.plans.plan import LaunchPlan, compile_plan

from ..errors import LpmxError, StorageError
from .view import load_library

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Self

    from lpmx_runtime.plans.plan import Bind
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["Hit", "Shown", "Tree", "plan_file"]

ABSENT, LOWER, UPPER, BIND = range(4)  # enum uufs_where
_FOLLOW, _MISSING, _NO_XDEV = 1, 2, 512  # enum uufs_how
_ENTRY = struct.Struct("<QqHB")  # struct linux_dirent64 up to the name
_LIST = 1 << 16
_PATH_MAX = 4096
_PLACE = "/.lpmx-bind"


@dataclass(frozen=True)
class Shown:
    """Owner, mode and device of a file as programs of the container see them."""

    mode: int
    uid: int
    gid: int
    rdev: int = 0


class Hit:
    """What a path of the container leads to."""

    def __init__(self, raw: Any, string: Any, *, at: bytes = b"", shown_at: bytes = b"") -> None:
        self.raw = raw
        self._string = string
        self._moved = at, shown_at  # the place of a bind in the tree, and in the container

    @property
    def host(self) -> bytes:
        """Its path on the host: of the file, or where a missing one would be created."""
        return bytes(self._string(self.raw.host))

    @property
    def path(self) -> bytes:
        """Its canonical path in the container."""
        path = bytes(self._string(self.raw.ctr)) or b"/"
        at, shown_at = self._moved
        return shown_at + path[len(at) :] if at and path.startswith(at) else path

    @property
    def absent(self) -> bool:
        """True when the directory exists and the name does not."""
        return int(self.raw.where) == ABSENT

    @property
    def in_union(self) -> bool:
        """False for a path below a bind."""
        return bool(self.raw.in_union)

    @property
    def bind(self) -> int:
        """Index of the bind it is in; -1 for the union."""
        return int(self.raw.bind)

    @property
    def read_only(self) -> bool:
        """True when programs cannot change it."""
        return bool(self.raw.read_only)

    def status(self) -> os.stat_result:
        """The file's metadata on the disk. OSError: it cannot be read."""
        return os.lstat(self.host)


class Tree:
    """The tree of one plan. Use `with`, or call close()."""

    def __init__(self, plan_file: str, label: str) -> None:
        """Open the compiled plan @plan_file; @label names the tree in errors.

        StorageError: the plan or a file that it names cannot be read.
        """
        self.label = label
        self._ffi, self._lib = load_library()
        error = self._ffi.new("int *")
        self._host = self._lib.host_open(os.fsencode(plan_file), error)
        if self._host == self._ffi.NULL:
            raise StorageError(f"{label}: {os.strerror(-error[0])}: {plan_file}")
        self._shown = self._ffi.new("struct owner_shown *")
        self._plan: LaunchPlan | None = None
        self._below: dict[str, Tree] = {}

    @classmethod
    def of_plan(cls, plan: LaunchPlan, label: str = "") -> Tree:
        """The tree of @plan, which need not be on any disk; one never started has no upper yet.

        StorageError as above.
        """
        with plan_file(plan) as path:
            tree = cls(path, label or f"container {plan.container}")
        tree._plan = plan
        return tree

    @classmethod
    def of_image(cls, store: Store, image: Image, binds: Iterable[Bind] = ()) -> Tree:
        """The tree of @image's layers, below @binds. StorageError as above."""
        plan = LaunchPlan(
            loader="/",  # nothing is started
            view=os.fspath(store.view_path(image.chain_id)),
            layers=tuple(os.fspath(store.layer_fs(one)) for one in image.stack),
            stores=(),
            argv=(),
            binds=tuple(binds),
            read_only=True,
        )
        return cls.of_plan(plan, f"image {image.name}")

    def close(self) -> None:
        """Release the plan and what it maps."""
        for tree in self._below.values():
            tree.close()
        if self._host != self._ffi.NULL:
            self._lib.host_close(self._host)
            self._host = self._ffi.NULL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_host", None) is not None:
            self.close()

    # ---- walking
    def walk(self, path: bytes, *, follow: bool = True, cross_binds: bool = True) -> Hit:
        """What @path, from the root, leads to.

        A symlink at its end is followed if @follow. A missing last name is a hit that is `absent`;
        OSError reports everything else that is wrong: with EXDEV, a bind on the way without
        @cross_binds.
        """
        if b"\0" in path:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(path))
        raw = self._ffi.new("struct uufs_hit *")
        how = _MISSING | (_FOLLOW if follow else 0) | (0 if cross_binds else _NO_XDEV)
        result = self._lib.host_walk(self._host, b"/", path, how, raw)
        if result == -errno.ENOENT and (bind := self._bind_of(path)) is not None:
            return self._walk_below(bind, path, follow=follow, cross_binds=cross_binds)
        self._check(result, path)
        return Hit(raw, self._ffi.string)

    def _bind_of(self, path: bytes) -> Bind | None:
        """The bind that the text of @path leads into.

        A start makes the directories above a bind; before the first one there may be none.
        """
        if self._plan is None:
            return None
        return find_bind(self._plan.binds, os.path.normpath(os.fsdecode(path)))

    def _walk_below(self, bind: Bind, path: bytes, *, follow: bool, cross_binds: bool) -> Hit:
        """What @path leads to, by a tree that has @bind directly below its root as well."""
        if not cross_binds:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), os.fsdecode(path))
        assert self._plan is not None
        if bind.dst not in self._below:
            extra = replace(bind, dst=_PLACE)
            with plan_file(replace(self._plan, binds=(*self._plan.binds, extra))) as file:
                self._below[bind.dst] = Tree(file, self.label)
        place, dst = os.fsencode(_PLACE), os.fsencode(bind.dst)
        rest = os.path.normpath(path)[len(dst) :]
        hit = self._below[bind.dst].walk(place + rest, follow=follow)
        return Hit(hit.raw, self._ffi.string, at=place, shown_at=dst)

    def find(self, path: bytes, *, follow: bool = True) -> Hit | None:
        """The same; None where @path leads to nothing."""
        try:
            hit = self.walk(path, follow=follow)
        except OSError:
            return None
        return None if hit.absent else hit

    def _check(self, result: int, path: bytes) -> int:
        if result < 0:
            raise OSError(-result, os.strerror(-result), f"{self.label}:{os.fsdecode(path)}")
        return result

    def link(self, path: bytes) -> bytes:
        """The target of the symlink at @path; b"" for everything else."""
        hit = self.find(path, follow=False)
        if hit is None or not stat.S_ISLNK(self.kind(hit)):
            return b""
        return os.readlink(hit.host)

    # ---- metadata
    def kind(self, hit: Hit) -> int:
        """The file type bits of @hit. OSError: the disk does not tell them."""
        return int(hit.raw.type) or stat.S_IFMT(hit.status().st_mode)

    def shown(self, hit: Hit) -> Shown:
        """Owner, mode and device as recorded, else as the disk has them."""
        self.describe(hit)
        one = self._shown
        return Shown(one.mode, one.uid, one.gid, one.rdev)

    def describe(self, hit: Hit) -> bool:
        """Fill in what is shown of @hit; True when the layer or a record contains it."""
        self._check(self._lib.host_shown(self._host, hit.raw, self._shown), hit.path)
        return bool(self._shown.known)

    def from_host(self, path: bytes) -> bytes | None:
        """The container path of host path @path, as the kernel reports it; None: not shown.

        Another file may be at that path by now: see `paths.inside_path`.
        """
        buffer = self._ffi.new("char[]", _PATH_MAX)
        if self._lib.host_from_host(self._host, path, buffer, _PATH_MAX) < 0:
            return None
        return bytes(self._ffi.string(buffer))

    # ---- contents
    def names(self, hit: Hit) -> list[bytes]:
        """The names in a directory, sorted. OSError: it cannot be read."""
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
        """A descriptor for reading a regular file. OSError: it cannot be opened."""
        return os.open(hit.host, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)

    def read(self, path: bytes, limit: int) -> bytes:
        """The contents of the regular file at @path, at most @limit bytes.

        LpmxError: it is missing, something else than a file, too large, or cannot be read.
        """
        name = os.fsdecode(path)
        try:
            hit = self.walk(path)
            if hit.absent:
                raise LpmxError(f"{name}: no such file in {self.label}")
            if not stat.S_ISREG(self.kind(hit)):
                raise LpmxError(f"{name}: not a file")
            with open(self.open(hit), "rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise LpmxError(f"{name}: {reason} in {self.label}") from error
        if len(data) > limit:
            raise LpmxError(f"{name}: larger than {limit >> 20} MiB")
        return data


@contextlib.contextmanager
def plan_file(plan: LaunchPlan) -> Iterator[str]:
    """A file in memory with what a tree needs of @plan. OSError, PlanError."""
    plan = replace(plan, argv=(), env=(), commands=(), ports=(), agent=False)
    if plan.dirty and not os.path.exists(plan.dirty):
        plan = replace(plan, upper="", work="", dirty="")
    data = compile_plan(plan)
    with open(os.memfd_create("plan", os.MFD_CLOEXEC), "wb", buffering=0) as file:
        file.write(data)
        yield f"/proc/self/fd/{file.fileno()}"


def _entries(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length = _ENTRY.unpack_from(data, at)[2]
        yield data[at + _ENTRY.size : at + length].partition(b"\0")[0]
        at += length
