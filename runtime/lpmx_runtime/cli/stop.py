"""`lpmx stop`: asks what runs in a container to end, then makes it end."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lpmx_runtime.runs import Run

HELP = "stop what runs in containers"

_GRACE = 10.0
_AFTER_KILL = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-t", "--time", metavar="SECONDS", type=float, default=_GRACE, help="then kill (10)"
    )
    parser.add_argument("-s", "--signal", default="TERM", help="what to send first (TERM)")
    parser.add_argument("containers", metavar="CONTAINER", nargs="+", help="name or id")


def run(args: argparse.Namespace) -> int:
    """Stop each and print its name; one in which nothing runs is stopped already."""
    from lpmx_runtime import container as containers
    from lpmx_runtime.store import Store

    first = _signal(args.signal)
    store = Store.open()
    for name in args.containers:
        container = containers.find(store, name)
        _stop(container.label, container.runs(), first, args.time)
        print(container.label)
    return 0


def _signal(text: str) -> signal.Signals:
    try:
        if text.isdigit():
            return signal.Signals(int(text))
        return signal.Signals[f"SIG{text.upper().removeprefix('SIG')}"]
    except (KeyError, ValueError) as error:
        raise UsageError(f"there is no signal {text}") from error


def _stop(label: str, running: Sequence[Run], first: signal.Signals, grace: float) -> None:
    from lpmx_runtime import runs

    elsewhere = [run for run in running if not run.process.is_here() and run.process.is_alive()]
    if elsewhere:
        raise LpmxError(
            f"container {label}: {elsewhere[0].label} cannot be stopped from here",
            hint="stop it there",
        )
    for run in running:
        runs.send_signal(run.process, first)
    deadline = time.monotonic() + grace
    for run in running:
        if not runs.wait_gone(run.process, max(0.0, deadline - time.monotonic())):
            runs.send_signal(run.process, signal.SIGKILL, group=True)
            runs.wait_gone(run.process, _AFTER_KILL)
