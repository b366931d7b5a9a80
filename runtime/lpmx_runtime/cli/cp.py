"""`lpmx cp`: files into and out of containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

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


def run(args: argparse.Namespace) -> int:
    """Copy."""
    from lpmx_runtime.copy.words import copy_words
    from lpmx_runtime.store.store import Store

    copy_words(Store.open(), args.src, args.dst, archive=args.archive, follow_link=args.follow_link)
    return 0
