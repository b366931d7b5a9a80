"""A case's layers as a tar for the importer, as the kernel's overlayfs wants them, and merged.

The importer's way and the kernel's are made from the same entries but share no code, so a wrong
import shows as a difference.
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

from support import mkimage

from .case import Entry, file_data

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["complete", "kernel_layer", "layer_tar", "merged_tree", "without_idle_whiteouts"]

_OPAQUE = b".wh..wh..opq"
_LONG = 100  # bytes of a name that a ustar header takes


def complete(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """@entries with the folders above them, where they are not said: else every tool would make
    those as it likes."""
    known: dict[bytes, Entry] = {}
    for entry in entries:
        parts = entry.path.split(b"/")
        for n in range(1, len(parts)):
            above = b"/".join(parts[:n])
            known.setdefault(above, Entry("dir", above, 0o755))
        known[entry.path] = entry
    return tuple(known.values())


def layer_tar(entries: Sequence[Entry]) -> bytes:
    """An OCI layer."""
    return mkimage.layer(*(_member(entry) for entry in entries))


def _member(entry: Entry) -> bytes:
    fields = {"mode": entry.mode, "mtime": entry.mtime}
    folder, _, name = entry.path.rpartition(b"/")
    path = entry.path
    if entry.kind == "whiteout":
        path = (folder + b"/" if folder else b"") + b".wh." + name
    if entry.kind == "opaque":
        mark = mkimage.special(b"x", mkimage.pax_record("path", entry.path + b"/" + _OPAQUE))
        return (
            _extended(entry, path)
            + mkimage.folder(path, **fields)
            + mark
            + mkimage.file(b"", b"", mtime=entry.mtime)
        )
    extra = _extended(entry, path)
    match entry.kind:
        case "dir":
            return extra + mkimage.folder(path, **fields)
        case "file":
            return extra + mkimage.file(path, file_data(entry.size, entry.seed), **fields)
        case "symlink":
            return extra + mkimage.symlink(path, entry.target, mtime=entry.mtime)
        case "hard":
            return extra + mkimage.hardlink(path, entry.target, **fields)
        case "fifo":
            return extra + mkimage.header(path, b"6", mode=entry.mode, mtime=entry.mtime)
        case "whiteout":
            return extra + mkimage.file(path)
    raise AssertionError(entry.kind)


def _extended(entry: Entry, path: bytes) -> bytes:
    """The pax header for what does not fit the old one."""
    records = b""
    if len(path) > _LONG:
        records += mkimage.pax_record("path", path)
    if len(entry.target) > _LONG:
        records += mkimage.pax_record("linkpath", entry.target)
    for name, value in entry.xattrs:
        records += mkimage.pax_record(f"SCHILY.xattr.{name}", value)
    return mkimage.special(b"x", records) if records else b""


def without_idle_whiteouts(layers: Sequence[Sequence[Entry]]) -> list[tuple[Entry, ...]]:
    """@layers but for whiteouts of nothing, which overlayfs shows in a listing."""
    shown: set[bytes] = set()
    result = []
    for entries in layers:
        opaque = tuple(entry.path + b"/" for entry in entries if entry.kind == "opaque")
        shown = {path for path in shown if not path.startswith(opaque)}
        kept = [entry for entry in entries if entry.kind != "whiteout" or entry.path in shown]
        gone = tuple(e.path + b"/" for e in kept if e.kind != "dir")
        shown = {path for path in shown if not (path + b"/").startswith(gone)}
        shown |= {entry.path for entry in kept if entry.kind != "whiteout"}
        result.append(tuple(kept))
    return result


def kernel_layer(entries: Sequence[Entry], root: Path) -> None:
    """A lower directory of overlayfs: whiteouts are devices 0:0, opaque an attribute. For root."""
    for entry in entries:
        path = os.fsencode(root) + b"/" + entry.path
        _make_parents(path)
        if entry.kind == "whiteout":
            os.mknod(path, stat.S_IFCHR, 0)
        elif entry.kind == "opaque":
            os.makedirs(path, exist_ok=True)
            os.setxattr(path, b"trusted.overlay.opaque", b"y")
        else:
            _make(entry, path, os.fsencode(root))
    _settle(entries, os.fsencode(root))


def merged_tree(layers: Sequence[Sequence[Entry]], root: Path, top: bytes) -> None:
    """What the layers add up to, as a plain tree; absolute links lead below @top."""
    base = os.fsencode(root)
    for entries in layers:
        hidden = [entry for entry in entries if entry.kind in {"whiteout", "opaque"}]
        for entry in hidden:
            _clear(base + b"/" + entry.path, keep=entry.kind == "opaque")
        for entry in entries:
            path = base + b"/" + entry.path
            if entry.kind == "opaque":
                os.makedirs(path, exist_ok=True)
            if entry.kind in {"whiteout", "opaque"}:
                continue
            if not (entry.kind == "dir" and os.path.isdir(path) and not os.path.islink(path)):
                _clear(path)
            _make_parents(path)
            _make(entry, path, base, top)
        _settle(entries, base)


def _clear(path: bytes, *, keep: bool = False) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
        if keep:
            os.mkdir(path)
    elif os.path.lexists(path):
        os.unlink(path)


def _make_parents(path: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)


def _make(entry: Entry, path: bytes, root: bytes, top: bytes = b"") -> None:
    match entry.kind:
        case "dir":
            os.makedirs(path, exist_ok=True)
        case "file":
            with open(path, "wb") as file:
                file.write(file_data(entry.size, entry.seed))
        case "symlink":
            target = entry.target
            os.symlink(top + target if target.startswith(b"/") else target, path)
        case "hard":
            os.link(root + b"/" + entry.target, path, follow_symlinks=False)
        case "fifo":
            os.mkfifo(path)


def _settle(entries: Sequence[Entry], root: bytes) -> None:
    """Attributes, modes and times, once nothing more is made; deepest first."""
    for entry in sorted(entries, key=lambda entry: -entry.path.count(b"/")):
        path = root + b"/" + entry.path
        if entry.kind in {"hard", "whiteout"}:
            continue
        for name, value in entry.xattrs:
            os.setxattr(path, name, value)
        if entry.kind != "symlink":
            os.chmod(path, entry.mode)
        os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)
