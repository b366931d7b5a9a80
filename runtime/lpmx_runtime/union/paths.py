"""Between a container's paths and the host's."""

from __future__ import annotations

import fnmatch
import os
import posixpath
import stat
from typing import TYPE_CHECKING

from ..errors import StorageError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpmx_runtime.plans.plan import LaunchPlan

    from .tree import Tree

__all__ = ["glob", "host_path", "inside_path", "plan_host_path", "real_place"]

_STEPS_MAX = 4096  # names on the way, those of symlinks included


def host_path(tree: Tree, path: str, *, cwd: str = "/") -> str | None:
    """The host's path of container path @path, which may be relative to @cwd; None: no such file.

    Symlinks are followed inside. A host path of one of the container's own files, as this function
    returns it, is returned as it is.
    """
    raw = os.fsencode(path)
    hit = tree.find(raw if path.startswith("/") else os.fsencode(posixpath.join(cwd, path)))
    if hit is not None:
        return os.fsdecode(hit.host)
    inside = tree.from_host(os.path.normpath(raw)) if path.startswith("/") else None
    back = tree.find(inside, follow=False) if inside else None
    return path if back is not None and back.in_union and back.host == raw else None


def plan_host_path(plan: LaunchPlan, path: str) -> str | None:
    """The same for the container of @plan, from its working directory; None if it is gone, too."""
    from .tree import Tree

    try:
        with Tree.of_plan(plan) as tree:
            return host_path(tree, path, cwd=plan.cwd)
    except StorageError:
        return None


def inside_path(tree: Tree, host: str) -> str | None:
    """The container path of host path @host; None when the container does not show it."""
    inside = tree.from_host(os.fsencode(host))
    hit = tree.find(inside, follow=False) if inside else None
    if hit is None:
        return None
    try:
        same = os.path.samefile(hit.host, host)
    except OSError:
        return None
    return os.fsdecode(hit.path) if same else None


def glob(tree: Tree, pattern: str) -> Iterator[str]:
    """The container paths that @pattern, from the root and as of fnmatch, fits; sorted.

    Symlinks on the way are followed; names that begin with a dot need one in the pattern.
    """
    yield from _glob(tree, "/", pattern.strip("/").split("/"))


def _glob(tree: Tree, directory: str, words: list[str]) -> Iterator[str]:
    word, rest = words[0], words[1:]
    hit = tree.find(os.fsencode(directory))
    if hit is None or not stat.S_ISDIR(tree.kind(hit)):
        return
    names = [word]
    if set(word) & set("*?["):
        try:
            names = [os.fsdecode(name) for name in tree.names(hit)]
        except OSError:
            return
    for name in names:
        if not fnmatch.fnmatchcase(name, word) or (name[:1] == "." and word[:1] != "."):
            continue
        path = posixpath.join(directory, name)
        if rest:
            yield from _glob(tree, path, rest)
        elif tree.find(os.fsencode(path), follow=False):
            yield path


def real_place(tree: Tree, path: str) -> str:
    """@path with the symlinks in its parents resolved, where a bind of it has to be.

    The last name stays, since a bind replaces a symlink; names that do not exist stay, too.
    UsageError: the symlinks lead in a circle.
    """
    parent, name = posixpath.split(path)
    pending = parent.split("/")[::-1]
    found = "/"
    for _ in range(_STEPS_MAX):
        if not pending:
            return posixpath.join(found, name)
        word = pending.pop()
        if word == "..":
            found = posixpath.dirname(found)
        elif word not in ("", "."):
            here = posixpath.join(found, word)
            target = os.fsdecode(tree.link(os.fsencode(here)))
            if target.startswith("/"):
                found = "/"
            elif not target:
                found = here
            pending += target.split("/")[::-1]
    raise UsageError(f"-v {path}: too many symlinks in the image")
