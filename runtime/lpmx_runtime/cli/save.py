"""`lpmx save`: images into an archive that other tools read."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse

HELP = "write images to an archive"
_FORMATS = ("docker-archive", "oci-archive", "oci-dir")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default="",
        help="file, or folder for oci-dir; else stdout",
    )
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        default=_FORMATS[0],
        help="what to write; default: docker-archive, which `docker load` reads",
    )
    parser.add_argument(
        "--uncompressed", action="store_true", help="OCI formats: layers as plain tar, not gzip"
    )
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="name or id")


def run(args: argparse.Namespace) -> int:
    """Write it; nothing is printed."""
    from lpmx_runtime.images.save import save
    from lpmx_runtime.store.store import Store

    if not args.output and args.format == "oci-dir":
        raise UsageError("oci-dir is a folder", hint="name it with -o FOLDER")
    if not args.output and sys.stdout.isatty():
        raise UsageError(
            "an archive is not for a terminal", hint="use -o FILE, or redirect the output"
        )
    save(
        Store.open(),
        args.images,
        args.output or sys.stdout.buffer,
        form=args.format,
        compress=not args.uncompressed,
    )
    return 0
