"""`lpmx logs`: what detached programs of a container have written."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, BinaryIO

from lpmx_runtime.errors import NotFoundError

if TYPE_CHECKING:
    import argparse

    from lpmx_runtime.container.record import Container

HELP = "show the output of detached programs"

_INTERVAL = 0.1  # seconds between looks at a log that is followed
_BLOCK = 1 << 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on until nothing runs in the container"
    )
    parser.add_argument("-n", "--tail", metavar="N", type=int, help="only the last N lines")
    parser.add_argument("container", metavar="CONTAINER", help="name or id")


def run(args: argparse.Namespace) -> int:
    """Copy the log to the output, byte for byte."""
    from lpmx_runtime.container import record as containers
    from lpmx_runtime.store.store import Store

    container = containers.find(Store.open(), args.container)
    try:
        log = open(container.path("log"), "rb")  # noqa: SIM115  closed below
    except FileNotFoundError as error:
        raise NotFoundError(
            f"container {container.label} has no log",
            hint="only detached programs are logged: `lpmx run -d`, `lpmx start`",
        ) from error
    with log:
        if args.tail is not None:
            _seek_tail(log, args.tail)
        _copy(log)
        if args.follow:
            _follow(log, container)
    return 0


def _follow(log: BinaryIO, container: Container) -> None:
    while True:
        running = bool(
            container.entries()
        )  # looked at first: what it wrote before its end is then copied
        _copy(log)
        if not running:
            return
        time.sleep(_INTERVAL)


def _copy(log: BinaryIO) -> None:
    while block := log.read(_BLOCK):
        sys.stdout.buffer.write(block)
    sys.stdout.buffer.flush()


def _seek_tail(log: BinaryIO, lines: int) -> None:
    """Go to where the last @lines lines begin, reading from the end."""
    end = position = log.seek(0, 2)
    found = 0
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        log.seek(position)
        block = log.read(size)
        for index in range(len(block) - 1, -1, -1):
            if block[index] == 0x0A and position + index != end - 1:
                found += 1
                if found == lines:
                    log.seek(position + index + 1)
                    return
    log.seek(end if lines <= 0 else 0)
