"""What a command of a container runs: the rule of the exec map that sends it elsewhere, or none.

The search is the engine's: a name along the PATH of a start, a path as it is; then the exec map by
exact container path, again in the container it leads to, until a program is reached.
"""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import NotFoundError, UsageError
from lpmx_runtime.launch.commands import OWN
from lpmx_runtime.plans.plan import environment_dict
from lpmx_runtime.plans.variables import DEFAULT_PATH
from lpmx_runtime.union.programs import is_program
from lpmx_runtime.union.tree import Tree

from .path import union_of

if TYPE_CHECKING:
    from lpmx_runtime.container.record import Container
    from lpmx_runtime.launch.start import Launch, Surroundings
    from lpmx_runtime.plans.execmap import ExecMap
    from lpmx_runtime.plans.plan import PlanCommand
    from lpmx_runtime.store.store import Store

    from .path import Union

__all__ = ["CommandAnswer", "Started", "explain_command", "find_start"]


@dataclass(frozen=True)
class Started:
    """A start that is only thought of: in a container, of an image or of an environment."""

    label: str
    launch: Launch
    union: Union


@dataclass(frozen=True)
class CommandAnswer:
    """Where a command is found and what it runs."""

    asked: str
    path: str  # container path it is found at; "" when it is not
    rules: tuple[PlanCommand, ...]  # of the exec map, one container after the other; () for none
    hidden: tuple[str, ...] = ()  # paths further along PATH that are not reached
    searched: tuple[str, ...] = ()  # folders of PATH, for a name

    @property
    def found(self) -> bool:
        """Is there such a command?"""
        return bool(self.path)

    @property
    def runs(self) -> str:
        """What is run in the end: a path or name, of the place that `where` says."""
        return self.rules[-1].target if self.rules else self.path

    @property
    def where(self) -> str:
        """The container's own tree (""), an image, an environment or the host."""
        return self.rules[-1].where if self.rules else ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for --json."""
        return {
            "asked": self.asked,
            "found": self.found,
            "path": self.path or None,
            "runs": self.runs or None,
            "where": self.where,
            "rules": [dict(vars(rule)) for rule in self.rules],
            "hidden": list(self.hidden),
            "searched": list(self.searched),
        }


def find_start(
    store: Store, name: str, here: Surroundings, commands: ExecMap | None = None
) -> Started:
    """The start that `lpmx exec` would make in container @name, or `lpmx run` of an image or file.

    @commands are added to its exec map. NotFoundError where the store has none of that name, and
    what a start itself would raise about its map.
    """
    from lpmx_runtime.launch.start import plan_launch

    container, label = _find(store, name, here)
    if commands:
        from lpmx_runtime.launch.commands import pin_images

        container = replace(container, commands=container.commands + pin_images(store, commands))
    launch = plan_launch(store, container, here)
    return Started(label, launch, union_of(store, container, launch.plan, label))


def _find(store: Store, name: str, here: Surroundings) -> tuple[Container, str]:
    from lpmx_runtime.compose.envfile import is_environment_file
    from lpmx_runtime.compose.start import launch_options
    from lpmx_runtime.container import record as containers
    from lpmx_runtime.launch.start import Options, draft_container

    nothing = Options(command=("true",))
    if is_environment_file(name):
        image, options = launch_options(store, name, nothing, here.environ)
        return draft_container(store, image, options, here).container, f"environment {name}"
    try:
        found = containers.find(store, name)
        return found, f"container {found.label}"
    except containers.ContainerNotFoundError:
        pass
    try:
        image = store.resolve(name)
    except NotFoundError as error:
        raise NotFoundError(
            f"{name}: no such container or image",
            hint="`lpmx ps -a` lists the containers, `lpmx images` the images",
        ) from error
    return draft_container(store, image, nothing, here).container, f"image {image.name}"


def explain_command(started: Started, command: str) -> CommandAnswer:
    """Which program @command, a name or an absolute path, runs in @started, and by which rule."""
    with Tree.of_plan(started.launch.plan, started.label) as tree:
        return _explain(started, tree, command)


def _explain(started: Started, tree: Tree, command: str) -> CommandAnswer:
    if command.startswith("/"):
        path = _program_at(started, tree, command)
        return CommandAnswer(command, path, _rules(started, path))
    if "/" in command or not command:
        raise UsageError(
            f"{command!r}: neither a name nor an absolute path", hint="give one of the two"
        )
    variables = environment_dict(started.launch.plan.env)
    folders = tuple((variables.get("PATH") or DEFAULT_PATH).split(":"))
    hits = [
        path
        for folder in dict.fromkeys(folders)
        if (path := _program_at(started, tree, posixpath.join(folder, command)))
    ]
    first = hits[0] if hits else ""
    hidden = tuple(dict.fromkeys(path for path in hits[1:] if path != first))
    return CommandAnswer(command, first, _rules(started, first), hidden, folders)


def _program_at(started: Started, tree: Tree, path: str) -> str:
    """The canonical container path of the program at @path, "" where there is none."""
    if not path.startswith("/"):
        return ""
    parent, name = posixpath.split(path)
    if parent != OWN:  # whose files are made at a start
        hit = tree.find(os.fsencode(parent))
        if hit is None:
            return ""
        parent = os.fsdecode(hit.path)
    place = posixpath.join(parent, name)
    if any(row.path == place for row in started.launch.plan.commands):
        return place
    return place if is_program(tree, place) else ""


def _rules(started: Started, path: str) -> tuple[PlanCommand, ...]:
    composition = started.launch.composition
    callees = {one.plan_file: one.plan for one in composition.callees} if composition else {}
    rules: list[PlanCommand] = []
    plan = started.launch.plan
    while True:
        rule = next((row for row in plan.commands if row.path == path), None)
        if rule is None or rule in rules:  # a circle of names: the engine would turn in it as well
            return tuple(rules)
        rules.append(rule)
        if rule.is_host:
            return tuple(rules)
        plan, path = callees[rule.plan], rule.target
