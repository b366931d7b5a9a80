"""The names of a layer while it is unpacked, as the view builder keeps them.

One item of 160 bytes a name, in C: an archive of a million files costs a fifth of what as many
Python objects would. A thin wrapper of preload/hosted/view_build.h.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from lpmx_runtime.union.view import WHITEOUT, ViewBuilder, check_result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpmx_runtime.tar.reader import Member

__all__ = ["MISSING", "ROOT", "TAKEN", "LayerTree"]

ROOT = 0
MISSING, TAKEN = -errno.ENOENT, -errno.EEXIST
_NONE = 0xFFFFFFFF


class LayerTree(ViewBuilder):
    """A tree whose items are known by their indexes; folders are made before what is in them."""

    def __init__(self) -> None:
        super().__init__()
        self._make = self._lib.vb_make
        self._stat = self._lib.vb_stat
        self._describe = self._lib.vb_describe
        self._info = self._ffi.new("struct vb_info *")

    def make(self, parent: int, name: bytes) -> int:
        """A new item, a folder until more is said of it; TAKEN, or another negative errno."""
        return int(self._make(self._builder, parent, name, len(name)))

    def child(self, parent: int, name: bytes) -> int:
        """The item of @name in @parent, or MISSING. A whiteout is none."""
        return int(self._lib.vb_child(self._builder, parent, name, len(name)))

    def info(self, node: int) -> Any:
        """A struct vb_info, until the next call."""
        check_result(self._lib.vb_info(self._builder, node, self._info), "layer")
        return self._info

    def is_there(self, node: int) -> bool:
        """Is the item neither removed nor a whiteout?"""
        found = self._lib.vb_info(self._builder, node, self._info)
        return found == 0 and not self._info.flags & WHITEOUT

    def is_folder(self, node: int) -> bool:
        """Is the item a folder?"""
        return stat.S_ISDIR(self.info(node).mode)

    def name(self, node: int) -> bytes:
        """The last component of its path."""
        found = self.info(node)
        return bytes(self._ffi.buffer(found.name, found.name_len))

    def link(self, node: int) -> bytes:
        """A symlink's target, else nothing."""
        found = self.info(node)
        return bytes(self._ffi.buffer(found.link, found.link_len)) if found.link_len else b""

    def path(self, node: int) -> bytes:
        """Its path in the layer."""
        names = []
        while node != ROOT:
            names.append(self.name(node))
            node = self._info.parent
        return b"/".join(reversed(names))

    def children(self, node: int) -> list[int]:
        """The items in a folder, whiteouts left out."""
        if not self.is_folder(node):
            return []
        found = []
        child = self._info.first
        while child != _NONE:
            if not self.info(child).flags & WHITEOUT:
                found.append(child)
            child = self._info.next
        return found

    def folders(self) -> Iterator[int]:
        """All folders, parents first."""
        node = ROOT
        while (node := int(self._lib.vb_next_folder(self._builder, node))) >= 0:
            yield node
            node += 1

    def describe(self, node: int, member: Member, kind: int, *, rdev: int = 0) -> None:
        """Take over what the archive says of an item."""
        time, rest = divmod(member.mtime_ns, 1_000_000_000)
        self._describe(
            self._builder, node, kind | member.mode, member.uid, member.gid, rdev, time, rest
        )

    def describe_link(self, node: int, mode: int) -> None:
        """An empty file of nobody's: what it stands for is not known yet."""
        self._describe(self._builder, node, mode, 0, 0, 0, 0, 0)

    def stat(self, node: int, fd: int, name: bytes | None = None) -> None:
        """Learn what the disk says of descriptor @fd, or of @name in it."""
        what = self._ffi.NULL if name is None else name
        result = self._stat(self._builder, node, fd, what)
        if result:
            check_result(result, "layer" if name is None else os.fsdecode(name))

    def copy(self, source: int, node: int) -> None:
        """A hard link: what the archive says of @source holds for @node."""
        found = self.info(source)
        mode, owner = found.tar_mode, (found.tar_uid, found.tar_gid)
        rdev, link = found.rdev, self.link(source)
        self._describe(self._builder, node, mode, *owner, rdev, 0, 0)
        if link:
            self.target(node, link)

    def target(self, node: int, link: bytes) -> None:
        """Set the target of a symlink."""
        check_result(self._lib.vb_target(self._builder, node, link, len(link)), "layer")

    def content(self, node: int, number: int) -> None:
        """Note the importer's number of a file, above 0."""
        self._lib.vb_content(self._builder, node, number)

    def flag(self, node: int, flags: int) -> None:
        """Add view flags."""
        self._lib.vb_flag(self._builder, node, flags)

    def hide(self, parent: int, name: bytes) -> None:
        """The layer removes @name in @parent of what is below it."""
        result = self._lib.vb_hide(self._builder, parent, name, len(name))
        check_result(result, os.fsdecode(name))

    def remove(self, node: int) -> None:
        """Forget an item and all below it."""
        check_result(self._lib.vb_remove(self._builder, node), "layer")

    def size(self) -> int:
        """Bytes in all files, hard links once."""
        return check_result(self._lib.vb_size(self._builder), "layer")
