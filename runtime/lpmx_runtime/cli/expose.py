"""`lpmx expose`: commands of a container on the PATH of the host."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from lpmx_runtime.cli import options
from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from lpmx_runtime.store.store import Store

HELP = "put commands of an image or environment on the host's PATH"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--to", metavar="DIR", help="folder for the scripts, one on your PATH")
    parser.add_argument("-f", "--force", action="store_true", help="replace files in the way")
    options.add_pull(parser)
    parser.add_argument("-l", "--list", action="store_true", help="list what is exposed")
    parser.add_argument(
        "source", metavar="IMAGE|ENV.yaml", nargs="?", help="where the commands come from"
    )
    parser.add_argument(
        "command", metavar="COMMAND", nargs="*", help="NAME, NAME=COMMAND or /PATH of the container"
    )


def run(args: argparse.Namespace) -> int:
    """Write the scripts and print their paths, or list them."""
    from lpmx_runtime.compose import expose
    from lpmx_runtime.fetch.obtain import finder
    from lpmx_runtime.launch import start as launch
    from lpmx_runtime.store.store import Store

    store = Store.open()
    if args.list:
        return _list(store, as_json=args.json)
    if not args.source or not args.command or not args.to:
        raise UsageError(
            "say what to expose and where", hint="lpmx expose IMAGE|ENV.yaml COMMAND... --to DIR"
        )
    requests = [expose.parse_request(word) for word in args.command]
    here = launch.surroundings()
    find = finder(store, args.pull)
    paths = expose.expose(store, args.source, requests, args.to, here, force=args.force, find=find)
    if args.json:
        print(json.dumps(paths, indent=2))
        return 0
    for path in paths:
        print(path)
    return 0


def _list(store: Store, *, as_json: bool) -> int:
    from lpmx_runtime.columns import table
    from lpmx_runtime.compose.expose import list_exposed

    rows = list_exposed(store)
    if as_json:
        print(
            json.dumps(
                [
                    {
                        "path": row.path,
                        "command": row.command,
                        "source": row.source,
                        "container": row.container.label,
                        "present": row.present,
                    }
                    for row in rows
                ],
                indent=2,
            )
        )
        return 0
    lines = [
        (row.path if row.present else f"{row.path} (gone)", row.command, os.path.relpath(row.source)
         if os.path.isabs(row.source) else row.source, row.container.label)
        for row in rows
    ]  # fmt: skip
    print(table(("FILE", "COMMAND", "OF", "CONTAINER"), lines))
    return 0
