"""Make lpmx_runtime/_uufs_cffi.py, the Python side of liblpmx_uufs.so, from the headers.

cffi's ABI mode: the module holds declarations only and opens the library at run time, so neither
Python.h nor a compiler run per Python version is needed.

    python cffi_build.py FOLDER|FILE.py

    from lpmx_runtime._uufs_cffi import ffi
    lib = ffi.dlopen(path_of_liblpmx_uufs_so)
"""

from __future__ import annotations

import sys
from pathlib import Path

from cffi import FFI
from declarations import declarations

MODULE = "lpmx_runtime._uufs_cffi"


def make(target: Path) -> Path:
    """Write the module to @target, a file or a folder; return the file."""
    ffi = FFI()
    ffi.cdef(declarations())
    ffi.set_source(MODULE, None)
    if target.suffix != ".py":
        target = target / "_uufs_cffi.py"
    target.parent.mkdir(parents=True, exist_ok=True)
    ffi.emit_python_code(str(target))
    return target


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: cffi_build.py FOLDER|FILE.py")
    make(Path(sys.argv[1]))
