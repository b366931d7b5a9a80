"""`lpmx run`: a program in a new container, which goes with the program unless it has a name."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from lpmx_runtime.cli import options
from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from lpmx_runtime.launch.start import Options, Surroundings
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

HELP = "run a program in a new container"
LISTS = True  # --print-plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--name", default="", help="keep the container, under this name")
    parser.add_argument(
        "--rm", action="store_true", help="remove the container at the end; default without --name"
    )
    parser.add_argument(
        "-d", "--detach", action="store_true", help="do not wait; output goes to `lpmx logs`"
    )
    parser.add_argument(
        "--print-plan", action="store_true", help="say what would be done, and do nothing"
    )
    options.add_create(parser)


def run(args: argparse.Namespace) -> int:
    """Run it; the result is the program's own status."""
    with options.launch_errors():
        from lpmx_runtime.launch import start as launch
        from lpmx_runtime.store.store import Store

        store = Store.open()
        image, asked = options.resolve(store, args)
        here = launch.surroundings()
        if args.print_plan:
            return _print_plan(store, image, asked, here, args)
        if args.json:
            raise UsageError("--json is for --print-plan")
        draft = launch.draft_container(
            store,
            image,
            asked,
            here,
            name=args.name,
            auto_remove=args.rm or not args.name,
        )
        start = launch.plan_launch(store, draft.container, here)
        options.tell(start)
        options.tell_hidden(here, draft.container, args, asked.no_bind)
        container = draft.create(store)
        start = replace(start, container=container)
        with launch.taken_back(container):
            if args.detach or not container.auto_remove:
                launch.check_start(start)
            if args.detach:
                launch.start_detached(start)
            elif not container.auto_remove:
                launch.exec_in_place(start)
        if args.detach:
            print(container.label)
            return 0
        end = launch.run_and_wait(start)
    return end.follow()


def _print_plan(
    store: Store, image: Image, asked: Options, here: Surroundings, args: argparse.Namespace
) -> int:
    from lpmx_runtime.launch import start as launch

    draft = launch.draft_container(store, image, asked, here, name=args.name)
    plan = launch.plan_launch(store, draft.container, here).plan
    print(json.dumps(plan.as_dict(), indent=2) if args.json else plan.describe())
    return 0
