"""`lpmx copy`: images between registries and OCI layouts, as they are."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
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
from lpmx_runtime.images.registry.send.copy import Options, copy

if TYPE_CHECKING:
    import argparse

HELP = "copy an image between registries and OCI layouts, digests kept"
LISTS = True
_FORM = "[docker://]NAME[:TAG][@DIGEST] or oci:DIR[:NAME]"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("source", metavar="SRC", help=_FORM)
    parser.add_argument("target", metavar="DST", help="the same forms")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--all-platforms",
        action="store_true",
        help="the image for every platform, under the digest of their index (default)",
    )
    which.add_argument(
        "--platform",
        default="",
        metavar="OS/ARCH[/VARIANT]",
        help="only the image for that platform, under its own digest",
    )
    parser.add_argument(
        "--referrers", action="store_true", help="signatures and other artifacts about it, too"
    )
    add_jobs(parser, "blobs")
    add_authfile(parser, "credentials for both sides, no other place")
    add_connection(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print the result only")


def run(args: argparse.Namespace) -> int:
    """Copy, and print DST@DIGEST."""
    end_in_order()
    options = Options(
        args.platform,
        args.referrers,
        jobs_of(args),
        args.authfile,
        args.plain_http,
        checks_certificates(args),
    )
    display = Display(args.target, quiet=args.quiet or args.json)
    try:
        copied = copy(args.source, args.target, options, meter=display.begin, report=display.say)
    finally:
        display.end()
    if args.json:
        print(json.dumps(asdict(copied), indent=2))
        return 0
    if not args.quiet:
        more = f", {copied.referrers} referrers" if copied.referrers else ""
        print(
            f"{copied.name}: {copied.manifests} manifests, {copied.blobs} blobs{more}"
            f" ({size_text(copied.size)} sent)",
            file=sys.stderr,
        )
    print(f"{copied.name}@{copied.digest}" if "@" not in copied.name else copied.name)
    return 0
