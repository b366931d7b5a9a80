"""Where a file of an image lies on disk, found through its view; not what containers wrote."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lpmx_runtime.store.store import Store

    from .view import Node, View

__all__ = ["find_file", "node_path", "read_file"]


def node_path(view: View, node: Node) -> str:
    """The path of @node in the container, without symlinks: "/usr/lib/x"."""
    names = []
    while node.index:
        names.append(node.name)
        node = view.node(node.parent)
    return os.fsdecode(b"/" + b"/".join(reversed(names)))


def find_file(store: Store, view: View, path: str) -> str:
    """The host path of the regular file @path of an image, symlinks followed; "" without one."""
    node = view.lookup(path)
    if node is None or not stat.S_ISREG(node.mode):
        return ""
    diff_id, _ = view.layers[node.layer]
    return os.fspath(store.layer_fs(diff_id)) + node_path(view, node)


def read_file(store: Store, view: View, path: str, limit: int) -> bytes:
    """At most the first @limit bytes of the regular file @path of an image; none without one."""
    file = find_file(store, view, path)
    if not file:
        return b""
    with open(file, "rb") as data:
        return data.read(limit)
