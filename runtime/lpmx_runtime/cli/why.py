"""`lpmx why`: where a path of a container comes from, and what hides it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lpmx_runtime.store import Store
    from lpmx_runtime.why import Answer, Place, Step, Union

HELP = "say which layer, bind or written file a path comes from"
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
    parser.add_argument("path", metavar="PATH", help="path in the container")


def run(args: argparse.Namespace) -> int:
    """Print the walk; 0 when the path leads to something, else 1."""
    from lpmx_runtime.launch import surroundings
    from lpmx_runtime.store import Store
    from lpmx_runtime.why import explain, find_union

    store = Store.open()
    union = find_union(store, args.container or _only_one(store), surroundings())
    answer = explain(union, args.path, follow=not args.no_follow)
    if args.json:
        print(json.dumps({"in": union.label, **answer.as_dict()}, indent=2))
    else:
        print("\n".join(_lines(union, answer)))
    return 0 if answer.found else 1


def _only_one(store: Store) -> str:
    """The only container of the store, else its only image."""
    from lpmx_runtime.container import list_containers

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
