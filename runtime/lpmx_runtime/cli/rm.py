"""`lpmx rm`: containers go, with all that was written in them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    import argparse

HELP = "remove containers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-f",
        "--force",
        action="store_true",
        help="kill what runs in them; no error if there is none",
    )
    parser.add_argument(
        "--lost",
        action="store_true",
        help="with -f: also those in use on a machine that is gone for good",
    )
    parser.add_argument("containers", metavar="CONTAINER", nargs="+", help="name or id")


def run(args: argparse.Namespace) -> int:
    """Remove each; one that cannot be removed does not keep the others."""
    from lpmx_runtime.container import record as containers
    from lpmx_runtime.store.store import Store

    if args.lost and not args.force:
        raise UsageError("--lost: is for -f", hint="`lpmx rm -f --lost CONTAINER`")
    store = Store.open()
    failed: LpmxError | None = None
    for name in args.containers:
        try:
            container = containers.find(store, name)
            containers.remove(store, container, force=args.force, lost=args.lost)
            print(name)
        except containers.ContainerNotFoundError as error:
            failed = failed if args.force else _later(error, failed)
        except LpmxError as error:
            failed = _later(error, failed)
    if failed:
        raise failed
    return 0


def _later(error: LpmxError, previous: LpmxError | None) -> LpmxError:
    """Keep @error to be raised at the end; report the one before it now."""
    if previous:
        print(f"lpmx: {shown(previous.message)}", file=sys.stderr)
    return error
