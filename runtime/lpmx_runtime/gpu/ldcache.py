"""The cache of glibc's dynamic loader, /etc/ld.so.cache: read, and written with libraries added.

The format is the one that glibc's sysdeps/generic/dl-cache.h describes ("glibc-ld.so.cache1.1");
the older "ld.so-1.7.0" table that may stand before it is skipped. Every glibc since 2.2 reads a
file that holds the new table alone.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LIBC6_X86_64", "CacheEntry", "add_libraries", "parse_cache"]

LIBC6_X86_64 = 0x0303  # FLAG_ELF_LIBC6 | FLAG_X8664_LIB64
_OLD_MAGIC = b"ld.so-1.7.0\0"
_OLD_ENTRY = 12
_NEW_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sIIB3xI12x")
_ENTRY = struct.Struct("<iIIIQ")
_ALIGN = 8
_HWCAP_EXTENSION = 1 << 62  # an index into the glibc-hwcaps section instead of a bit mask
_LITTLE_ENDIAN = 2


@dataclass(frozen=True)
class CacheEntry:
    """One library that the loader finds by @name."""

    name: str
    path: str
    flags: int = LIBC6_X86_64
    hwcap: int = 0


def parse_cache(data: bytes) -> list[CacheEntry]:
    """The entries of a cache file, in its order; none when it is not one."""
    start = 0
    if data.startswith(_OLD_MAGIC) and len(data) >= len(_OLD_MAGIC) + 4:
        (count,) = struct.unpack_from("<I", data, len(_OLD_MAGIC))
        start = len(_OLD_MAGIC) + 4 + count * _OLD_ENTRY
        start += -start % _ALIGN
    if data[start : start + len(_NEW_MAGIC)] != _NEW_MAGIC or len(data) < start + _HEADER.size:
        return []
    _, count, _, _, _ = _HEADER.unpack_from(data, start)
    entries = []
    for index in range(count):
        offset = start + _HEADER.size + index * _ENTRY.size
        if offset + _ENTRY.size > len(data):
            return []
        flags, name, path, _, hwcap = _ENTRY.unpack_from(data, offset)
        entries.append(
            CacheEntry(_string(data, start + name), _string(data, start + path), flags, hwcap)
        )
    return entries


def _string(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset)
    return os.fsdecode(data[offset:end]) if 0 <= offset < end else ""


def add_libraries(data: bytes, libraries: Iterable[CacheEntry]) -> bytes:
    """The cache file @data with @libraries, which win over entries of the same name.

    Variants for certain processors (glibc-hwcaps) are left out: the loader then takes the library
    that runs anywhere.
    """
    mine = list(libraries)
    names = {entry.name for entry in mine}
    kept = [
        entry
        for entry in parse_cache(data)
        if entry.name not in names and not entry.hwcap & _HWCAP_EXTENSION
    ]
    return _write(sorted(mine + kept, key=lambda entry: _order(entry.name), reverse=True))


def _order(name: str) -> list[tuple[int, int]]:
    """The loader's order for its binary search: numbers by value and after all other bytes."""
    words = re.findall(rb"[0-9]+|[^0-9]", os.fsencode(name), re.DOTALL)
    return [(1, int(word)) if word.isdigit() else (0, word[0]) for word in words]


def _write(entries: list[CacheEntry]) -> bytes:
    start = _HEADER.size + len(entries) * _ENTRY.size
    strings = bytearray()
    known: dict[str, int] = {}

    def place(text: str) -> int:
        if text not in known:
            known[text] = start + len(strings)
            strings.extend(os.fsencode(text) + b"\0")
        return known[text]

    rows = [
        _ENTRY.pack(entry.flags, place(entry.name), place(entry.path), 0, entry.hwcap)
        for entry in entries
    ]
    header = _HEADER.pack(_NEW_MAGIC, len(entries), len(strings), _LITTLE_ENDIAN, 0)
    return header + b"".join(rows) + bytes(strings)
