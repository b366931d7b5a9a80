"""Where the compiled parts lie: the loader executable and the UUFS library."""

from __future__ import annotations

import os

from .errors import NativeMissingError

__all__ = ["ENGINE", "library_path", "loader_digest", "loader_path"]

ENGINE = "lpmx-exec"
_DIGITS = 32
_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_native")


def _native(name: str) -> str:
    path = os.path.join(os.environ.get("LPMX_NATIVE") or _FOLDER, name)
    if not os.access(path, os.R_OK):
        raise NativeMissingError(
            f"{path}: the compiled part is missing",
            hint="build it with `make -C preload` and `pip install -e .`, or install the wheel",
        )
    return path


def loader_path() -> str:
    """The loader, `lpmx-exec`: it becomes the container's program."""
    return _native(ENGINE)


def loader_digest() -> str:
    """32 hex digits that tell this loader from those of other versions (of its SHA-256)."""
    path = _native(ENGINE)
    try:
        with open(f"{path}.sha256", encoding="ascii") as file:  # setup.py writes it
            return file.read(_DIGITS)
    except FileNotFoundError:
        import hashlib  # costs a start 3 ms

        with open(path, "rb") as loader:
            return hashlib.sha256(loader.read()).hexdigest()[:_DIGITS]


def library_path() -> str:
    """The UUFS library that the cffi module opens."""
    return _native("liblpmx_uufs.so")
