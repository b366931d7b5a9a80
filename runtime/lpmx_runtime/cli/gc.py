"""`lpmx gc`: remove what nothing refers to, and the remains of interrupted imports and runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lpmx_runtime import gc
from lpmx_runtime.columns import size_text
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    import argparse

HELP = "remove layers and leftovers that nothing needs"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would go")
    parser.add_argument(
        "--downloads", action="store_true", help="also what interrupted pulls have fetched so far"
    )


def run(args: argparse.Namespace) -> int:
    """Collect and say what went."""
    found = gc.collect(Store.open(), dry_run=args.dry_run, downloads=args.downloads)
    if args.json:
        print(
            json.dumps(
                {
                    "containers": list(found.containers),
                    "layers": list(found.layers),
                    "views": list(found.views),
                    "leftovers": list(found.leftovers),
                    "bytes": found.bytes,
                },
                indent=2,
            )
        )
        return 0
    verb = "would free" if args.dry_run else "freed"
    counts = {
        "container": found.containers,
        "layer": found.layers,
        "view": found.views,
        "leftover": found.leftovers,
    }
    what = ", ".join(f"{len(of)} {name}{'s' * (len(of) != 1)}" for name, of in counts.items())
    print(f"{verb} {size_text(found.bytes)}: {what}")
    return 0
