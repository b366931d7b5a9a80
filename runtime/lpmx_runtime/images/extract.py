"""A layer's archive becomes a tree on disk and a layer view.

The archive is not trusted. Names are resolved in a tree in memory (layertree.py), never by the
kernel: each disk operation is one name in a folder that we made and hold open, so neither `..`, nor
symlinks, nor absolute names, nor whatever order the members come in leads out of the layer. What a
user may not or should not make on disk (owners, devices, setuid bits) is kept in the view.
Whiteouts are told by name alone, whatever the member's type: real archives have them as hard links.
"""

from __future__ import annotations

import errno
import os
import stat
from array import array
from typing import TYPE_CHECKING

from lpmx_runtime.errors import ArchiveError
from lpmx_runtime.tar.reader import BLOCK_DEVICE as BLOCK
from lpmx_runtime.tar.reader import (
    CHAR,
    FIFO,
    FOLDER,
    HARDLINK,
    REGULAR,
    SYMLINK,
    ByteStream,
    Member,
    TarReader,
)
from lpmx_runtime.union.view import OPAQUE

from .layertree import MISSING, ROOT, TAKEN, LayerTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lpmx_runtime.tar.split import SplitWriter

__all__ = ["Extraction", "extract_layer"]

_PREFIX = b".wh."
_OPAQUE_NAME = b".wh..wh..opq"
_META_PREFIX = b".wh..wh."
MAX_PATH = 4095
MAX_NAME = 255
MAX_LINKS = 40
MAX_OPEN = 64  # folders held open
MAX_KNOWN = 4096  # paths of folders remembered
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_TYPES = {CHAR: stat.S_IFCHR, BLOCK: stat.S_IFBLK, FIFO: stat.S_IFIFO}
_NO_XATTR = {
    errno.ENOTSUP,
    errno.EPERM,
    errno.EACCES,
    errno.ENOSPC,
    errno.E2BIG,
    errno.ERANGE,
    errno.EINVAL,
}
_OUR_XATTR = b"user.lpmx."  # what a container's writes keep beside files: an image has no say in it
# What only root may set is kept under a name of ours (preload/uufs/change/extra.h); not what a
# security module of the machine that made the layer has put on every file.
_KEPT_XATTRS = (b"security.capability", b"trusted.")
_NOT_KEPT = (b"trusted.overlay.",)


class _NoFolderError(ArchiveError):
    """A folder is asked for that the layer does not have; @path is what layers below may have."""

    def __init__(self, message: str, path: bytes) -> None:
        super().__init__(message)
        self.path = path


