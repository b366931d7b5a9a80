"""`lpmx inspect`: everything the store knows of an image, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    import argparse

HELP = "show an image in full (always JSON)"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("image", metavar="IMAGE", nargs="+", help="name or id")


def run(args: argparse.Namespace) -> int:
    """Print one JSON list with an entry per image."""
    store = Store.open()
    rows = []
    for name in args.image:
        image = store.resolve(name)
        rows.append(
            {
                "id": image.id,
                "names": list(image.names),
                "created": image.created,
                "size": image.size,
                "chain_id": image.chain_id,
                "view": str(store.view_path(image.chain_id)),
                "layers": [
                    {
                        "diff_id": diff_id,
                        "path": str(store.layer_fs(diff_id)),
                        **{key: store.layer_info(diff_id)[key] for key in ("size", "entries")},
                    }
                    for diff_id in image.diff_ids
                ],
                "containers": store.containers_of(image.id),
                "config": image.config,
            }
        )
    print(json.dumps(rows, indent=2))
    return 0
