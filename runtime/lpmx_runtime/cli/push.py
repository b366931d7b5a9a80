"""`lpmx push`: put images of the store into registries."""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.cli.registry import add_authfile, add_connection, checks_certificates
from lpmx_runtime.config.values import JOBS
from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse

HELP = "put an image of the store into a registry"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("image", metavar="IMAGE", help="name or id of an image in the store")
    parser.add_argument(
        "target",
        nargs="?",
        default="",
        metavar="NAME",
        help="[REGISTRY/]NAME[:TAG]",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help=f"blobs at a time (default {JOBS}, or config.yaml's)"
    )
    add_authfile(parser, "credentials, no other place")
    add_connection(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    """Push it, and print its name with the digest."""
    from lpmx_runtime.images.progress import Display
    from lpmx_runtime.images.registry.places import Access
    from lpmx_runtime.images.registry.push import push
    from lpmx_runtime.store.store import Store

    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs}: at least 1")
    display = Display(args.image, quiet=args.quiet or bool(args.json))
    try:
        pushed = push(
            Store.open(),
            args.image,
            args.target,
            access=Access(args.authfile, args.plain_http, checks_certificates(args)),
            at_once=args.jobs or 0,
            meter=display.begin,
            report=display.say,
        )
    finally:
        display.end()
    if args.json:
        print(json.dumps(vars(pushed)))
    else:
        print(f"{pushed.reference}@{pushed.digest}")
    return 0
