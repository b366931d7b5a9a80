"""`lpmx unexpose`: takes exposed commands away again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

HELP = "remove commands that `lpmx expose` wrote"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--from", metavar="DIR", dest="folder", default="", help="their folder")
    parser.add_argument("command", metavar="FILE", nargs="+", help="path, or name in DIR")


def run(args: argparse.Namespace) -> int:
    """Remove each."""
    from lpmx_runtime.compose import expose
    from lpmx_runtime.store.store import Store

    store = Store.open()
    for word in args.command:
        expose.unexpose(store, os.path.join(args.folder, word))
    return 0
