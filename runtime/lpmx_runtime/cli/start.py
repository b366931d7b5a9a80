"""`lpmx start`: the container's own command, again or for the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime.cli import options
from lpmx_runtime.errors import InUseError, UsageError

if TYPE_CHECKING:
    import argparse

    from lpmx_runtime.container.record import Container

HELP = "start a container's command"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-a", "--attach", action="store_true", help="in the foreground; the status is the program's"
    )
    parser.add_argument(
        "-i",
        "--interactive",
        action="store_true",
        help="accepted: with -a the input is always connected",
    )
    parser.add_argument("containers", metavar="CONTAINER", nargs="+", help="name or id")


def run(args: argparse.Namespace) -> int:
    """Start each one and print its name; with -a become the program of the only one."""
    with options.launch_errors():
        from lpmx_runtime.container import record as containers
        from lpmx_runtime.launch import start as launch
        from lpmx_runtime.store.store import Store

        if args.attach and len(args.containers) > 1:
            raise UsageError("-a: only one container can have the terminal")
        store = Store.open()
        here = launch.surroundings()
        for name in args.containers:
            container = containers.find(store, name)
            running = _main_pid(container)
            if running and args.attach:
                raise InUseError(
                    f"container {container.label} runs already, as process {running}",
                    hint=f"`lpmx exec {container.label} COMMAND` runs another program in it",
                )
            start = launch.plan_launch(store, container, here)
            options.tell(start)
            if args.attach:
                launch.exec_in_place(start)
            if not running:
                launch.start_detached(start)
            print(container.label)
    return 0


def _main_pid(container: Container) -> int:
    from lpmx_runtime.process import runs

    return next((run.process.pid for run in container.runs() if run.kind == runs.MAIN), 0)
