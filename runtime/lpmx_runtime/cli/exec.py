"""`lpmx exec`: a program in an existing container, whether or not anything else runs in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime.cli import options
from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse

HELP = "run a program in an existing container"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    options.add_process(parser)
    parser.add_argument(
        "-d", "--detach", action="store_true", help="do not wait; output goes to `lpmx logs`"
    )
    parser.add_argument("container", metavar="CONTAINER", help="name or id")
    options.add_command(parser, "what to run")


def run(args: argparse.Namespace) -> int:
    """Become the program."""
    with options.launch_errors():
        from lpmx_runtime.container import record as containers
        from lpmx_runtime.launch import start as launch
        from lpmx_runtime.process import runs
        from lpmx_runtime.store.store import Store

        command = options.command_of(args.command)
        if not command:
            raise UsageError(
                "no command given",
                hint=f"`lpmx start -a {args.container}` runs the container's own",
            )
        store = Store.open()
        container = containers.find(store, args.container)
        here = launch.surroundings()
        start = launch.plan_launch(
            store,
            container,
            here,
            command=command,
            env=options.environment(args),
            cwd=args.workdir,
            user=args.user,
            fakeroot=args.fakeroot,
        )
        options.tell(start)
        options.tell_hidden(here, container, args, frozenset({"home"}))
        if not args.detach:
            launch.exec_in_place(start, kind=runs.EXEC)
        launch.start_detached(start, kind=runs.EXEC)
    return 0
