"""Views in Python: building, merging and reading them through the UUFS library.

A thin wrapper of preload/hosted/ and view/view.h by cffi; the rules of the union are there,
not here.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from lpmx_runtime.errors import StorageError
from lpmx_runtime.native import library_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "IMPLICIT",
    "OPAQUE",
    "WHITEOUT",
    "Node",
    "View",
    "ViewBuilder",
    "check_result",
    "compress_view",
    "load_library",
    "merge_views",
]

WHITEOUT, OPAQUE, IMPLICIT = 1, 2, 4  # enum view_node_flags
NONE = 0xFFFFFFFF
WORTH_COMPRESSING = 1 << 20  # bytes of a layer's view
_GZIP = b"\x1f\x8b"
_BLOCK = 1 << 20
_library: tuple[Any, Any] | None = None


def load_library() -> tuple[Any, Any]:
    """The cffi interface and the opened library, once."""
    global _library  # noqa: PLW0603 (a cache)
    if _library is None:
        path = library_path()
        from lpmx_runtime._uufs_cffi import ffi

        _library = ffi, ffi.dlopen(path)
    return _library


def check_result(result: int, what: str) -> int:
    """The @result of a call of the library about @what; a negative one becomes an exception."""
    if result >= 0:
        return result
    if result == -errno.EBADMSG:
        raise StorageError(
            f"{what}: damaged, or of another version of lpmx",
            hint="remove the image with `lpmx rmi` and load it again",
        )
    raise OSError(-result, os.strerror(-result), what)


class ViewBuilder:
    """A tree being built: layers of entries, or views applied one on top of the other."""

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self._folder = folder  # for temporary files
        self._ffi, self._lib = load_library()
        builder = self._lib.vb_new()
        if builder == self._ffi.NULL:
            raise MemoryError
        self._builder = self._ffi.gc(builder, self._lib.vb_free)
        self._entry = self._ffi.new("struct vb_entry *")
        self._add = self._lib.vb_add

    def layer(self, diff_id: str, root_ino: int) -> None:
        """Start a layer: what is added from now on belongs to it."""
        check_result(self._lib.vb_layer(self._builder, bytes.fromhex(diff_id), root_ino), diff_id)

    def add(
        self,
        path: bytes,
        status: os.stat_result,
        *,
        tar_mode: int,
        tar_uid: int,
        tar_gid: int,
        flags: int = 0,
        rdev: int = 0,
        link: bytes = b"",
    ) -> None:
        """Add @path, relative and clean, empty for the root, with what lstat says of it on disk."""
        entry = self._entry
        entry.mode = status.st_mode
        entry.tar_mode = tar_mode
        entry.tar_uid = tar_uid
        entry.tar_gid = tar_gid
        entry.nlink = status.st_nlink
        entry.flags = flags
        entry.rdev = rdev
        entry.uid = status.st_uid
        entry.gid = status.st_gid
        entry.mtime, entry.mtime_ns = divmod(status.st_mtime_ns, 1_000_000_000)
        entry.ctime, entry.ctime_ns = divmod(status.st_ctime_ns, 1_000_000_000)
        entry.size = status.st_size
        entry.ino = status.st_ino
        entry.blocks = status.st_blocks
        target = self._ffi.from_buffer(link)
        entry.link = target
        entry.link_len = len(link)
        result = self._add(self._builder, path, len(path), entry)
        if result:
            check_result(result, os.fsdecode(path))

    def whiteout(self, path: bytes) -> None:
        """Add the mark that @path of the layers below is gone."""
        entry = self._ffi.new("struct vb_entry *")
        entry.flags = WHITEOUT
        entry.link = self._ffi.from_buffer(b"")
        check_result(self._add(self._builder, path, len(path), entry), os.fsdecode(path))

    def merge(self, path: str | os.PathLike[str]) -> None:
        """Apply the layer view at @path on top of the tree."""
        with _open_plain(path, self._folder) as file:
            result = self._lib.vb_merge_file(self._builder, file.fileno())
        check_result(result, os.fspath(path))

    def write(self, path: str | os.PathLike[str], chain_id: str) -> None:
        """Write the tree to the new file @path, durably."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            check_result(
                self._lib.vb_write(self._builder, fd, bytes.fromhex(chain_id)), os.fspath(path)
            )
            os.fsync(fd)
        finally:
            os.close(fd)


def _open_plain(
    path: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None
) -> IO[bytes]:
    """The view file @path to be mapped; of a compressed one a plain copy, in @folder."""
    file = open(path, "rb")  # noqa: SIM115  the caller closes it
    if file.read(2) != _GZIP:
        return file
    with file:
        plain = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  as above
        try:
            file.seek(0)
            unzip = zlib.decompressobj(31)
            while block := file.read(_BLOCK):
                plain.write(unzip.decompress(block))
            plain.write(unzip.flush())
            plain.flush()
        except BaseException as error:
            plain.close()
            if isinstance(error, zlib.error):
                check_result(-errno.EBADMSG, os.fspath(path))
            raise
    return plain


