"""What a shared library says of itself: for which machine, what SONAME, what relocations.

Reads the program headers only, so stripped files do too. Not a loader, and not for hostile files:
what does not parse is simply not a library.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

__all__ = ["X86_64", "ElfLibrary", "read_library"]

X86_64 = 62  # EM_X86_64
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_STRTAB, _DT_SONAME, _DT_RELR = 0, 5, 14, 36
_ET_DYN = 3
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_ENTRY = struct.Struct("<QQ")
_NAME_MAX = 255


@dataclass(frozen=True)
class ElfLibrary:
    """A 64-bit little-endian shared object."""

    machine: int  # e_machine
    soname: str  # "" when it has none
    packed_relocations: bool = False  # DT_RELR: glibc reads them from 2.36 on, musl from 1.2.4


def read_library(path: str | os.PathLike[str]) -> ElfLibrary | None:
    """What the shared object at @path is; None for any other file, also an unreadable one."""
    try:
        with open(path, "rb") as file:
            fd = file.fileno()
            header = os.pread(fd, _HEADER.size, 0)
            if len(header) < _HEADER.size or header[:6] != b"\x7fELF\x02\x01":
                return None
            _, kind, machine, _, _, phoff, _, _, _, phentsize, phnum, *_ = _HEADER.unpack(header)
            if kind != _ET_DYN or phentsize != _SEGMENT.size:
                return None
            table = os.pread(fd, phnum * _SEGMENT.size, phoff)
            segments = list(_SEGMENT.iter_unpack(table[: len(table) // 56 * 56]))
            dynamic = _dynamic(fd, segments)
            return ElfLibrary(machine, _soname(fd, segments, dynamic), _DT_RELR in dynamic)
    except (OSError, ValueError, OverflowError):
        return None


def _dynamic(fd: int, segments: list[tuple[int, ...]]) -> dict[int, int]:
    """The entries of the dynamic section: tag to value."""
    found: dict[int, int] = {}
    for kind, _, offset, _, _, size, *_ in segments:
        if kind != _PT_DYNAMIC:
            continue
        data = os.pread(fd, size, offset)
        for tag, value in _ENTRY.iter_unpack(data[: len(data) // _ENTRY.size * _ENTRY.size]):
            if tag == _DT_NULL:
                break
            found[tag] = value
    return found


def _soname(fd: int, segments: list[tuple[int, ...]], dynamic: dict[int, int]) -> str:
    if _DT_STRTAB not in dynamic or _DT_SONAME not in dynamic:
        return ""
    place = _file_offset(segments, dynamic[_DT_STRTAB])
    if place is None:
        return ""
    raw = os.pread(fd, _NAME_MAX + 1, place + dynamic[_DT_SONAME]).partition(b"\0")[0]
    return os.fsdecode(raw)


def _file_offset(segments: list[tuple[int, ...]], address: int) -> int | None:
    for kind, _, offset, start, _, size, *_ in segments:
        if kind == _PT_LOAD and start <= address < start + size:
            return offset + address - start
    return None
