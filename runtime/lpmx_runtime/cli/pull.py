"""`lpmx pull`: bring images of registries into the store."""

from __future__ import annotations

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
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.images.progress import Display
from lpmx_runtime.images.registry.pull import Options, pull
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    import argparse

    from lpmx_runtime.images.registry.pull import Pulled

__all__ = ["HELP", "LISTS", "Display", "add_arguments", "run"]

HELP = "bring images of registries into the store"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="image: [REGISTRY/]NAME[:TAG][@sha256:HEX]"
    )
    parser.add_argument(
        "--platform",
        default="",
        metavar="OS/ARCH[/VARIANT]",
        help="of an image of several platforms",
    )
    add_jobs(parser, "layers")
    parser.add_argument(
        "--verify",
        action="append",
        default=[],
        metavar="KEY.pem",
        help="take only what is signed by this public key (cosign); several: by any of them",
    )
    add_authfile(parser, "credentials, no other place")
    add_connection(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="print image ids only")


def run(args: argparse.Namespace) -> int:
    """Pull one after the other, and say what came."""
    end_in_order()
    options = Options(
        args.platform,
        jobs_of(args),
        args.authfile,
        args.plain_http,
        checks_certificates(args),
        tuple(args.verify),
    )
    store = Store.open()
    for name in args.names:
        if args.json:
            _with_events(store, name, options)
        else:
            _with_display(store, name, options, quiet=args.quiet)
    return 0


def _with_events(store: Store, name: str, options: Options) -> None:
    from lpmx_runtime.images.events import Events

    events = Events(name)
    try:
        pulled = pull(store, name, options, meter=events.begin, report=events.say)
    except LpmxError as error:
        events.fail(error)
        raise
    events.finish(_row(pulled))


def _with_display(store: Store, name: str, options: Options, *, quiet: bool) -> None:
    display = Display(name, quiet=quiet)
    try:
        pulled = pull(store, name, options, meter=display.begin, report=display.say)
    finally:
        display.end()
    _tell(name, pulled, quiet=quiet)


def _row(pulled: Pulled) -> dict[str, object]:
    return {
        "id": pulled.image.id,
        "names": list(pulled.image.names),
        "digest": pulled.digest,
        "layers": len(pulled.image.diff_ids),
        "new_layers": pulled.new_layers,
        "size": pulled.image.size,
        "was_here": pulled.was_here,
    }


def _tell(name: str, pulled: Pulled, *, quiet: bool) -> None:
    image = pulled.image
    if quiet:
        print(image.id)
    elif pulled.was_here:
        print(f"{name} is up to date ({image.short_id}, {pulled.digest})")
    else:
        print(
            f"pulled {name} ({image.short_id}): {len(image.diff_ids)} layers, "
            f"{pulled.new_layers} new, {size_text(image.size)}, {pulled.digest}"
        )