class Extraction:
    """Extracts the members of one layer below the empty folder @target."""

    def __init__(self, target: str | os.PathLike[str], split: SplitWriter | None = None) -> None:
        self._split = split
        self._contents = 0  # files that the split has a number for
        self._tree = LayerTree()
        self._fds: dict[int, int] = {}
        self._root_fd = os.open(target, _OPEN_FOLDER)
        self._known = {b"": ROOT}  # folders by the path archives call them, as many as fit
        self._xattrs: dict[int, dict[bytes, bytes]] = {}  # of folders
        self._lower: dict[int, bytes] = {}  # empty files that stand for links to lower layers
        self._again = array("I")  # hard links change what the first name's stat said
        self._umask = _umask()
        self.entries = 0
        self.size = 0  # of all files, hard links once; known after write_view()

    def close(self) -> None:
        """Close the folders that are held open."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
        if self._root_fd >= 0:
            os.close(self._root_fd)
            self._root_fd = -1

    def __enter__(self) -> Extraction:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- members
    def add(self, member: Member, stream: ByteStream) -> None:
        """Put one member where it belongs."""
        path = clean_name(member.name)
        self.entries += 1
        parent_path, _, name = path.rpartition(b"/")
        if b".wh." in path and self._reserved(path, parent_path, name):
            return
        if not name:
            if member.kind == FOLDER:
                self._describe(ROOT, member)
            return
        parent = self._known.get(parent_path)
        if parent is None:
            parent = self._resolve(parent_path)
        try:
            self._place(member, parent, name, stream)
        except OSError as error:
            if error.errno in {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}:
                raise ArchiveError(f"{_show(member.name)}: a name that the disk refuses") from error
            raise

    def _place(self, member: Member, parent: int, name: bytes, stream: ByteStream) -> None:
        kind = member.kind
        if kind == FOLDER:
            self._folder(member, parent, name)
            return
        source = self._link_source(member) if kind == HARDLINK else None
        node = self._tree.make(parent, name)
        if node == TAKEN:
            self._clear_place(member, self._tree.child(parent, name), source)
            node = self._tree.make(parent, name)
        if node < 0:
            raise _unmade(member.name, node)
        if source is not None:
            self._hardlink(node, parent, name, source)
        elif kind == HARDLINK:
            self._lower_link(node, parent, name, member)
        elif kind == REGULAR:
            self._file(node, parent, name, member, stream)
        elif kind == SYMLINK:
            self._symlink(node, parent, name, member)
        elif kind in _TYPES:
            self._special(node, parent, name, member)
        else:
            raise ArchiveError(f"{_show(member.name)}: a member of unknown type {kind!r}")

    def _clear_place(self, member: Member, old: int, source: int | None) -> None:
        """Take away what the archive had at this member's name before."""
        if old == source:
            raise ArchiveError(f"{_show(member.name)}: a hard link to itself")
        if source is not None and self._is_below(source, old):
            raise ArchiveError(f"{_show(member.name)}: a hard link in place of its own source")
        self._remove(old)

    def _is_below(self, node: int, top: int) -> bool:
        while node not in {top, ROOT}:
            node = self._tree.info(node).parent
        return node == top

    def _file(
        self, node: int, parent: int, name: bytes, member: Member, stream: ByteStream
    ) -> None:
        mode = (member.mode & 0o777) | 0o400
        fd = os.open(name, _NEW_FILE, mode, dir_fd=self._fd(parent))
        try:
            if member.pieces is not None:
                for offset, length in member.pieces:
                    os.lseek(fd, offset, os.SEEK_SET)
                    self._note(node, offset, length)
                    stream.copy(length, fd)
                os.ftruncate(fd, member.real_size)
            elif member.size:
                self._note(node, 0, member.size)
                stream.copy(member.size, fd)
            if member.xattrs:
                _set_xattrs(fd, member.xattrs)
            if mode & self._umask:
                os.fchmod(fd, mode)
            os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))
            self._tree.describe(node, member, stat.S_IFREG)
            self._tree.stat(node, fd)
        finally:
            os.close(fd)

    def _note(self, node: int, offset: int, length: int) -> None:
        """What comes next in the archive is to be found in this file."""
        if self._split is None or not length:
            return
        content = self._tree.info(node).content if offset else 0
        if not content:
            self._contents += 1
            content = self._contents
            self._tree.content(node, content)
        self._split.content(content - 1, self._tree.path(node), offset, length)

    def _symlink(self, node: int, parent: int, name: bytes, member: Member) -> None:
        if not member.link or len(member.link) > MAX_PATH or b"\0" in member.link:
            raise ArchiveError(f"{_show(member.name)}: a symlink with a bad target")
        fd = self._fd(parent)
        os.symlink(member.link, name, dir_fd=fd)
        times = (member.mtime_ns, member.mtime_ns)
        os.utime(name, ns=times, dir_fd=fd, follow_symlinks=False)
        self._tree.target(node, member.link)
        self._tree.describe(node, member, stat.S_IFLNK)
        self._tree.stat(node, fd, name)

    def _special(self, node: int, parent: int, name: bytes, member: Member) -> None:
        """A FIFO is one; a device is an empty file here, and a device in the view only."""
        fd = self._fd(parent)
        mode = (member.mode & 0o777) | 0o400
        if member.kind == FIFO:
            os.mkfifo(name, mode, dir_fd=fd)
        else:
            os.close(os.open(name, _NEW_FILE, mode, dir_fd=fd))
        if mode & self._umask:
            os.chmod(name, mode, dir_fd=fd)
        times = (member.mtime_ns, member.mtime_ns)
        os.utime(name, ns=times, dir_fd=fd, follow_symlinks=False)
        self._tree.describe(node, member, _TYPES[member.kind], rdev=member.rdev)
        self._tree.stat(node, fd, name)

    def _link_source(self, member: Member) -> int | None:
        """What a hard link's target names, inside this layer; None where that has no such name."""
        path = clean_name(member.link)
        parent_path, _, name = path.rpartition(b"/")
        parent = self._known.get(parent_path)
        if parent is None:
            parent = self._find(parent_path)
        source = self._tree.child(parent, name) if parent is not None and name else MISSING
        if not name or (source >= 0 and self._tree.is_folder(source)):
            what = f"a hard link to {_show(member.link)}"
            raise ArchiveError(f"{_show(member.name)}: {what}, which is a directory")
        return source if source >= 0 else None

    def _lower_link(self, node: int, parent: int, name: bytes, member: Member) -> None:
        """A hard link to what a layer below may have: lowerlinks.py settles it for each chain."""
        fd = os.open(name, _NEW_FILE, 0o400, dir_fd=self._fd(parent))
        try:
            self._tree.describe_link(node, stat.S_IFREG | member.mode)
            self._tree.stat(node, fd)
        finally:
            os.close(fd)
        parent_path, _, target = clean_name(member.link).rpartition(b"/")
        try:
            above = self._tree.path(self._resolve(parent_path, make=False))
        except _NoFolderError as error:
            above = error.path
        self._lower[node] = above + b"/" + target if above else target

    def lower_links(self) -> list[tuple[bytes, bytes]]:
        """The names (relative) that are links to paths of the layers below, with these."""
        return sorted((self._tree.path(node), path) for node, path in self._lower.items())

    def _hardlink(self, node: int, parent: int, name: bytes, source: int) -> None:
        found = self._tree.info(source)
        source_parent, source_name = found.parent, self._tree.name(source)
        self._fd(source_parent)
        target_fd = self._fd(parent)
        source_fd = self._fd(
            source_parent
        )  # again: opening the other folder may have closed this one
        os.link(
            source_name,
            name,
            src_dir_fd=source_fd,
            dst_dir_fd=target_fd,
            follow_symlinks=False,
        )
        self._tree.copy(source, node)
        if source in self._lower:
            self._lower[node] = self._lower[source]
        self._again.append(source)
        self._again.append(node)

    def _folder(self, member: Member, parent: int, name: bytes) -> None:
        old = self._tree.child(parent, name)
        if old >= 0 and not self._tree.is_folder(old):
            self._remove(old)
            old = MISSING
        self._describe(old if old >= 0 else self._make_folder(parent, name), member)

    def _describe(self, node: int, member: Member) -> None:
        """Take over what the archive says of a folder; finish() puts it on disk."""
        self._tree.describe(node, member, stat.S_IFDIR)
        self._xattrs.pop(node, None)
        if member.xattrs:
            self._xattrs[node] = member.xattrs

    # ---- whiteouts
    def _reserved(self, path: bytes, parent_path: bytes, name: bytes) -> bool:
        """Handle names that start with `.wh.`. True when the member is dealt with."""
        if path.startswith(_PREFIX) or b"/.wh." in path:
            inside = parent_path.startswith(_PREFIX) or b"/.wh." in parent_path
            if inside or not name.startswith(_PREFIX):
                return True  # below a reserved name, as in aufs' own folders: never to be seen
            if name == _OPAQUE_NAME:
                self._tree.flag(self._resolve(parent_path), OPAQUE)
            elif not name.startswith(_META_PREFIX):
                hidden = name[len(_PREFIX) :]
                if hidden in {b"", b".", b".."}:
                    raise ArchiveError(f"{_show(path)}: a whiteout of nothing")
                self._tree.hide(self._resolve(parent_path), hidden)
            return True
        return False

    # ---- folders
    def _find(self, path: bytes) -> int | None:
        """The folder @path, symlinks followed inside the layer; None where one of it is missing."""
        try:
            return self._resolve(path, make=False)
        except _NoFolderError:
            return None

    def _resolve(self, path: bytes, *, make: bool = True) -> int:
        """The folder @path, symlinks followed inside the layer, missing folders made if @make."""
        current = ROOT
        pending = path.split(b"/")[::-1]
        links = 0
        while pending:
            name = pending.pop()
            if name in {b"", b"."}:
                continue
            if name == b"..":
                current = self._tree.info(current).parent
                continue
            child = self._tree.child(current, name)
            if child < 0:
                if not make:
                    above = self._tree.path(current)
                    rest = b"/".join((above, name, *reversed(pending))).lstrip(b"/")
                    raise _NoFolderError(f"{_show(path)}: no such folder in this layer", rest)
                current = self._make_folder(current, name)
                continue
            link = self._tree.link(child)
            if link:
                links += 1
                if links > MAX_LINKS or len(pending) > MAX_PATH:
                    raise ArchiveError(f"{_show(path)}: too many symlinks")
                if link.startswith(b"/"):
                    current = ROOT
                pending += link.split(b"/")[::-1]
            elif not self._tree.is_folder(child):
                raise ArchiveError(f"{_show(path)}: a file stands where a folder is needed")
            else:
                current = child
        if len(self._known) >= MAX_KNOWN:
            self._known = {b"": ROOT}
        self._known[path] = current
        return current

    def _make_folder(self, parent: int, name: bytes) -> int:
        if len(name) > MAX_NAME:
            raise ArchiveError(f"{_show(name)}: a name of {len(name)} bytes")
        if name.startswith(_PREFIX):
            raise ArchiveError(f"{_show(name)}: a reserved name behind a symlink")
        node = self._tree.make(parent, name)
        if node < 0:
            raise _unmade(name, node)
        os.mkdir(name, 0o700, dir_fd=self._fd(parent))
        return node

    def _fd(self, node: int) -> int:
        """An open descriptor of a folder, opened name by name from the nearest one that is open."""
        if node == ROOT:
            return self._root_fd
        fd = self._fds.get(node)
        if fd is not None:
            return fd
        missing = [node]
        above = self._tree.info(node).parent
        while above != ROOT and above not in self._fds:
            missing.append(above)
            above = self._tree.info(above).parent
        fd = self._fds[above] if above != ROOT else self._root_fd
        passing = -1
        for one in reversed(missing):
            opened = os.open(self._tree.name(one), _OPEN_FOLDER, dir_fd=fd)
            if passing >= 0:
                os.close(passing)
            fd = passing = opened
        if len(self._fds) >= MAX_OPEN:
            oldest = next(iter(self._fds))
            os.close(self._fds.pop(oldest))
        self._fds[node] = fd
        return fd

    def _remove(self, node: int) -> None:
        """Take a name and all below it away: the archive has something else for it."""
        leads_on = self._tree.is_folder(node) or bool(self._tree.link(node))
        order = [node]
        for one in order:
            order += self._tree.children(one)
        for one in reversed(order):
            fd = self._fds.pop(one, None)
            if fd is not None:
                os.close(fd)
            self._xattrs.pop(one, None)
            self._lower.pop(one, None)
            found, name = self._tree.info(one), self._tree.name(one)
            content, folder_fd = found.content, self._fd(found.parent)
            if self._tree.is_folder(one):
                os.rmdir(name, dir_fd=folder_fd)
            else:
                if self._split is not None and content:
                    self._split.keep(content - 1, name, folder_fd)
                os.unlink(name, dir_fd=folder_fd)
        self._tree.remove(node)
        if leads_on:
            self._known = {b"": ROOT}

    # ---- the end
    def finish(self) -> None:
        """Give folders their modes and times, and learn what the disk says of them."""
        tree = self._tree
        for node in self._again:
            if tree.is_there(node) and not tree.is_folder(node):
                tree.stat(node, self._fd(tree.info(node).parent), tree.name(node))
        for node in tree.folders():
            fd = self._fd(node)
            found = tree.info(node)
            time = found.mtime * 1_000_000_000 + found.mtime_ns
            os.fchmod(fd, (found.tar_mode & 0o1777) | 0o700)
            if node in self._xattrs:
                _set_xattrs(fd, self._xattrs[node])
            os.utime(fd, ns=(time, time))
            tree.stat(node, fd)

    def write_view(self, path: str | os.PathLike[str], diff_id: str) -> None:
        """Write the layer view; the layer's chain id field holds its diff id."""
        self._tree.layer(diff_id, self._tree.info(ROOT).ino)
        self._tree.write(path, diff_id)
        self.size = self._tree.size()


