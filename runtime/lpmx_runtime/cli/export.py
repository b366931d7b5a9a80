"""`lpmx export`: the files of a container as a tar."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse

HELP = "write the files of a container to a tar"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-o", "--output", metavar="FILE", default="", help="file; else stdout")
    parser.add_argument("container", metavar="CONTAINER", help="name or id")


def run(args: argparse.Namespace) -> int:
    """Write it; nothing is printed."""
    from lpmx_runtime.container import record as containers
    from lpmx_runtime.copy.export import export
    from lpmx_runtime.store.store import Store

    if not args.output and sys.stdout.isatty():
        raise UsageError(
            "an archive is not for a terminal", hint="use -o FILE, or redirect the output"
        )
    store = Store.open()
    export(store, containers.find(store, args.container), args.output or sys.stdout.buffer)
    return 0
