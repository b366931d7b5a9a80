"""`lpmx create`: a container that is kept, without starting anything in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lpmx_runtime.cli import options
from lpmx_runtime.errors import storage_errors

if TYPE_CHECKING:
    import argparse

HELP = "make a container without starting it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--name", default="", help="name of the container; default: its id only")
    parser.add_argument(
        "--plan",
        metavar="FILE",
        help="also write its compiled plan: `lpmx-exec --plan FILE` starts it without Python",
    )
    options.add_create(parser)


def run(args: argparse.Namespace) -> int:
    """Make it and print its id."""
    with options.launch_errors():
        from lpmx_runtime.launch import start as launch
        from lpmx_runtime.store.store import Store, atomic_write

        store = Store.open()
        here = launch.surroundings()
        image, asked = options.resolve(store, args)
        draft = launch.draft_container(store, image, asked, here, name=args.name)
        start = launch.plan_launch(store, draft.container, here)
        container = draft.create(store)
        with launch.taken_back(container):
            with storage_errors(f"container {container.label}"):
                start.prepare()
            if args.plan:
                with storage_errors(f"plan {args.plan}"):
                    atomic_write(os.path.abspath(args.plan), start.whole_plan())
        options.tell_hidden(here, container, args, asked.no_bind)
        print(container.id)
    return 0
