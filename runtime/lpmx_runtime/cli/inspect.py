"""`lpmx inspect`: everything the store, or a registry, knows of an image, as JSON."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.cli.registry import add_authfile, add_connection, checks_certificates
from lpmx_runtime.errors import UsageError
from lpmx_runtime.store.store import Store
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    import argparse

HELP = "show an image in full (always JSON)"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("image", metavar="IMAGE", nargs="+", help="name or id")
    parser.add_argument(
        "--remote",
        action="store_true",
        help="what its registry has: manifest, configuration, platforms, size; fetches no layer",
    )
    parser.add_argument(
        "--platform",
        default="",
        metavar="OS/ARCH[/VARIANT]",
        help="with --remote: which image of several",
    )
    add_authfile(parser, "with --remote: credentials, no other place")
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Print one JSON list with an entry per image."""
    if args.remote:
        return _remote(args)
    if args.platform:
        raise UsageError("--platform goes with --remote", hint="the store has one image a name")
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


def _remote(args: argparse.Namespace) -> int:
    from lpmx_runtime.images.registry.places import Access
    from lpmx_runtime.images.registry.remote import describe

    access = Access(args.authfile, args.plain_http, checks_certificates(args))
    rows = [describe(name, access, platform=args.platform, warn=_warn) for name in args.image]
    print(json.dumps(rows, indent=2))
    return 0


def _warn(line: str) -> None:
    print(f"lpmx: {shown(line)}", file=sys.stderr)
