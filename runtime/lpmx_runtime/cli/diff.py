"""`lpmx diff`: what a container has changed against its image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

HELP = "list what a container has changed against its image"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("container", metavar="CONTAINER", help="name or id")


def run(args: argparse.Namespace) -> int:
    """Print `A`, `C` or `D` and the path, a line each, as docker does."""
    from lpmx_runtime.container import record as containers
    from lpmx_runtime.container.upper import changes
    from lpmx_runtime.errors import storage_errors
    from lpmx_runtime.store.store import Store
    from lpmx_runtime.text import shown
    from lpmx_runtime.union.view import View

    store = Store.open()
    container = containers.find(store, args.container)
    with (
        storage_errors(f"container {container.label}"),
        View(store.view_path(container.chain_id)) as view,
    ):
        found = sorted(changes(container, view), key=lambda change: change.path)
    found = [change for change in found if change.path != "/"]
    if args.json:
        print(json.dumps([change.as_dict() for change in found], indent=2))
    else:
        for change in found:
            print(change.kind, shown(change.path))
    return 0
