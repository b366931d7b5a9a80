"""What our programs leave out until it is needed, so that they start quickly.

Not for libraries: only the packages of programs call it, as the first thing they do.
"""

from __future__ import annotations

import sys
import types
from typing import Any

__all__ = ["import_dataclasses"]


def import_dataclasses() -> None:
    """Import `dataclasses` without `inspect`, and so without Python's parser and disassembler.

    It asks inspect to document classes that have no docstring. Ours have one; and the import was a
    fifth of what a short command took. (importlib's LazyLoader loads at the very next import.)
    """
    if "dataclasses" in sys.modules or "inspect" in sys.modules:
        return
    stand_in = types.ModuleType("inspect")
    stand_in.__dict__["__getattr__"] = _of_the_real_one
    sys.modules["inspect"] = stand_in
    try:
        import dataclasses  # noqa: F401
    finally:
        del sys.modules["inspect"]


def _of_the_real_one(name: str) -> Any:
    import inspect

    return getattr(inspect, name)
