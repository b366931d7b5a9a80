"""`lpmx cp` and `lpmx-docker cp`: what their two words name, and the copy between them."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.container import record as containers
from lpmx_runtime.errors import NotFoundError, UsageError

from . import copying
from .tree import WritableTree

if TYPE_CHECKING:
    from lpmx_runtime.store.store import Store

    from .copying import Tree

__all__ = ["copy_words"]


def copy_words(
    store: Store, source: str, target: str, *, archive: bool = False, follow_link: bool = False
) -> None:
    """Copy @source to @target; each is PATH, CONTAINER:PATH or - for a tar on stdin or stdout.

    @archive keeps owners; @follow_link copies what the symlink @source points to. UsageError: none
    of the two is in a container; NotFoundError: no such container or file; OSError: a disk failed.
    """
    (from_name, start), (to_name, end) = _split(source), _split(target)
    if not from_name and not to_name:
        raise UsageError(
            "neither SRC nor DST is in a container", hint="write CONTAINER:PATH for one of them"
        )
    with contextlib.ExitStack() as stack:

        def tree(name: str) -> Tree:
            if not name:
                return copying.LocalTree()
            found = containers.find(store, name)
            return copying.ContainerTree(
                stack.enter_context(WritableTree(store, found)),
                lambda: stack.enter_context(WritableTree(store, found, binds=False)),
            )

        origin, place = _path(from_name, start), _path(to_name, end)
        if not to_name and end == "-":
            _to_stdout(tree(from_name), origin, follow=follow_link)
        elif not from_name and start == "-":
            _from_stdin(tree(to_name), place, target, archive=archive)
        else:
            copying.copy(
                tree(from_name), origin, tree(to_name), place,
                archive=archive, follow=follow_link,
            )  # fmt: skip


def _split(text: str) -> tuple[str, str]:
    """Container ("" for the host) and path. A path with a colon needs a slash before it."""
    if text.startswith((".", "/")) or ":" not in text:
        return "", text
    name, _, path = text.partition(":")
    if "/" in name:
        return "", text
    return name, path or "/"


def _path(container: str, path: str) -> bytes:
    """A container's path counts from its root."""
    if container and not path.startswith("/"):
        path = f"/{path}"
    return os.fsencode(path)


def _to_stdout(tree: Tree, path: bytes, *, follow: bool) -> None:
    if sys.stdout.isatty():
        raise UsageError("an archive is not for a terminal", hint="redirect the output")
    if not tree.kind(path, follow=follow):
        raise NotFoundError(f"{tree.label}:{os.fsdecode(path)}: no such file or directory")
    name = os.path.basename(os.path.normpath(path))
    copying.write_tar(
        tree.items(path, follow=follow), name if name not in {b"", b"/"} else b".",
        sys.stdout.buffer,
    )  # fmt: skip
    sys.stdout.buffer.flush()


def _from_stdin(tree: Tree, path: bytes, target: str, *, archive: bool) -> None:
    if tree.kind(path, follow=True) != stat.S_IFDIR:
        raise UsageError(f"{target}: not a directory", hint="a tar is unpacked in a directory")
    try:
        for item in copying.read_tar(sys.stdin.buffer):
            if item.path:
                tree.put(path, item, archive=archive)
    finally:
        tree.settle()
