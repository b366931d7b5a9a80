"""A layer's archive becomes a tree on disk and a layer view.

The archive is not trusted. Names are resolved in a tree kept in memory, never by the kernel: each
disk operation is one name in a folder that we made and hold open, so neither `..`, nor symlinks,
nor absolute names, nor whatever order the members come in leads out of the layer. What a user may
not or should not make on disk (owners, devices, setuid bits) is kept in the view. Whiteouts are
told by name alone, whatever the member's type: real archives have them as hard links.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from .errors import ArchiveError
from .tarstream import BLOCK_DEVICE as BLOCK
from .tarstream import CHAR, FIFO, FOLDER, HARDLINK, REGULAR, SYMLINK, ByteStream, Member, TarReader
from .view import IMPLICIT, OPAQUE, ViewBuilder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .tarsplit import SplitWriter

__all__ = ["Extraction", "extract_layer"]

_PREFIX = b".wh."
_OPAQUE_NAME = b".wh..wh..opq"
_META_PREFIX = b".wh..wh."
MAX_PATH = 4095
MAX_NAME = 255
MAX_LINKS = 40
MAX_OPEN = 64  # folders held open
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
# What only root may set is kept under a name of ours (preload/uufs/owner.h); not what a security
# module of the machine that made the layer has put on every file.
_KEPT_XATTRS = (b"security.capability", b"trusted.")
_NOT_KEPT = (b"trusted.overlay.",)


class _NoFolderError(ArchiveError):
    """A folder is asked for that the layer does not have; @path is what layers below may have."""

    def __init__(self, message: str, path: bytes) -> None:
        super().__init__(message)
        self.path = path


class _Node:
    """One name of the layer."""

    __slots__ = (
        "name", "parent", "length", "children", "tar_mode", "uid", "gid", "rdev", "link",
        "mtime_ns", "flags", "status", "whiteouts", "xattrs",
    )  # fmt: skip

    def __init__(self, name: bytes, parent: _Node | None, tar_mode: int) -> None:
        self.name = name
        self.parent = parent
        above: int = parent.length + 1 if parent is not None and parent.parent is not None else 0
        self.length: int = above + len(name)  # of its path
        self.children: dict[bytes, _Node] | None = None
        self.tar_mode = tar_mode
        self.uid = 0
        self.gid = 0
        self.rdev = 0
        self.link = b""
        self.mtime_ns = 0
        self.flags = 0
        self.status: os.stat_result | None = None
        self.whiteouts: set[bytes] | None = None
        self.xattrs: dict[bytes, bytes] | None = None


class Extraction:
    """Extracts the members of one layer below the empty folder @target."""

    def __init__(self, target: str | os.PathLike[str], split: SplitWriter | None = None) -> None:
        self._split = split
        self._contents: dict[_Node, int] = {}  # files by their number in the split
        self._root = _folder_node(b"", None)
        self._fds: dict[_Node, int] = {}
        self._root_fd = os.open(target, _OPEN_FOLDER)
        self._known: dict[bytes, _Node] = {
            b"": self._root
        }  # folders by the path archives call them
        self._lower: dict[_Node, bytes] = {}  # empty files that stand for links to lower layers
        self._again: list[_Node] = []  # hard links change what the first name's stat said
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
                self._describe(self._root, member)
            return
        parent = self._known.get(parent_path) or self._resolve(parent_path)
        try:
            self._place(member, parent, name, stream)
        except OSError as error:
            if error.errno in {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL}:
                raise ArchiveError(f"{_show(member.name)}: a name that the disk refuses") from error
            raise

    def _place(self, member: Member, parent: _Node, name: bytes, stream: ByteStream) -> None:
        kind = member.kind
        assert parent.children is not None
        old = parent.children.get(name)
        if kind == FOLDER:
            self._folder(member, parent, name, old)
            return
        source = self._link_source(member) if kind == HARDLINK else None
        if old is not None:
            if old is source:
                raise ArchiveError(f"{_show(member.name)}: a hard link to itself")
            if source is not None and _is_below(source, old):
                raise ArchiveError(f"{_show(member.name)}: a hard link in place of its own source")
            self._remove(old)
        node = _Node(name, parent, member.mode)
        if node.length > MAX_PATH:
            raise ArchiveError(f"{_show(member.name)}: a path of {node.length} bytes")
        if source is not None:
            self._hardlink(node, source)
        elif kind == HARDLINK:
            self._lower_link(node, member)
        elif kind == REGULAR:
            self._file(node, member, stream)
        elif kind == SYMLINK:
            self._symlink(node, member)
        elif kind in _TYPES:
            self._special(node, member)
        else:
            raise ArchiveError(f"{_show(member.name)}: a member of unknown type {kind!r}")
        parent.children[name] = node

    def _file(self, node: _Node, member: Member, stream: ByteStream) -> None:
        mode = (member.mode & 0o777) | 0o400
        fd = os.open(node.name, _NEW_FILE, mode, dir_fd=self._fd(node.parent))
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
            node.status = os.fstat(fd)
        finally:
            os.close(fd)
        node.tar_mode |= stat.S_IFREG
        node.uid = member.uid
        node.gid = member.gid

    def _note(self, node: _Node, offset: int, length: int) -> None:
        """What comes next in the archive is to be found in this file."""
        if self._split is None or not length:
            return
        number = self._contents.get(node)
        if number is None:
            number = self._contents[node] = len(self._contents)
        self._split.content(number, _path_of(node), offset, length)

    def _symlink(self, node: _Node, member: Member) -> None:
        if not member.link or len(member.link) > MAX_PATH or b"\0" in member.link:
            raise ArchiveError(f"{_show(member.name)}: a symlink with a bad target")
        fd = self._fd(node.parent)
        os.symlink(member.link, node.name, dir_fd=fd)
        times = (member.mtime_ns, member.mtime_ns)
        os.utime(node.name, ns=times, dir_fd=fd, follow_symlinks=False)
        node.link = member.link
        node.status = os.stat(node.name, dir_fd=fd, follow_symlinks=False)
        node.tar_mode |= stat.S_IFLNK
        node.uid = member.uid
        node.gid = member.gid

    def _special(self, node: _Node, member: Member) -> None:
        """A FIFO is one; a device is an empty file here, and a device in the view only."""
        fd = self._fd(node.parent)
        mode = (member.mode & 0o777) | 0o400
        if member.kind == FIFO:
            os.mkfifo(node.name, mode, dir_fd=fd)
        else:
            os.close(os.open(node.name, _NEW_FILE, mode, dir_fd=fd))
            node.rdev = member.rdev
        if mode & self._umask:
            os.chmod(node.name, mode, dir_fd=fd)
        times = (member.mtime_ns, member.mtime_ns)
        os.utime(node.name, ns=times, dir_fd=fd, follow_symlinks=False)
        node.status = os.stat(node.name, dir_fd=fd, follow_symlinks=False)
        node.tar_mode |= _TYPES[member.kind]
        node.uid = member.uid
        node.gid = member.gid

    def _link_source(self, member: Member) -> _Node | None:
        """What a hard link's target names, inside this layer; None where that has no such name."""
        path = clean_name(member.link)
        parent_path, _, name = path.rpartition(b"/")
        parent = self._known.get(parent_path) or self._find(parent_path)
        source = parent.children.get(name) if parent and parent.children is not None else None
        if not name or (source is not None and source.children is not None):
            what = f"a hard link to {_show(member.link)}"
            raise ArchiveError(f"{_show(member.name)}: {what}, which is a directory")
        return source

    def _lower_link(self, node: _Node, member: Member) -> None:
        """A hard link to what a layer below may have: lowerlinks.py settles it for each chain."""
        fd = os.open(node.name, _NEW_FILE, 0o400, dir_fd=self._fd(node.parent))
        try:
            node.status = os.fstat(fd)
        finally:
            os.close(fd)
        node.tar_mode |= stat.S_IFREG
        parent_path, _, name = clean_name(member.link).rpartition(b"/")
        try:
            above = _path_of(self._resolve(parent_path, make=False))
        except _NoFolderError as error:
            above = error.path
        self._lower[node] = above + b"/" + name if above else name

    def lower_links(self) -> list[tuple[bytes, bytes]]:
        """The names (relative) that are links to paths of the layers below, with these."""
        return sorted((_path_of(node), path) for node, path in self._lower.items() if node.name)

    def _hardlink(self, node: _Node, source: _Node) -> None:
        self._fd(source.parent)
        target_fd = self._fd(node.parent)
        source_fd = self._fd(
            source.parent
        )  # again: opening the other folder may have closed this one
        os.link(
            source.name,
            node.name,
            src_dir_fd=source_fd,
            dst_dir_fd=target_fd,
            follow_symlinks=False,
        )
        for field in ("tar_mode", "uid", "gid", "rdev", "link"):
            setattr(node, field, getattr(source, field))
        if source in self._lower:
            self._lower[node] = self._lower[source]
        self._again += (source, node)

    def _folder(self, member: Member, parent: _Node, name: bytes, old: _Node | None) -> None:
        if old is not None and old.children is None:
            self._remove(old)
            old = None
        self._describe(old or self._make_folder(parent, name), member)

    def _describe(self, node: _Node, member: Member) -> None:
        """Take over what the archive says of a folder; finish() puts it on disk."""
        node.tar_mode = stat.S_IFDIR | member.mode
        node.uid = member.uid
        node.gid = member.gid
        node.mtime_ns = member.mtime_ns
        node.flags &= ~IMPLICIT
        node.xattrs = member.xattrs

    # ---- whiteouts
    def _reserved(self, path: bytes, parent_path: bytes, name: bytes) -> bool:
        """Handle names that start with `.wh.`. True when the member is dealt with."""
        if path.startswith(_PREFIX) or b"/.wh." in path:
            inside = parent_path.startswith(_PREFIX) or b"/.wh." in parent_path
            if inside or not name.startswith(_PREFIX):
                return True  # below a reserved name, as in aufs' own folders: never to be seen
            if name == _OPAQUE_NAME:
                self._resolve(parent_path).flags |= OPAQUE
            elif not name.startswith(_META_PREFIX):
                hidden = name[len(_PREFIX) :]
                if hidden in {b"", b".", b".."}:
                    raise ArchiveError(f"{_show(path)}: a whiteout of nothing")
                parent = self._resolve(parent_path)
                if parent.whiteouts is None:
                    parent.whiteouts = set()
                parent.whiteouts.add(hidden)
            return True
        return False

    # ---- folders
    def _find(self, path: bytes) -> _Node | None:
        """The folder @path, symlinks followed inside the layer; None where one of it is missing."""
        try:
            return self._resolve(path, make=False)
        except _NoFolderError:
            return None

    def _resolve(self, path: bytes, *, make: bool = True) -> _Node:
        """The folder @path, symlinks followed inside the layer, missing folders made if @make."""
        current = self._root
        pending = path.split(b"/")[::-1]
        links = 0
        while pending:
            name = pending.pop()
            if name in {b"", b"."}:
                continue
            if name == b"..":
                current = current.parent or self._root
                continue
            assert current.children is not None
            child = current.children.get(name)
            if child is None:
                if not make:
                    rest = b"/".join((_path_of(current), name, *reversed(pending))).lstrip(b"/")
                    raise _NoFolderError(f"{_show(path)}: no such folder in this layer", rest)
                child = self._make_folder(current, name)
            elif child.link:
                links += 1
                if links > MAX_LINKS or len(pending) > MAX_PATH:
                    raise ArchiveError(f"{_show(path)}: too many symlinks")
                if child.link.startswith(b"/"):
                    current = self._root
                pending += child.link.split(b"/")[::-1]
                continue
            elif child.children is None:
                raise ArchiveError(f"{_show(path)}: a file stands where a folder is needed")
            current = child
        self._known[path] = current
        return current

    def _make_folder(self, parent: _Node, name: bytes) -> _Node:
        if len(name) > MAX_NAME:
            raise ArchiveError(f"{_show(name)}: a name of {len(name)} bytes")
        if name.startswith(_PREFIX):
            raise ArchiveError(f"{_show(name)}: a reserved name behind a symlink")
        node = _folder_node(name, parent)
        if node.length > MAX_PATH:
            raise ArchiveError(f"{_show(name)}: a path of {node.length} bytes")
        os.mkdir(name, 0o700, dir_fd=self._fd(parent))
        assert parent.children is not None
        parent.children[name] = node
        return node

    def _fd(self, node: _Node | None) -> int:
        """An open descriptor of a folder, opened name by name from the nearest one that is open."""
        assert node is not None
        if node.parent is None:
            return self._root_fd
        fd = self._fds.get(node)
        if fd is not None:
            return fd
        missing = [node]
        above = node.parent
        while above.parent is not None and above not in self._fds:
            missing.append(above)
            above = above.parent
        fd = self._fds[above] if above.parent is not None else self._root_fd
        passing = -1
        for one in reversed(missing):
            opened = os.open(one.name, _OPEN_FOLDER, dir_fd=fd)
            if passing >= 0:
                os.close(passing)
            fd = passing = opened
        if len(self._fds) >= MAX_OPEN:
            oldest = next(iter(self._fds))
            os.close(self._fds.pop(oldest))
        self._fds[node] = fd
        return fd

    def _remove(self, node: _Node) -> None:
        """Take a name and all below it away: the archive has something else for it."""
        order = [node]
        for one in order:
            if one.children is not None:
                order += one.children.values()
        for one in reversed(order):
            fd = self._fds.pop(one, None)
            if fd is not None:
                os.close(fd)
            parent_fd = self._fd(one.parent)
            if one.children is not None:
                os.rmdir(one.name, dir_fd=parent_fd)
            else:
                if self._split is not None and one in self._contents:
                    self._split.keep(self._contents[one], one.name, parent_fd)
                os.unlink(one.name, dir_fd=parent_fd)
            assert one.parent is not None
            assert one.parent.children is not None
            del one.parent.children[one.name]
            one.name = b""  # gone: nothing of it is to be looked at again
        if node.children is not None or node.link:
            self._known = {b"": self._root}

    # ---- the end
    def finish(self) -> None:
        """Give folders their modes and times, and learn what the disk says of them."""
        for node in self._again:
            if node.name:
                node.status = os.stat(
                    node.name, dir_fd=self._fd(node.parent), follow_symlinks=False
                )
        pending = [self._root]
        while pending:  # depth first: the folder above is among those that are open
            node = pending.pop()
            assert node.children is not None
            pending += [child for child in node.children.values() if child.children is not None]
            fd = self._fd(node)
            os.fchmod(fd, (node.tar_mode & 0o1777) | 0o700)
            if node.xattrs:
                _set_xattrs(fd, node.xattrs)
            os.utime(fd, ns=(node.mtime_ns, node.mtime_ns))
            node.status = os.fstat(fd)
            if node.whiteouts:
                self._settle_whiteouts(node)

    @staticmethod
    def _settle_whiteouts(node: _Node) -> None:
        """A name both hidden and present: the layer's own stays, nothing below shows through."""
        assert node.whiteouts is not None
        assert node.children is not None
        for name in node.whiteouts & node.children.keys():
            child = node.children[name]
            if child.children is not None:
                child.flags |= OPAQUE
        node.whiteouts -= node.children.keys()

    def write_view(self, path: str | os.PathLike[str], diff_id: str) -> None:
        """Write the layer view; the layer's chain id field holds its diff id."""
        assert self._root.status is not None
        builder = ViewBuilder()
        builder.layer(diff_id, self._root.status.st_ino)
        sizes: dict[int, int] = {}
        pending = [(b"", self._root)]
        while pending:
            name, node = pending.pop()
            assert node.status is not None
            builder.add(
                name,
                node.status,
                tar_mode=node.tar_mode,
                tar_uid=node.uid,
                tar_gid=node.gid,
                flags=node.flags,
                rdev=node.rdev,
                link=node.link,
            )
            if stat.S_ISREG(node.tar_mode):
                sizes[node.status.st_ino] = node.status.st_size
            if node.children is not None:
                prefix = name + b"/" if name else b""
                pending += [(prefix + child.name, child) for child in node.children.values()]
                for hidden in node.whiteouts or ():
                    builder.whiteout(prefix + hidden)
        builder.write(path, diff_id)
        self.size = sum(sizes.values())


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


def _folder_node(name: bytes, parent: _Node | None) -> _Node:
    node = _Node(name, parent, stat.S_IFDIR | 0o755)
    node.children = {}
    node.flags = IMPLICIT
    return node


def _path_of(node: _Node) -> bytes:
    names = []
    at: _Node | None = node
    while at is not None and at.parent is not None:
        names.append(at.name)
        at = at.parent
    return b"/".join(reversed(names))


def _is_below(node: _Node, top: _Node) -> bool:
    above: _Node | None = node
    while above is not None:
        if above is top:
            return True
        above = above.parent
    return False


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