def extract_layer(
    blocks: Iterator[bytes],
    target: str | os.PathLike[str],
    on_block: Callable[[bytes], None] | None = None,
    split: SplitWriter | None = None,
) -> Extraction:
    """Extract the plain tar stream @blocks, to its last byte, into the empty folder @target.

    @split gets all of the archive that is not a file's content. The result still holds folders
    open: close it.
    """
    stream = ByteStream(blocks, on_block, split.rest if split else None)
    extraction = Extraction(target, split)
    try:
        add = extraction.add
        for member in TarReader(stream):
            add(member, stream)
        stream.drain()
        extraction.finish()
    except BaseException:
        extraction.close()
        raise
    return extraction


def clean_name(name: bytes) -> bytes:
    """A member's name as a clean relative path: `..` resolved as text, never above the top."""
    if b"\0" in name or len(name) > MAX_PATH + 1:
        raise ArchiveError(f"{_show(name)}: not a usable name")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise ArchiveError(f"{_show(name)}: a name that leads out of the layer")
            parts.pop()
        elif part and part != b".":
            if len(part) > MAX_NAME:
                raise ArchiveError(f"{_show(name)}: a name of {len(part)} bytes")
            parts.append(part)
    return b"/".join(parts)


def _unmade(name: bytes, why: int) -> ArchiveError:
    """What LayerTree.make says of a name that cannot be."""
    if why == -errno.ENAMETOOLONG:
        return ArchiveError(f"{_show(name)}: a path of more than {MAX_PATH} bytes")
    return ArchiveError(f"{_show(name)}: not a usable name")


def _set_xattrs(fd: int, xattrs: dict[bytes, bytes]) -> None:
    """Set what the user may set and the file system can keep; the rest has no meaning here."""
    for name, value in xattrs.items():
        if name.startswith(_KEPT_XATTRS) and not name.startswith(_NOT_KEPT):
            name = _OUR_XATTR + name  # noqa: PLW2901
        elif not name.startswith(b"user.") or name.startswith(_OUR_XATTR):
            continue
        if b"\0" not in name:
            try:
                os.setxattr(fd, name, value)
            except OSError as error:
                if error.errno not in _NO_XATTR:
                    raise


def _umask() -> int:
    """This process's mask, read without changing it (other threads may be creating files)."""
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o777  # unknown: set every mode


def _show(name: bytes) -> str:
    """A name for a message: one short line, whatever bytes it has."""
    text = os.fsdecode(name).encode("unicode_escape", "backslashreplace").decode()
    return text if len(text) <= 120 else f"{text[:57]}...{text[-57:]}"
