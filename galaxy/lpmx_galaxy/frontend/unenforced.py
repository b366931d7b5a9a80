"""What was asked and cannot be enforced without privileges: said once a store, then remembered.

The command's stderr is the tool's own: workflow systems keep it, and some take any word on it for a
failure. So a note goes to a file of the store, which `lpmx-docker info` shows, and to stderr only
where a person looks at it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lpmx_runtime.store.store import Store

__all__ = ["known", "note"]

FILE = "not-enforced"


def _path(store: Store) -> str:
    return os.path.join(store.root, FILE)


def known(store: Store) -> list[str]:
    """The notes so far, one line each."""
    try:
        with open(_path(store), encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def note(store: Store, command: str, reasons: Mapping[str, str]) -> None:
    """Remember that flags had no effect: @reasons maps a flag to why. A full disk is no reason."""
    lines = [f"{command} {flag}: {why}" for flag, why in reasons.items()]
    new = _unknown(store, lines)
    if not new:
        return
    try:
        with open(_path(store), "a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in new)
    except OSError:
        return
    if sys.stderr.isatty():
        for line in new:
            print(f"note: {shown(line)}", file=sys.stderr)


def _unknown(store: Store, lines: Iterable[str]) -> list[str]:
    seen = set(known(store))
    return [line for line in lines if line not in seen]
