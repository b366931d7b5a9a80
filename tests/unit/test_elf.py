"""What a shared library says of itself."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from lpmx_kernels.image import payload_build
from lpmx_runtime.gpu.elf import X86_64, ElfLibrary, read_library

if TYPE_CHECKING:
    from pathlib import Path

STRTAB, SONAME, RELA, RELR = 5, 14, 7, 36
NAMES = b"\0libx.so.1\0"


def library(*tags: int) -> bytes:
    """A shared object: a header, one loaded and one dynamic segment, the entries, the names."""
    begin, size = 64 + 2 * 56, 16 * (len(tags) + 1)
    values = {STRTAB: begin + size, SONAME: 1}
    entries = b"".join(struct.pack("<QQ", tag, values.get(tag, 0)) for tag in tags)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, X86_64, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    whole = begin + size + len(NAMES)
    segments = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, whole, whole, 4096)
    segments += struct.pack("<IIQQQQQQ", 2, 4, begin, begin, begin, size, size, 8)
    return header + segments + entries + bytes(16) + NAMES


@pytest.mark.parametrize(
    ("tags", "soname", "packed"),
    [
        ((STRTAB, SONAME, RELA), "libx.so.1", False),
        ((STRTAB, SONAME, RELA, RELR), "libx.so.1", True),
        ((RELR,), "", True),
        ((0, RELR), "", False),  # an entry of 0 ends them
        ((), "", False),
    ],
)
def test_soname_and_packed_relocations(
    tmp_path: Path, tags: tuple[int, ...], soname: str, packed: bool
) -> None:
    path = tmp_path / "libx.so"
    path.write_bytes(library(*tags))
    assert read_library(path) == ElfLibrary(X86_64, soname, packed)


def test_what_is_no_library(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("import os\n")
    (tmp_path / "short").write_bytes(library(RELR)[:60])
    assert read_library(tmp_path / "text") is None
    assert read_library(tmp_path / "short") is None
    assert read_library(tmp_path / "nothing") is None


def test_one_packed_library_of_a_payload_is_enough(tmp_path: Path) -> None:
    (tmp_path / "pyzmq.libs").mkdir()
    (tmp_path / "one.so").write_bytes(library(RELA))
    assert not payload_build.has_packed_relocations(tmp_path)
    (tmp_path / "pyzmq.libs" / "libgcc_s-0cd5.so.1").write_bytes(library(RELA, RELR))
    assert payload_build.has_packed_relocations(tmp_path)
