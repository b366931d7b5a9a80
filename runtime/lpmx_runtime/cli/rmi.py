"""`lpmx rmi`: forget names and images, and free the layers that nothing else needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime import gc
from lpmx_runtime.columns import size_text
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    import argparse

HELP = "remove images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("image", metavar="IMAGE", nargs="+", help="name or id")
    parser.add_argument(
        "-f",
        "--force",
        action="store_true",
        help="remove all names of an image that is given by its id",
    )
    parser.add_argument("--keep-layers", action="store_true", help="leave the layers for `lpmx gc`")


def run(args: argparse.Namespace) -> int:
    """Remove each; a name of several takes only the name away."""
    store = Store.open()
    removed = False
    for name in args.image:
        result = gc.remove_image(store, name, force=args.force)
        removed = removed or result.removed
        for line in result.lines:
            print(line)
    if removed and not args.keep_layers:
        freed = gc.collect(store, temporaries=False)
        print(f"freed {size_text(freed.bytes)}")
    return 0
