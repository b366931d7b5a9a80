"""`lpmx cp`: files between the host, containers and tar streams, by docker's rules.

A source yields items, parents first; a target takes them. What `docker cp` says of paths, trailing
slashes and `/.` is in `plan_copy`; nothing else here knows of it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol

from lpmx_runtime.errors import ArchiveError, LpmxError, NotFoundError, UsageError
from lpmx_runtime.images.extract import clean_name
from lpmx_runtime.union.tree import Shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .tree import WritableTree

__all__ = ["ContainerTree", "Item", "LocalTree", "Tree", "copy", "read_tar", "write_tar"]

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Item:
    """One thing to be copied."""

    path: bytes  # relative to what is copied; b"" is the thing itself
    shown: Shown
    mtime_ns: int
    size: int = 0
    link: bytes = b""
    inode: tuple[int, int] | None = None  # of a file with several names
    read: Callable[[], IO[bytes]] | None = None  # of a regular file

    @property
    def kind(self) -> int:
        """S_IFMT bits."""
        return stat.S_IFMT(self.shown.mode)


class Tree(Protocol):
    """One side of a copy: the host, or a container."""

    label: str

    def kind(self, path: bytes, *, follow: bool) -> int:
        """S_IFMT bits of @path, 0 when it is not there but its folder is."""

    def items(self, path: bytes, *, follow: bool) -> Iterator[Item]:
        """@path and all below it; @follow is for @path alone."""

    def put(self, folder: bytes, item: Item, *, archive: bool) -> None:
        """Make @item at @folder/item.path; a directory that is there is kept."""

    def settle(self) -> None:
        """All is there: what had to wait for that."""


def _status_item(path: bytes, status: os.stat_result, shown: Shown, host: bytes) -> Item:
    regular = stat.S_ISREG(shown.mode)
    return Item(
        path=path,
        shown=shown,
        mtime_ns=status.st_mtime_ns,
        size=status.st_size if regular else 0,
        link=os.readlink(host) if stat.S_ISLNK(status.st_mode) else b"",
        inode=(status.st_dev, status.st_ino)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode)
        else None,
        read=(lambda: open(_open(host), "rb")) if regular else None,
    )


def _open(host: bytes) -> int:
    return os.open(host, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)


def _pour(item: Item, fd: int) -> None:
    """The contents of @item into @fd, and close it."""
    assert item.read is not None
    with open(fd, "wb") as out, item.read() as data:
        shutil.copyfileobj(data, out, _BLOCK)


class LocalTree:
    """The host's files."""

    def __init__(self) -> None:
        self.label = "host"
        self._links: dict[tuple[int, int], bytes] = {}
        self._times: list[tuple[bytes, Item]] = []

    def kind(self, path: bytes, *, follow: bool) -> int:
        """S_IFMT bits of @path, 0 when it is not there but its folder is."""
        try:
            return stat.S_IFMT((os.stat if follow else os.lstat)(path).st_mode)
        except FileNotFoundError:
            os.stat(os.path.dirname(path.rstrip(b"/")) or b".")
            return 0

    def items(self, path: bytes, *, follow: bool) -> Iterator[Item]:
        """@path and all below it."""
        top = os.path.realpath(path) if follow else path.rstrip(b"/") or b"/"
        yield from self._walk(top, b"")

    def _walk(self, host: bytes, path: bytes) -> Iterator[Item]:
        status = os.lstat(host)
        shown = Shown(status.st_mode, status.st_uid, status.st_gid, status.st_rdev)
        yield _status_item(path, status, shown, host)
        if stat.S_ISDIR(status.st_mode):
            for name in sorted(os.listdir(host)):
                below = path + b"/" + name if path else name
                yield from self._walk(os.path.join(host, name), below)

    def put(self, folder: bytes, item: Item, *, archive: bool) -> None:
        """Make @item below @folder, the user's own; with @archive owned as far as the user may."""
        path = os.path.join(folder, item.path) if item.path else folder
        old = self._kind_at(path)
        if item.kind == stat.S_IFDIR:
            self._folder(path, item, old)
        elif old == stat.S_IFDIR:
            raise _is_folder(os.fsdecode(path))
        elif item.inode and item.inode in self._links:
            first = self._links[item.inode]
            self._replace(path, lambda new: os.link(first, new))
        elif item.kind == stat.S_IFREG:
            self._replace(path, lambda new: _pour(item, os.open(new, _NEW, 0o600)))
        elif item.kind == stat.S_IFLNK:
            self._replace(path, lambda new: os.symlink(item.link, new))
        elif item.kind == stat.S_IFIFO:
            self._replace(path, os.mkfifo)
        elif item.kind == stat.S_IFSOCK:
            return
        else:
            self._replace(path, lambda new: os.mknod(new, item.shown.mode, item.shown.rdev))
        if item.inode:
            self._links.setdefault(item.inode, path)
        self._finish(path, item, archive=archive)

    @staticmethod
    def _kind_at(path: bytes) -> int:
        try:
            return stat.S_IFMT(os.lstat(path).st_mode)
        except FileNotFoundError:
            return 0

    @staticmethod
    def _folder(path: bytes, item: Item, old: int) -> None:
        if not old:
            os.mkdir(path, 0o700)
        elif old != stat.S_IFDIR and not (item.path == b"" and os.path.isdir(path)):
            raise LpmxError(f"{os.fsdecode(path)}: exists and is not a directory")

    @staticmethod
    def _replace(path: bytes, make: Callable[[bytes], object]) -> None:
        temporary = path + b".%d.lpmx-cp" % os.getpid()
        try:
            make(temporary)
            os.rename(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # rename does nothing between two names of one file

    def _finish(self, path: bytes, item: Item, *, archive: bool) -> None:
        if archive:
            with contextlib.suppress(PermissionError):
                os.chown(path, item.shown.uid, item.shown.gid, follow_symlinks=False)
        if item.kind == stat.S_IFDIR:
            self._times.append((path, item))
            return
        if item.kind != stat.S_IFLNK:
            # setuid bits only where the owner is the one they were meant for
            bits = 0o7777 if archive and os.geteuid() == 0 else 0o777
            os.chmod(path, item.shown.mode & bits)
        os.utime(path, ns=(item.mtime_ns, item.mtime_ns), follow_symlinks=False)

    def settle(self) -> None:
        """Give directories their modes and times."""
        for path, item in reversed(self._times):
            os.chmod(path, item.shown.mode & 0o777)
            os.utime(path, ns=(item.mtime_ns, item.mtime_ns))
        self._times.clear()


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def _is_folder(where: str) -> LpmxError:
    return LpmxError(f"{where}: is a directory, and what is copied is none")


class ContainerTree:
    """A container's files.

    @own opens the same tree without binds: what is below a place of the union is copied from that,
    so that the host's files are copied only where a path in a bind was named itself.
    """

    def __init__(self, union: WritableTree, own: Callable[[], WritableTree]) -> None:
        self.label = union.container.label
        self._union = union
        self._own = own
        self._links: dict[tuple[int, int], bytes] = {}
        self._times: list[tuple[bytes, int]] = []

    def kind(self, path: bytes, *, follow: bool) -> int:
        """S_IFMT bits of @path, 0 when it is not there but its folder is."""
        hit = self._union.walk(path, follow=follow)
        return 0 if hit.absent else stat.S_IFMT(self._union.shown(hit).mode)

    def items(self, path: bytes, *, follow: bool) -> Iterator[Item]:
        """@path and all below it."""
        top = self._union.walk(path, follow=follow)
        union = self._own() if top.in_union else self._union
        yield from self._walk(union, top.path, b"", top.bind)

    def _walk(self, union: WritableTree, place: bytes, path: bytes, bind: int) -> Iterator[Item]:
        hit = union.walk(place, follow=False)
        if hit.absent or hit.bind != bind:
            return  # gone meanwhile, or another place of the host
        item = _status_item(path, hit.status(), union.shown(hit), hit.host)
        yield item
        if item.kind == stat.S_IFDIR:
            for name in union.names(hit):
                below = path + b"/" + name if path else name
                yield from self._walk(union, place.rstrip(b"/") + b"/" + name, below, bind)

    def put(self, folder: bytes, item: Item, *, archive: bool) -> None:
        """Make @item below @folder: root's, or with @archive the source's."""
        path = folder.rstrip(b"/") + b"/" + item.path if item.path else folder
        owner = (item.shown.uid, item.shown.gid) if archive else (0, 0)
        shown = Shown(item.shown.mode, *owner, item.shown.rdev)
        if item.kind == stat.S_IFSOCK:
            return
        hit = self._union.walk(path, follow=False)
        if hit.read_only:
            raise self._error(errno.EROFS, path)
        if not hit.in_union and hit.bind != self._union.walk(folder).bind:
            raise LpmxError(
                f"{self.label}:{os.fsdecode(path)}: a symlink leads to a bind of the host",
                hint="name that place itself, if it is meant",
            )
        is_folder = not hit.absent and stat.S_ISDIR(self._union.shown(hit).mode)
        if item.kind == stat.S_IFDIR:
            self._folder(path, item, shown, absent=hit.absent, is_folder=is_folder)
        elif is_folder:
            raise _is_folder(f"{self.label}:{os.fsdecode(path)}")
        elif hit.in_union:
            self._publish(path, item, shown)
        else:
            self._put_in_bind(hit.host, item)

    def _error(self, number: int, path: bytes) -> OSError:
        return OSError(number, os.strerror(number), f"{self.label}:{os.fsdecode(path)}")

    def _folder(
        self, path: bytes, item: Item, shown: Shown, *, absent: bool, is_folder: bool
    ) -> None:
        if not absent and not is_folder:
            if item.path == b"" and self.kind(path, follow=True) == stat.S_IFDIR:
                return  # a symlink to the directory that was named as the place
            where = f"{self.label}:{os.fsdecode(path)}"
            raise LpmxError(f"{where}: exists and is not a directory")
        if absent:
            self._union.mkdir(path)
        elif item.path == b"":
            return  # a directory named as the place keeps its own owner and mode
        self._union.set_directory_owner(self._union.walk(path, follow=False), shown)
        self._times.append((path, item.mtime_ns))

    def _publish(self, path: bytes, item: Item, shown: Shown) -> None:
        temporary = self._union.temporary()
        first = self._links.get(item.inode) if item.inode else None
        try:
            if first is not None:
                os.link(first, temporary, follow_symlinks=False)
            else:
                _make(temporary, item)
                self._union.set_owner(temporary, shown)
                os.utime(temporary, ns=(item.mtime_ns, item.mtime_ns), follow_symlinks=False)
            hit = self._union.walk(path, follow=False)
            self._union.publish(temporary, hit)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if item.inode and first is None:
            self._links[item.inode] = self._union.walk(path, follow=False).host

    @staticmethod
    def _put_in_bind(host: bytes, item: Item) -> None:
        local = LocalTree()
        local.put(host, Item(b"", item.shown, item.mtime_ns, item.size, item.link, None, item.read),
                  archive=False)  # fmt: skip
        local.settle()

    def settle(self) -> None:
        """Give directories their times."""
        for path, mtime_ns in reversed(self._times):
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._union.walk(path, follow=False).host, ns=(mtime_ns, mtime_ns))
        self._times.clear()


