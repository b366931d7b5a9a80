"""What Python is told of the UUFS library is what its headers say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cffi import FFI

PRELOAD = Path(__file__).resolve().parents[2] / "preload"
pytestmark = pytest.mark.needs_checkout

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
STRUCT = re.compile(r"\bstruct (\w+) \{([^}]*)\};")
FUNCTION = re.compile(
    r"^(?:VIEW_API )?(?!static)([\w *]*?\b(?:view|vb|host|owner_host)_\w+\([^;{]*\));", re.MULTILINE
)
FLAG = re.compile(r"\b(VIEW_(?:NONE|VERSION|WHITEOUT|OPAQUE|IMPLICIT))\s*=?\s+(0x[0-9a-f]+|\d+)")


def text_of(*names: str | Path) -> str:
    return COMMENT.sub("", "".join((PRELOAD / name).read_text() for name in names))


def squeezed(text: str) -> str:
    return " ".join(text.split())


HOSTED = sorted(path.relative_to(PRELOAD) for path in (PRELOAD / "hosted").glob("*.h"))
HEADERS = text_of("view/view.h", "uufs/uufs.h", *HOSTED)
CDEF = text_of("hosted/uufs.cdef")


def structs(text: str) -> dict[str, str]:
    return {match[1]: squeezed(match[2]) for match in STRUCT.finditer(text)}


def functions(text: str) -> set[str]:
    return {squeezed(match[1]) for match in FUNCTION.finditer(text)}


def test_structs_are_those_of_the_headers() -> None:
    assert len(structs(CDEF)) == 8
    assert structs(CDEF).items() <= structs(HEADERS).items()


def test_functions_are_those_of_the_headers() -> None:
    internal = {
        "uint32_t view_hash(const char *name, size_t len)",
        squeezed(
            """uint32_t view_child_hashed(const struct view *view, uint32_t dir, const char *name,
               size_t len, uint32_t hash)"""
        ),
    }
    assert len(functions(CDEF)) == 39
    assert functions(CDEF) == functions(HEADERS) - internal


def test_constants_are_those_of_the_headers() -> None:
    constants = {match[1]: int(match[2], 0) for match in FLAG.finditer(HEADERS)}
    assert len(constants) == 5
    assert {match[1]: int(match[2], 0) for match in FLAG.finditer(CDEF)} == constants


def test_sizes_are_those_of_the_file_format() -> None:
    ffi = FFI()
    ffi.cdef((PRELOAD / "hosted" / "uufs.cdef").read_text())
    sizes = {
        name: ffi.sizeof(f"struct {name}") for name in ("view_header", "view_layer", "view_node")
    }
    assert sizes == {"view_header": 104, "view_layer": 40, "view_node": 120}
