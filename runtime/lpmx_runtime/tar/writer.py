"""Writing a layer's archive: POSIX pax, the same bytes for the same tree.

Names and targets are bytes; what a plain header cannot say (long names, big numbers, attributes)
goes into a pax header before it. Times are whole seconds, as docker writes them. Format: POSIX.1
pax interchange format; attributes as SCHILY.xattr, which docker, podman and skopeo use.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lpmx_runtime.container.upper import Entry

__all__ = ["header", "write_layer"]

BLOCK = 512
_SECOND = 1_000_000_000
_NAME_MAX, _LINK_MAX = 100, 100
_SIZE_MAX, _ID_MAX = 0o77777777777, 0o7777777
_KINDS = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}
_COPY = 1 << 20


def write_layer(entries: Iterable[Entry], write: Callable[[bytes], object]) -> int:
    """Write @entries, parents first, as a layer; the number of members.

    The root is only written where something is remembered of it.
    """
    links: dict[tuple[int, int], bytes] = {}
    count = 0
    for entry in entries:
        count += len(entry.whiteouts) + entry.opaque
        if entry.path or entry.recorded:
            count += 1
            _member(entry, links, write)
        prefix = entry.path + b"/" if entry.path else b""
        if entry.opaque:
            write(_mark(prefix + b".wh..wh..opq", entry))
        for name in sorted(entry.whiteouts):
            write(_mark(prefix + b".wh." + name, entry))
    write(bytes(2 * BLOCK))
    return count


def _mark(name: bytes, folder: Entry) -> bytes:
    return header(name, b"0", mode=0, mtime=folder.mtime_ns // _SECOND)


def _member(
    entry: Entry, links: dict[tuple[int, int], bytes], write: Callable[[bytes], object]
) -> None:
    name = entry.path + b"/" if entry.is_folder else entry.path
    kind, link, size = _KINDS[stat.S_IFMT(entry.mode)], entry.link, entry.size
    if entry.nlink > 1 and not entry.is_folder:
        first = links.setdefault(entry.inode, entry.path)
        if first != entry.path:
            kind, link, size = b"1", first, 0
    device = kind in {b"3", b"4"}
    write(
        header(
            name or b"./",
            kind,
            mode=stat.S_IMODE(entry.mode),
            uid=entry.uid,
            gid=entry.gid,
            size=size,
            mtime=entry.mtime_ns // _SECOND,
            link=link,
            major=os.major(entry.rdev) if device else 0,
            minor=os.minor(entry.rdev) if device else 0,
            xattrs=entry.xattrs if kind != b"1" else {},
        )
    )
    if kind == b"0" and size:
        _contents(entry.host, size, write)


def _contents(path: bytes, size: int, write: Callable[[bytes], object]) -> None:
    """Exactly @size bytes of the file, though it may change under our eyes, and the padding."""
    left = size
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb", buffering=0) as file:
        while left and (block := file.read(min(left, _COPY))):
            write(block)
            left -= len(block)
    while left:
        step = min(left, _COPY)
        write(bytes(step))
        left -= step
    write(bytes(-size % BLOCK))


def header(  # noqa: PLR0913  as many as a tar header has fields
    name: bytes,
    kind: bytes,
    *,
    mode: int,
    mtime: int,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
    xattrs: dict[bytes, bytes] | None = None,
) -> bytes:
    """The header of one member, with a pax header before it where that is needed."""
    pax: dict[bytes, bytes] = {}
    if len(name) > _NAME_MAX:
        pax[b"path"] = name
    if len(link) > _LINK_MAX:
        pax[b"linkpath"] = link
    for key, value, limit in ((b"size", size, _SIZE_MAX), (b"uid", uid, _ID_MAX),
                              (b"gid", gid, _ID_MAX)):  # fmt: skip
        if value > limit:
            pax[key] = b"%d" % value
    if not 0 <= mtime <= _SIZE_MAX:
        pax[b"mtime"] = b"%d" % mtime
    for key in sorted(xattrs or {}):
        pax[b"SCHILY.xattr." + key] = (xattrs or {})[key]
    plain = _plain(
        name, kind, mode, min(uid, _ID_MAX), min(gid, _ID_MAX), min(size, _SIZE_MAX),
        min(max(mtime, 0), _SIZE_MAX), link, major, minor,
    )  # fmt: skip
    if not pax:
        return plain
    data = b"".join(_record(key, value) for key, value in pax.items())
    extended = _plain(b"PaxHeaders/" + name[:80].rstrip(b"/"), b"x", 0o644, 0, 0, len(data), 0)
    return extended + data + bytes(-len(data) % BLOCK) + plain


def _record(key: bytes, value: bytes) -> bytes:
    """A pax record: LENGTH KEY=VALUE and a newline, the length counting itself."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + 1
    while length != len(body) + len(b"%d" % length):
        length = len(body) + len(b"%d" % length)
    return b"%d" % length + body


def _plain(  # noqa: PLR0913, PLR0917
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int,
    link: bytes = b"", major: int = 0, minor: int = 0,
) -> bytes:  # fmt: skip
    raw = bytearray(BLOCK)
    raw[0:100] = name[:100].ljust(100, b"\0")
    raw[100:108] = b"%07o\0" % mode
    raw[108:116] = b"%07o\0" % uid
    raw[116:124] = b"%07o\0" % gid
    raw[124:136] = b"%011o\0" % size
    raw[136:148] = b"%011o\0" % mtime
    raw[148:156] = b" " * 8
    raw[156:157] = kind
    raw[157:257] = link[:100].ljust(100, b"\0")
    raw[257:265] = b"ustar\x0000"
    raw[329:337] = b"%07o\0" % major
    raw[337:345] = b"%07o\0" % minor
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)