def _make(path: bytes, item: Item) -> None:
    """@item at the free host path @path; a device is an empty file, and one in its record only."""
    if item.kind == stat.S_IFREG:
        _pour(item, os.open(path, _NEW, 0o600))
    elif item.kind == stat.S_IFLNK:
        os.symlink(item.link, path)
    elif item.kind == stat.S_IFIFO:
        os.mkfifo(path, 0o600)
    else:
        os.close(os.open(path, _NEW, 0o600))


# ---- tar


def read_tar(stream: IO[bytes]) -> Iterator[Item]:
    """The members of a tar on standard input, compressed or not, as items."""
    try:
        with tarfile.open(fileobj=stream, mode="r|*", errors="surrogateescape") as tar:
            files: dict[bytes, tuple[int, int]] = {}  # a number for each, by which links find it
            for member in tar:
                if item := _member_item(tar, member, files):
                    yield item
    except tarfile.TarError as error:
        raise ArchiveError(f"standard input: {error}", hint="give a tar archive") from error


_TAR_KINDS = {
    tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK, tarfile.FIFOTYPE: stat.S_IFIFO,
    tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK,
}  # fmt: skip


def _member_item(
    tar: tarfile.TarFile, member: tarfile.TarInfo, files: dict[bytes, tuple[int, int]]
) -> Item | None:
    path = clean_name(os.fsencode(member.name))
    kind = stat.S_IFREG if member.isreg() else _TAR_KINDS.get(member.type, 0)
    inode = None
    if member.islnk():
        inode = files.get(clean_name(os.fsencode(member.linkname)))
        if inode is None:
            raise ArchiveError(f"{member.name}: a hard link to nothing before it in the archive")
        kind = stat.S_IFREG
    elif not member.isdir():
        inode = files[path] = (-1, len(files))
    if not kind:
        return None
    rdev = os.makedev(member.devmajor, member.devminor) if member.isdev() else 0
    shown = Shown(kind | stat.S_IMODE(member.mode), member.uid, member.gid, rdev)
    data = tar.extractfile(member) if member.isreg() else None
    return Item(
        path=path,
        shown=shown,
        mtime_ns=int(member.mtime * 1_000_000_000),
        size=member.size,
        link=os.fsencode(member.linkname) if member.issym() else b"",
        inode=inode,
        read=(lambda: data or io.BytesIO()) if member.isreg() else None,
    )


