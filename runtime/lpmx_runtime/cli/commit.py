"""`lpmx commit`: an image of what a container has become."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

HELP = "make an image of a container"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-a", "--author", default="", help="who made it: `Name <mail>`")
    parser.add_argument("-m", "--message", default="", help="what its history says")
    parser.add_argument(
        "-c",
        "--change",
        metavar="INSTRUCTION",
        action="append",
        default=[],
        help="apply CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR of a"
        " Dockerfile",
    )
    parser.add_argument("container", metavar="CONTAINER", help="name or id")
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="name of the image")


def run(args: argparse.Namespace) -> int:
    """Make it and print its id."""
    from lpmx_runtime.container import record as containers
    from lpmx_runtime.container.commit import Message, commit
    from lpmx_runtime.store.store import Store

    store = Store.open()
    container = containers.find(store, args.container)
    image = commit(
        store,
        container,
        args.name,
        changes=args.change,
        message=Message(author=args.author, comment=args.message),
    )
    if args.json:
        print(json.dumps({"id": image.id, "names": list(image.names)}))
    else:
        print(image.id)
    return 0
