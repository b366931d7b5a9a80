"""`lpmx stop`: asks what runs in a container to end, then makes it end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

HELP = "stop what runs in containers"

_GRACE = 10.0  # seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-t", "--time", metavar="SECONDS", type=float, default=_GRACE, help="then kill (10)"
    )
    parser.add_argument("-s", "--signal", default="TERM", help="what to send first (TERM)")
    parser.add_argument("containers", metavar="CONTAINER", nargs="+", help="name or id")


def run(args: argparse.Namespace) -> int:
    """Stop each and print its name; one in which nothing runs is stopped already."""
    from lpmx_runtime.container import record as containers
    from lpmx_runtime.container.stop import parse_signal, stop
    from lpmx_runtime.store.store import Store

    first = parse_signal(args.signal)
    store = Store.open()
    for name in args.containers:
        container = containers.find(store, name)
        stop(container, first, args.time)
        print(container.label)
    return 0