def write_tar(items: Iterator[Item], name: bytes, stream: IO[bytes]) -> None:
    """@items as a tar whose members are below @name."""
    links: dict[tuple[int, int], str] = {}
    with tarfile.open(
        fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, errors="surrogateescape"
    ) as tar:
        for item in items:
            if item.kind == stat.S_IFSOCK:
                continue
            path = name + b"/" + item.path if item.path else name
            info = tarfile.TarInfo(os.fsdecode(path))
            info.mode, info.uid, info.gid = (
                stat.S_IMODE(item.shown.mode), item.shown.uid, item.shown.gid,
            )  # fmt: skip
            info.mtime = item.mtime_ns // 1_000_000_000
            if item.inode in links:
                info.type, info.linkname = tarfile.LNKTYPE, links[item.inode]
            elif item.kind == stat.S_IFREG:
                info.size = item.size
            else:
                info.type = {kind: tag for tag, kind in _TAR_KINDS.items()}[item.kind]
                info.linkname = os.fsdecode(item.link)
                info.devmajor, info.devminor = os.major(item.shown.rdev), os.minor(item.shown.rdev)
            if item.inode:
                links.setdefault(item.inode, info.name)
            if info.isreg() and item.read is not None:
                with item.read() as data:
                    tar.addfile(info, data)
            else:
                tar.addfile(info)


