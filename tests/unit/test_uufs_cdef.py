"""What Python is given of the UUFS library is what the library has."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cffi import FFI

PRELOAD = Path(__file__).resolve().parents[2] / "preload"
pytestmark = pytest.mark.needs_checkout


@pytest.fixture(scope="module")
def text() -> str:
    """As the build makes it."""
    code = "import declarations; print(declarations.declarations())"
    command = [sys.executable, "-c", code]
    made = subprocess.run(
        command, cwd=PRELOAD / "hosted", capture_output=True, text=True, check=True
    )
    return made.stdout


@pytest.fixture(scope="module")
def ffi(text: str) -> FFI:
    made = FFI()
    made.cdef(text)
    return made


def test_declared_functions_are_those_that_the_library_shows(text: str) -> None:
    library = PRELOAD / "build" / "liblpmx_uufs.so"
    symbols = subprocess.run(
        ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
    )
    shown = {line.split()[-1] for line in symbols.stdout.splitlines()}
    declared = re.findall(r"^[^#\n].*?(\w+)\([^()]*\);$", text, re.MULTILINE)
    assert len(declared) == 39
    assert set(declared) == shown


def test_sizes_are_those_of_the_file_format(ffi: FFI) -> None:
    sizes = {
        name: ffi.sizeof(f"struct {name}") for name in ("view_header", "view_layer", "view_node")
    }
    assert sizes == {"view_header": 104, "view_layer": 40, "view_node": 120}


def test_constants_have_the_values_of_the_format(ffi: FFI) -> None:
    lib = ffi.dlopen(str(PRELOAD / "build" / "liblpmx_uufs.so"))
    flags = (lib.VIEW_WHITEOUT, lib.VIEW_OPAQUE, lib.VIEW_IMPLICIT)
    assert (lib.VIEW_VERSION, lib.VIEW_NONE, flags) == (1, 0xFFFFFFFF, (1, 2, 4))
    assert (lib.UUFS_FOLLOW, lib.UUFS_MISSING, lib.LPMX_PATH_MAX) == (1, 2, 4096)
