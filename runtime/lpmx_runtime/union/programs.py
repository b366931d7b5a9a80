"""Programs of a tree by name or path, as execvp finds them."""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING

from lpmx_runtime.plans.variables import DEFAULT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .tree import Hit, Tree

__all__ = ["find_program", "is_executable", "is_program", "programs_named"]

_EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def find_program(tree: Tree, word: str, search_path: str = "") -> str | None:
    """The container path of program @word: itself, or the first on @search_path ("": the default).

    None when there is no such program.
    """
    if word.startswith("/"):
        return word if is_program(tree, word) else None
    return next(programs_named(tree, word, search_path), None)


def programs_named(tree: Tree, name: str, search_path: str = "") -> Iterator[str]:
    """The container paths of all programs called @name on @search_path, in its order."""
    for directory in (search_path or DEFAULT_PATH).split(":"):
        path = posixpath.join(directory or "/", name)
        if path.startswith("/") and is_program(tree, path):
            yield path


def is_program(tree: Tree, path: str) -> bool:
    """True when container path @path leads to an executable regular file."""
    hit = tree.find(os.fsencode(path))
    return hit is not None and stat.S_ISREG(tree.kind(hit)) and is_executable(tree, hit)


def is_executable(tree: Tree, hit: Hit) -> bool:
    """Does the mode of @hit, as the container sees it, let somebody execute it?"""
    try:
        return bool(tree.shown(hit).mode & _EXECUTABLE)
    except OSError:
        return False