def compress_view(path: str | os.PathLike[str], temporary: str | os.PathLike[str]) -> None:
    """Replace the view file @path by a compressed one, unless it is small or has other names.

    For a layer's view once the image's is there: only a view to be made needs it again.
    """
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_size < WORTH_COMPRESSING or status.st_nlink > 1 or file.read(2) == _GZIP:
            return
        file.seek(0)
        squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as out:
            while block := file.read(_BLOCK):
                out.write(squeeze.compress(block))
            out.write(squeeze.flush())
            out.flush()
            os.fsync(out.fileno())
    os.rename(temporary, path)


@dataclass(frozen=True)
class Node:
    """One name of a view; fields as in struct view_node."""

    index: int
    parent: int
    name: bytes
    link: bytes
    layer: int
    mode: int
    tar_mode: int
    tar_uid: int
    tar_gid: int
    nlink: int
    flags: int
    rdev: int
    uid: int
    gid: int
    mtime_ns: int  # nanoseconds since the epoch
    ctime_ns: int
    size: int
    ino: int
    blocks: int


class View:
    """A view file, mapped for reading. Use `with`, or close()."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._ffi, self._lib = load_library()
        self.path = path
        with open(path, "rb") as file:
            self.is_compressed = file.read(2) == _GZIP
        with _open_plain(path) as file:
            self.size = os.fstat(file.fileno()).st_size
            if self.size == 0:
                check_result(-errno.EBADMSG, os.fspath(path))
            self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self.address = self._ffi.from_buffer(self._map)
        self._view = self._ffi.new("struct view *")
        try:
            check_result(self._lib.view_open(self._view, self.address, self.size), os.fspath(path))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Unmap the file."""
        self._ffi.release(self.address)
        self._map.close()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._view.n_nodes)

    @property
    def chain_id(self) -> str:
        """The chain id in the header, in hex."""
        return bytes(self._view.header.chain_id).hex()

    @property
    def layers(self) -> tuple[tuple[str, int], ...]:
        """Diff id and root inode of each layer, in the order of `Node.layer`."""
        return tuple(
            (bytes(layer.diff_id).hex(), int(layer.root_ino))
            for layer in (self._view.layers[i] for i in range(self._view.n_layers))
        )

    def node(self, index: int) -> Node:
        """The node at @index."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        raw = self._view.nodes[index]
        address = self._view.nodes + index
        return Node(
            index=index,
            parent=raw.parent,
            name=self._ffi.string(self._lib.view_name(self._view, address)),
            link=self._ffi.string(self._lib.view_link(self._view, address)),
            layer=raw.layer,
            mode=raw.mode,
            tar_mode=raw.tar_mode,
            tar_uid=raw.tar_uid,
            tar_gid=raw.tar_gid,
            nlink=raw.nlink,
            flags=raw.flags,
            rdev=raw.rdev,
            uid=raw.uid,
            gid=raw.gid,
            mtime_ns=raw.mtime * 1_000_000_000 + raw.mtime_ns,
            ctime_ns=raw.ctime * 1_000_000_000 + raw.ctime_ns,
            size=raw.size,
            ino=raw.ino,
            blocks=raw.blocks,
        )

    def lookup(self, path: bytes | str, *, follow: bool = True) -> Node | None:
        """The node of @path, symlinks resolved inside the view; None when there is none."""
        name = os.fsencode(path)
        found = int(self._lib.view_find(self._view, name, len(name), int(follow)))
        if found in {-errno.ENOENT, -errno.ENOTDIR}:
            return None
        return self.node(check_result(found, os.fsdecode(path)))

    @property
    def is_image(self) -> bool:
        """Is it, of one layer, as good as the view of an image of that layer alone?"""
        found = self._lib.vb_is_image(self.address, self.size)
        return bool(check_result(found, os.fspath(self.path)))

    def children(self, node: Node) -> list[Node]:
        """The names in a directory, in listing order."""
        raw = self._view.nodes[node.index]
        first, count = raw.first_child, raw.n_children
        return [self.node(first + i) for i in range(count)] if count else []

    def walk(self) -> Iterator[tuple[bytes, Node]]:
        """Every node with its path, the root (empty path) first, parents before children."""
        pending = [(b"", self.node(0))]
        while pending:
            path, node = pending.pop()
            yield path, node
            prefix = path + b"/" if path else b""
            pending += [(prefix + child.name, child) for child in self.children(node)]


def merge_views(
    layers: Sequence[str | os.PathLike[str]], target: str | os.PathLike[str], chain_id: str
) -> None:
    """Write to @target the image view that the layer views @layers, bottom first, make."""
    builder = ViewBuilder(os.path.dirname(os.path.abspath(target)))
    for path in layers:
        builder.merge(path)
    builder.write(target, chain_id)
