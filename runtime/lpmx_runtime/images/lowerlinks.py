"""Hard links of a layer to files of the layers below it, as containerd and umoci take them.

A layer is kept once for all images, and what such a link leads to depends on what is below. So the
layer has an empty file in its place and a note, and each chain of layers gets a *link layer* on top
of the one with the note: a tree of copies, called by the chain's id, with the linked file and its
new names as links of each other. Overlay file systems end with the same, since a link copies up.

    layers/DIFF ID/lower-links.json   [[name, target], ...]
    layers/ID/{fs, layer.view, layer.json}   where ID is of the chain of layers up to that one

Link layers are part of no archive: `save` writes what came, and gc knows them by the images.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from typing import TYPE_CHECKING

from lpmx_runtime.errors import ArchiveError
from lpmx_runtime.store.image import chain_id
from lpmx_runtime.store.store import LOWER_LINKS, link_layer_id
from lpmx_runtime.union.imagefile import node_path
from lpmx_runtime.union.view import IMPLICIT, View, ViewBuilder, merge_views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lpmx_runtime.store.store import Store
    from lpmx_runtime.union.view import Node

__all__ = ["make_link_layers", "write_note"]


def write_note(folder: Path, links: Sequence[tuple[bytes, bytes]]) -> None:
    """Keep in layer @folder which names (relative) are links to which paths below it, if any."""
    if links:
        pairs = [[os.fsdecode(name), os.fsdecode(target)] for name, target in links]
        (folder / LOWER_LINKS).write_text(json.dumps(pairs))


def make_link_layers(
    store: Store, diff_ids: Sequence[str], workspace: Path, publish: Callable[[Path, str], None]
) -> bool:
    """Make the link layers that the chain @diff_ids still lacks; False when it lacks none.

    @publish moves a finished folder into the store. ArchiveError when a link leads to nothing.
    """
    made = False
    for number, diff_id in enumerate(diff_ids):
        if not store.has_lower_links(diff_id):
            continue
        link_id = link_layer_id(chain_id(diff_ids[: number + 1]))
        with store.lock(f"layer-{link_id}"):
            if not store.has_layer(link_id):
                below = store.stack(diff_ids[:number])
                folder = workspace / link_id
                _LinkLayer(store, link_id, folder, workspace).fill(below, diff_id)
                publish(folder, link_id)
                made = True
    return made


class _LinkLayer:
    """One link layer being made in @folder."""

    def __init__(self, store: Store, link_id: str, folder: Path, workspace: Path) -> None:
        self._store = store
        self._id = link_id
        self._folder = folder
        self._fs = os.fsencode(folder / "fs")
        self._workspace = workspace
        self._names: dict[bytes, Node] = {}  # what it holds, with the file that each is

    def fill(self, below: Sequence[str], diff_id: str) -> None:
        """Copy what layer @diff_id links to out of the layers @below, and write its view."""
        os.makedirs(self._folder / "fs", mode=0o700)
        pairs = json.loads((self._store.layer_dir(diff_id) / LOWER_LINKS).read_bytes())
        copies: dict[tuple[int, int], bytes] = {}
        with self._merged(below) as lower, self._merged([*below, diff_id]) as whole:
            for name, target in ((os.fsencode(one), os.fsencode(two)) for one, two in pairs):
                node = lower.lookup(b"/" + target, follow=False) if below else None
                if node is None or stat.S_ISDIR(node.mode):
                    raise ArchiveError(
                        f"layer {diff_id[:12]}: {os.fsdecode(name)!a}: a hard link to"
                        f" {os.fsdecode(target)!a}, which is no file of its layer or one below",
                        hint="the archive is damaged: get another copy of it",
                    )
                first = copies.get((node.layer, node.ino))
                if first is None:
                    first = copies[node.layer, node.ino] = name
                    self._copy(lower, node, name)
                    self._keep_together(lower, node, whole, name)
                elif name not in self._names:
                    self._link(first, name, node)
        self._write_view()

    def _merged(self, layers: Sequence[str]) -> View:
        path = self._workspace / f"{self._id}-{len(layers)}.view"
        merge_views([self._store.layer_view(one) for one in layers], path, self._id)
        view = View(path)
        os.unlink(path)
        return view

    def _keep_together(self, lower: View, node: Node, whole: View, name: bytes) -> None:
        """Where the linked file is still shown under its own name, that is one of the links."""
        place = os.fsencode(node_path(lower, node))
        shown = whole.lookup(place, follow=False)
        old = place.lstrip(b"/")
        if shown and (shown.layer, shown.ino) == (node.layer, node.ino) and old not in self._names:
            self._link(name, old, node)

    def _place(self, name: bytes) -> bytes:
        path = os.path.join(self._fs, name)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return path

    def _link(self, first: bytes, name: bytes, node: Node) -> None:
        os.link(os.path.join(self._fs, first), self._place(name), follow_symlinks=False)
        self._names[name] = node

    def _copy(self, view: View, node: Node, name: bytes) -> None:
        """Another file like @node, with its attributes and times."""
        source = os.fsencode(self._store.layer_fs(view.layers[node.layer][0]))
        source += os.fsencode(node_path(view, node))
        place = self._place(name)
        if stat.S_ISLNK(node.mode):
            os.symlink(node.link, place)
        elif stat.S_ISFIFO(node.mode):
            os.mkfifo(place, 0o600)
        else:
            _copy_data(source, place)
        shutil.copystat(source, place, follow_symlinks=False)
        self._names[name] = node

    def _write_view(self) -> None:
        builder = ViewBuilder()
        builder.layer(self._id, os.stat(self._fs).st_ino)
        for path, status in _below(self._fs):
            node = self._names.get(path)
            builder.add(
                path,
                status,
                tar_mode=node.tar_mode if node else stat.S_IFDIR | 0o755,
                tar_uid=node.tar_uid if node else 0,
                tar_gid=node.tar_gid if node else 0,
                flags=0 if node else IMPLICIT,
                rdev=node.rdev if node else 0,
                link=node.link if node else b"",
            )
        builder.write(self._folder / "layer.view", self._id)
        record = {"version": 1, "diff_id": self._id, "size": 0, "entries": len(self._names)}
        (self._folder / "layer.json").write_text(json.dumps(record, indent=1))


def _below(top: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """All paths below @top, itself (empty) first, and what the disk says of them."""
    pending = [b""]
    while pending:
        path = pending.pop()
        status = os.lstat(os.path.join(top, path) if path else top)
        yield path, status
        if stat.S_ISDIR(status.st_mode):
            names = os.listdir(os.path.join(top, path))
            pending += [os.path.join(path, name) for name in names]


def _copy_data(source: bytes, place: bytes) -> None:
    """The contents of a regular file, its holes kept; a clone where the disk can make one."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with (
        open(os.open(source, flags), "rb", buffering=0) as old,
        open(place, "xb", buffering=0) as new,
    ):
        size = os.fstat(old.fileno()).st_size
        at = 0
        while at < size:
            try:
                at = os.lseek(old.fileno(), at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break  # a hole to the end
                raise
            end = os.lseek(old.fileno(), at, os.SEEK_HOLE)
            while at < end:
                at += _copy_piece(old.fileno(), new.fileno(), at, end - at)
        new.truncate(size)


def _copy_piece(old: int, new: int, at: int, size: int) -> int:
    try:
        copied = os.copy_file_range(old, new, size, at, at)
        if copied:
            return copied
    except OSError:
        pass  # not on this file system
    return os.pwrite(new, os.pread(old, min(size, 1 << 20), at), at)
