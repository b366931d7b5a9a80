"""`lpmx why`: where a path of a container comes from, or what a command of it runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lpmx_runtime.cli import options
from lpmx_runtime.errors import UsageError
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lpmx_runtime.store.store import Store
    from lpmx_runtime.why.command import CommandAnswer
    from lpmx_runtime.why.path import Answer, Place, Step, Union

HELP = "say which layer, bind or written file a path comes from, or what a command runs"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-c",
        "--container",
        metavar="CONTAINER|IMAGE",
        help="the container, or the image as `lpmx run` would show it here;"
        " may be left out where the store has only one",
    )
    parser.add_argument(
        "-P", "--no-follow", action="store_true", help="do not follow a symlink in the last name"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--exec",
        dest="command",
        metavar="COMMAND",
        help="say instead what this command, a name or an absolute path, would run",
    )
    what.add_argument("path", metavar="PATH", nargs="?", help="path in the container")
    options.add_map(parser)


def run(args: argparse.Namespace) -> int:
    """Print the walk; 0 when the path leads to something, else 1."""
    from lpmx_runtime.launch.start import surroundings
    from lpmx_runtime.store.store import Store
    from lpmx_runtime.why.path import explain, find_union

    store = Store.open()
    if args.command is not None:
        return _why_command(store, args)
    if args.map:
        raise UsageError("-m is for --exec")
    union = find_union(store, args.container or _only_one(store), surroundings())
    answer = explain(union, args.path, follow=not args.no_follow)
    if args.json:
        print(json.dumps({"in": union.label, **answer.as_dict()}, indent=2))
    else:
        print("\n".join(map(shown, _lines(union, answer))))
    return 0 if answer.found else 1


def _why_command(store: Store, args: argparse.Namespace) -> int:
    """Print the rules that the command meets; 0 when there is such a command, else 1."""
    from lpmx_runtime.compose.mapwords import parse_map
    from lpmx_runtime.launch.start import surroundings
    from lpmx_runtime.why.command import explain_command, find_start

    commands = parse_map(args.map)
    started = find_start(store, args.container or _only_one(store), surroundings(), commands)
    answer = explain_command(started, args.command)
    if args.json:
        print(json.dumps({"in": started.label, **answer.as_dict()}, indent=2))
    else:
        print("\n".join(map(shown, _command_lines(started.label, answer))))
    return 0 if answer.found else 1


def _command_lines(label: str, answer: CommandAnswer) -> Iterator[str]:
    yield f"{answer.asked} in {label}"
    if not answer.found:
        yield f"not found on {':'.join(answer.searched)}" if answer.searched else "no such program"
    elif not answer.rules:
        yield f"{answer.path}: a program of the container itself"
    for rule in answer.rules:
        yield f"{rule.path}: mapped ({rule.name}), runs {rule.target} of {rule.where}"
        if rule.cwd:
            yield f"  starts in {rule.cwd}"
        for entry in rule.env:
            yield f"  sets {entry}"
    for path in answer.hidden:
        yield f"{path}: further along the PATH, not reached"


def _only_one(store: Store) -> str:
    """The only container of the store, else its only image."""
    from lpmx_runtime.container.record import list_containers

    names = [found.id for found in list_containers(store)] or store.image_ids()
    if len(names) == 1:
        return names[0]
    raise UsageError(
        f"in which container or image? The store has {len(names)}",
        hint="`-c NAME`; `lpmx ps -a` and `lpmx images` list them",
    )


def _lines(union: Union, answer: Answer) -> Iterator[str]:
    yield f"{answer.asked} in {union.label}"
    for step in answer.steps:
        arrow = f" -> {step.target}" if step.target else ""
        yield f"{step.path}: {step.kind or 'not there'}{arrow}"
        yield from _places(step)
    if answer.error:
        yield answer.error
    elif answer.host:
        yield f"on this host: {answer.host}"
    yield from answer.notes


def _places(step: Step) -> Iterator[str]:
    width = max((len(place.name) for place in step.places), default=0)
    for place in step.places:
        yield f"  {place.name.ljust(width)}  {_state(place)}"


def _state(place: Place) -> str:
    if place.state == "hidden":
        return f"{place.kind}, hidden by {place.reason}"
    if place.state in ("shown", "merged"):
        return f"{place.kind}, {place.state}"
    return place.state
