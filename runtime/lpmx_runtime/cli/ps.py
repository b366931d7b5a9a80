"""`lpmx ps`: the containers, and what runs in them."""

from __future__ import annotations

import json
import shlex
import time
from typing import TYPE_CHECKING, Any

from lpmx_runtime.text import shown

if TYPE_CHECKING:
    import argparse

    from lpmx_runtime.container.record import Container

HELP = "list containers"
LISTS = True

_COMMAND_WIDTH = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-a", "--all", action="store_true", help="also those in which nothing runs")
    parser.add_argument("-q", "--quiet", action="store_true", help="ids only")


def run(args: argparse.Namespace) -> int:
    """Print them, oldest first."""
    from lpmx_runtime.columns import table
    from lpmx_runtime.container.record import list_containers
    from lpmx_runtime.process import scan as processes
    from lpmx_runtime.store.store import Store

    left = processes.by_container()
    found = [
        _describe(container, left.get(container.id, []))
        for container in list_containers(Store.open())
    ]
    listed = [row for row in found if args.all or row["state"] == "running"]
    if args.json:
        print(json.dumps(listed, indent=2))
    elif args.quiet:
        for row in listed:
            print(row["id"])
    else:
        head = ("CONTAINER", "NAME", "IMAGE", "COMMAND", "CREATED", "STATUS")
        print(table(head, [_cells(row) for row in listed]))
    return 0


def _describe(container: Container, processes: list[int]) -> dict[str, Any]:
    """@processes: all that run in it on this node."""
    runs = container.runs()
    running = bool(runs or processes)
    last = container.last_exit()
    return {
        "id": container.id,
        "name": container.name,
        "image": container.image_name,
        "image_id": container.image,
        "command": list(container.argv),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(container.created)),
        "state": "running" if running else "exited" if last else "created",
        "exit_status": None if running or not last else last.get("status"),
        "runs": [run.as_dict() for run in runs],
        "background": [] if runs else processes,
        "ephemeral": container.auto_remove,
        "upper": container.path("upper"),
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    command = shown(shlex.join(row["command"]))
    if len(command) > _COMMAND_WIDTH:
        command = command[: _COMMAND_WIDTH - 3] + "..."
    return (row["id"], row["name"], row["image"], command, row["created"], _status(row))


def _status(row: dict[str, Any]) -> str:
    if row["state"] == "running":
        names = [run["host"] if run["kind"] == "job" else str(run["pid"]) for run in row["runs"]]
        where = "" if names else "background: "
        names += map(str, row["background"])
        return f"running ({where}{', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
    status = row["exit_status"]
    return f"{row['state']} ({status})" if status is not None else str(row["state"])
