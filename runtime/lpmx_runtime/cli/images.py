"""`lpmx images`: what is in the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lpmx_runtime.columns import size_text, table
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    import argparse

HELP = "list images"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-q", "--quiet", action="store_true", help="print ids only")
    parser.add_argument("--no-trunc", action="store_true", help="print ids in full")


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    images = Store.open().images()
    if args.json:
        rows = [
            {
                "id": image.id,
                "names": list(image.names),
                "layers": len(image.diff_ids),
                "size": image.size,
                "created": image.created,
            }
            for image in images
        ]
        print(json.dumps(rows, indent=2))
        return 0
    if args.quiet:
        for image in images:
            print(image.id if args.no_trunc else image.short_id)
        return 0
    lines = []
    for image in images:
        shown = image.id if args.no_trunc else image.short_id
        rest = (shown, str(len(image.diff_ids)), size_text(image.size), image.created)
        lines += [(name, *rest) for name in image.names or ("-",)]
    print(table(("NAME", "ID", "LAYERS", "SIZE", "LOADED"), lines))
    return 0
