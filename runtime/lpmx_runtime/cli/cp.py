"""`lpmx cp`: files into and out of containers."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    import argparse

    from lpmx_runtime.copying import Tree

HELP = "copy files between the host and a container"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-a", "--archive", action="store_true", help="keep owners; else they are the destination's"
    )
    parser.add_argument(
        "-L", "--follow-link", action="store_true", help="copy what the symlink SRC points to"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="accepted: nothing is printed")
    parser.add_argument("src", metavar="SRC", help="PATH, CONTAINER:PATH, or - for a tar on stdin")
    parser.add_argument("dst", metavar="DST", help="PATH, CONTAINER:PATH, or - for a tar on stdout")


def _split(text: str) -> tuple[str, str]:
    """Container ("" for the host) and path. A path with a colon needs a slash before it."""
    if text.startswith((".", "/")) or ":" not in text:
        return "", text
    name, _, path = text.partition(":")
    if "/" in name:
        return "", text
    return name, path or "/"


def run(args: argparse.Namespace) -> int:
    """Copy."""
    from lpmx_runtime import container as containers
    from lpmx_runtime import copying
    from lpmx_runtime.store import Store
    from lpmx_runtime.writabletree import WritableTree

    (from_name, source), (to_name, target) = _split(args.src), _split(args.dst)
    if not from_name and not to_name:
        raise UsageError(
            "neither SRC nor DST is in a container", hint="write CONTAINER:PATH for one of them"
        )
    store = Store.open()
    with contextlib.ExitStack() as stack:

        def tree(name: str) -> Tree:
            if not name:
                return copying.LocalTree()
            found = containers.find(store, name)
            return copying.ContainerTree(
                stack.enter_context(WritableTree(store, found)),
                lambda: stack.enter_context(WritableTree(store, found, binds=False)),
            )

        start, end = _path(from_name, source), _path(to_name, target)
        if not to_name and target == "-":
            _to_stdout(tree(from_name), start, follow=args.follow_link)
        elif not from_name and source == "-":
            _from_stdin(tree(to_name), end, args)
        else:
            copying.copy(
                tree(from_name), start, tree(to_name), end,
                archive=args.archive, follow=args.follow_link,
            )  # fmt: skip
    return 0


def _path(container: str, path: str) -> bytes:
    """A container's path counts from its root."""
    if container and not path.startswith("/"):
        path = f"/{path}"
    return os.fsencode(path)


def _to_stdout(tree: Tree, path: bytes, *, follow: bool) -> None:
    from lpmx_runtime.copying import write_tar

    if sys.stdout.isatty():
        raise UsageError("an archive is not for a terminal", hint="redirect the output")
    if not tree.kind(path, follow=follow):
        raise NotFoundError(f"{tree.label}:{os.fsdecode(path)}: no such file or directory")
    name = os.path.basename(os.path.normpath(path))
    write_tar(
        tree.items(path, follow=follow), name if name not in {b"", b"/"} else b".",
        sys.stdout.buffer,
    )  # fmt: skip
    sys.stdout.buffer.flush()


def _from_stdin(tree: Tree, path: bytes, args: argparse.Namespace) -> None:
    from lpmx_runtime.copying import read_tar

    if tree.kind(path, follow=True) != stat.S_IFDIR:
        raise UsageError(f"{args.dst}: not a directory", hint="a tar is unpacked in a directory")
    try:
        for item in read_tar(sys.stdin.buffer):
            if item.path:
                tree.put(path, item, archive=args.archive)
    finally:
        tree.settle()
