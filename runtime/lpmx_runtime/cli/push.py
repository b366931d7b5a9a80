"""`lpmx push`: images of the store into registries."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.cli.options import end_in_order
from lpmx_runtime.cli.registry import (
    add_authfile,
    add_connection,
    add_jobs,
    checks_certificates,
    jobs_of,
)
from lpmx_runtime.columns import size_text
from lpmx_runtime.images.progress import Display
from lpmx_runtime.images.registry.send.push import Options, push
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    import argparse

    from lpmx_runtime.images.registry.send.push import Pushed

HELP = "put an image into a registry"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("image", metavar="IMAGE", help="name or id")
    parser.add_argument(
        "target",
        nargs="?",
        default="",
        metavar="REF",
        help="what to call it there, [REGISTRY/]NAME[:TAG]; default: as here",
    )
    add_jobs(parser, "layers")
    add_authfile(parser, "credentials, no other place")
    add_connection(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print the result only")


def run(args: argparse.Namespace) -> int:
    """Push, and print NAME:TAG@DIGEST."""
    end_in_order()
    options = Options(jobs_of(args), args.authfile, args.plain_http, checks_certificates(args))
    display = Display(args.target or args.image, quiet=args.quiet or args.json)
    try:
        pushed = push(
            Store.open(),
            args.image,
            args.target,
            options,
            meter=display.begin,
            report=display.say,
        )
    finally:
        display.end()
    if args.json:
        print(json.dumps(_row(pushed), indent=2))
        return 0
    if not args.quiet:
        print(f"{pushed.name}: {_summary(pushed)}", file=sys.stderr)
    print(f"{pushed.name}@{pushed.digest}")
    return 0


def _row(pushed: Pushed) -> dict[str, object]:
    return {
        "id": pushed.image.id,
        "name": pushed.name,
        "digest": pushed.digest,
        "keeps_manifest": pushed.keeps_manifest,
        "there": pushed.blobs["there"],
        "mounted": pushed.blobs["mounted"],
        "sent": pushed.blobs["sent"],
        "size": pushed.size,
    }


def _summary(pushed: Pushed) -> str:
    """`5 blobs: 3 there, 1 mounted, 1 sent (2.1 MB)`."""
    words = [f"{count} {how}" for how, count in sorted(pushed.blobs.items(), reverse=True)]
    total = sum(pushed.blobs.values())
    return f"{total} blobs: {', '.join(words)} ({size_text(pushed.size)})"