# ---- docker's rules


def copy(
    source: Tree, path: bytes, target: Tree, place: bytes, *, archive: bool, follow: bool
) -> None:
    """Copy @path of @source to @place of @target, which decide what it will be called.

    The rules are those of docker's reference page for `docker container cp`.
    """
    contents = path.rstrip(b"/").endswith(b"/.") or path == b"."
    slash = path.endswith(b"/") or contents
    kind = source.kind(path, follow=follow or slash)
    if not kind:
        raise NotFoundError(f"{_say(source, path)}: no such file or directory")
    if slash and kind != stat.S_IFDIR:
        raise UsageError(f"{_say(source, path)}: not a directory")
    folder = _place(kind, path, target, place, contents=contents)
    try:
        for item in source.items(path, follow=follow or slash):
            target.put(folder, item, archive=archive)
    finally:
        target.settle()


def _place(kind: int, path: bytes, target: Tree, place: bytes, *, contents: bool) -> bytes:
    """What the copy will be called in @target."""
    there = target.kind(place, follow=True)
    if there == stat.S_IFDIR:
        if contents and kind == stat.S_IFDIR:
            return place
        name = os.path.basename(os.path.normpath(path))
        if name in {b"", b"/", b".", b".."}:
            return place
        return place.rstrip(b"/") + b"/" + name
    if there and kind == stat.S_IFDIR:
        raise UsageError(f"{_say(target, place)}: a file, and a directory cannot be copied to it")
    if place.endswith(b"/") and kind != stat.S_IFDIR:
        raise NotFoundError(
            f"{_say(target, place)}: no such directory", hint="make it first, or leave the / out"
        )
    return place.rstrip(b"/")


def _say(tree: Tree, path: bytes) -> str:
    name = os.fsdecode(path)
    return name if isinstance(tree, LocalTree) else f"{tree.label}:{name}"
