"""From environment files to a composition: every name resolved to an image, a program, a host path.

Everything that can be wrong is found here, before anything starts, and all of it at once: an image
that is not in the store, a mapped program that its image does not have, a host command that is not
there, environments that call each other in a circle, a stale lock.

    composition = compose(store, "variants.yaml", os.environ)
    composition.top.commands["bwa"]      Program(member="image:3f1c...", path="/usr/local/bin/bwa")
"""

from __future__ import annotations

import os
import posixpath
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError
from lpmx_runtime.plans.variables import DEFAULT_PATH
from lpmx_runtime.union.programs import find_program
from lpmx_runtime.union.tree import Tree
from lpmx_runtime.yamlfile.source import EnvFileError, Place

from . import lock as locks
from .envfile import (
    Environment,
    EnvironmentTarget,
    HostTarget,
    ImageTarget,
    Target,
    cycle_error,
    read_environment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lpmx_runtime.fetch.obtain import Finder
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = [
    "Composition",
    "HostProgram",
    "Member",
    "Program",
    "compose",
    "compose_all",
    "image_names",
    "lock_environment",
    "read_graph",
]


@dataclass(frozen=True)
class Program:
    """A program of a member of the composition; @path is absolute in that member."""

    member: str
    where: str  # the image's name or the environment's file, for messages
    path: str
    env: Mapping[str, str | None] = field(default_factory=dict)
    cwd: str = ""


@dataclass(frozen=True)
class HostProgram:
    """A program of the host; @path is absolute there."""

    path: str
    env: Mapping[str, str | None] = field(default_factory=dict)
    passes: tuple[str, ...] = ()
    paths: bool = False


@dataclass(frozen=True)
class Member:
    """One container of a composition: an image, and the environment that shapes it if any does."""

    key: str
    image: Image
    environment: Environment | None
    commands: Mapping[str, Program | HostProgram]

    def describe(self, name: str) -> str:
        """Where the command @name runs, as `lpmx env show` prints it."""
        found = self.commands[name]
        if isinstance(found, HostProgram):
            return f"host {found.path}"
        return f"{found.where} {found.path}"


@dataclass(frozen=True)
class Composition:
    """All that runs when an environment runs; the first member is where it starts."""

    top: Member
    members: Mapping[str, Member]
    locked: bool
    files: tuple[str, ...]


Resolved = Program | HostProgram


# ---- files


def read_graph(path: str | os.PathLike[str]) -> dict[str, Environment]:
    """The environment in @path and all that it calls, by absolute file name, @path's first.

    Raises EnvFileError for a file that is wrong, one that is missing, and for a cycle, in full.
    """
    graph: dict[str, Environment] = {}
    _visit(os.path.abspath(path), (), graph)
    return graph


def _visit(path: str, outer: tuple[str, ...], graph: dict[str, Environment]) -> None:
    environment = read_environment(path)
    graph[path] = environment
    for target in environment.commands.values():
        if not isinstance(target, EnvironmentTarget):
            continue
        chain = (*outer, path, target.file)
        if target.file in chain[:-1]:
            raise cycle_error(target.place, chain[chain.index(target.file) :], "calls")
        if not os.path.exists(target.file):
            name = os.path.relpath(target.file)
            raise EnvFileError(target.place, f"environment {name}: no such file")
        if target.file not in graph:
            _visit(target.file, (*outer, path), graph)


def image_names(graph: Mapping[str, Environment]) -> dict[str, Place]:
    """Every image name of @graph and the first place where it stands."""
    names: dict[str, Place] = {}
    for environment in graph.values():
        if environment.image:
            names.setdefault(environment.image, environment.image_place)
        for target in environment.commands.values():
            if isinstance(target, ImageTarget):
                names.setdefault(target.image, target.place)
    return names


# ---- images


def _images(
    store: Store,
    graph: Mapping[str, Environment],
    lock: locks.Lock | None,
    find: Finder | None,
) -> tuple[dict[str, Image], list[LpmxError]]:
    """The image of every name, by the lock where there is one; @find brings in missing ones."""
    look_up = find or store.resolve
    names = image_names(graph)
    if lock is not None:
        places = {name: str(place) for name, place in names.items()}
        lock.check_names(places, next(iter(graph)))
    found: dict[str, Image] = {}
    errors: list[LpmxError] = []
    for name, place in names.items():
        try:
            found[name] = lock.image(store, name, find) if lock else look_up(name)
        except locks.LockError as error:
            errors.append(error)
        except LpmxError as error:
            errors.append(EnvFileError(place, error.message, hint=error.hint))
    return found, errors


def lock_environment(
    store: Store, path: str | os.PathLike[str], *, find: Finder | None = None
) -> locks.Lock:
    """The lock that pins what the names of environment file @path mean now.

    @find brings in images that are missing; without it only those of @store are known.
    """
    graph = read_graph(path)
    images, errors = _images(store, graph, None, find)
    if errors:
        raise _first(errors)
    return locks.make_lock(os.path.abspath(path), images, store)


# ---- programs


class _Resolver:
    """Finds programs in images and on the host; keeps the views it has opened."""

    def __init__(
        self,
        store: Store,
        graph: Mapping[str, Environment],
        images: Mapping[str, Image],
        environ: Mapping[str, str],
    ) -> None:
        self._store = store
        self._graph = graph
        self._images = images
        self._environ = environ
        self._trees: dict[str, Tree] = {}
        self.members: dict[str, Member] = {}
        self.errors: list[LpmxError] = []

    def close(self) -> None:
        for tree in self._trees.values():
            tree.close()

    def environment(self, file: str) -> Member | None:
        """The member that environment file @file describes, with all that it calls."""
        if file in self.members:
            return self.members[file]
        environment = self._graph[file]
        image = self._images.get(environment.image)
        if image is None:
            return None  # said already: it is missing, or no image is named
        commands: dict[str, Resolved] = {}
        for name, target in environment.commands.items():
            try:
                found = self._target(name, target)
            except LpmxError as error:
                self.errors.append(error)
                continue
            if found is not None:
                commands[name] = found
        member = Member(file, image, environment, commands)
        self.members[file] = member
        return member

    def _target(self, name: str, target: Target) -> Resolved | None:
        if isinstance(target, HostTarget):
            return self._host(name, target)
        if isinstance(target, ImageTarget):
            return self._of_image(name, target)
        return self._of_environment(name, target)

    def _host(self, name: str, target: HostTarget) -> HostProgram:
        wanted = target.path or posixpath.basename(name)
        if "/" in wanted and not wanted.startswith("/"):
            raise EnvFileError(
                target.place, f"{name}: host:{wanted} is neither a name nor an absolute path"
            )
        found = shutil.which(wanted, path=self._environ.get("PATH", DEFAULT_PATH))
        if found is None:
            where = "" if "/" in wanted else " on the PATH of this host"
            why = "is not executable" if os.path.exists(wanted) else f"there is none{where}"
            raise EnvFileError(
                target.place,
                f"{name}: host command {wanted}: {why}",
                hint="give its absolute path as host:/path, or take the line out",
            )
        return HostProgram(os.path.abspath(found), target.env, target.passes, target.paths)

    def _of_image(self, name: str, target: ImageTarget) -> Program | None:
        image = self._images.get(target.image)
        if image is None:
            return None
        key = f"image:{image.id}"
        self.members.setdefault(key, Member(key, image, None, {}))
        path = self._find(image, target.path or posixpath.basename(name), image.env)
        if path is None:
            raise self._no_program(name, target.place, target.image, image, target.path)
        return Program(key, target.image, path, target.env, target.cwd)

    def _of_environment(self, name: str, target: EnvironmentTarget) -> Resolved | None:
        member = self.environment(target.file)
        environment = self._graph[target.file]
        wanted = target.command or posixpath.basename(name)
        if not environment.image:
            raise EnvFileError(
                target.place, f"{name}: {os.path.relpath(target.file)} names no image"
            )
        if member is None:
            return None
        if wanted in environment.commands:
            mapped = member.commands.get(wanted)
            return None if mapped is None else _with_options(mapped, target)
        variables = {**member.image.env, **{k: v for k, v in environment.env.items() if v}}
        path = self._find(member.image, wanted, variables)
        if path is None and not _in_bind(environment, wanted):
            file = os.path.relpath(target.file)
            raise self._no_program(name, target.place, file, member.image, target.command)
        return Program(
            target.file, os.path.relpath(target.file), path or wanted, target.env, target.cwd
        )

    def _no_program(
        self, name: str, place: Place, where: str, image: Image, path: str
    ) -> EnvFileError:
        if path.startswith("/"):
            other = self._find(image, posixpath.basename(path), image.env)
            hint = f"there is {other}" if other and other != path else None
            return EnvFileError(place, f"{name}: {where} has no program {path}", hint=hint)
        return EnvFileError(
            place,
            f"{name}: {where} has no program {path or posixpath.basename(name)} on its PATH",
            hint="say where it is with path: /...",
        )

    def _find(self, image: Image, word: str, variables: Mapping[str, str]) -> str | None:
        if image.id not in self._trees:
            self._trees[image.id] = Tree.of_image(self._store, image)
        return find_program(self._trees[image.id], word, variables.get("PATH", ""))


def _in_bind(environment: Environment, path: str) -> bool:
    """Does @path lie in something the environment binds? Then only the start can tell."""
    from lpmx_runtime.plans.binds import find_bind, parse_volume

    binds = [parse_volume(volume.text, cwd="/") for volume in environment.binds]
    return path.startswith("/") and find_bind(binds, path) is not None


def _with_options(mapped: Resolved, target: EnvironmentTarget) -> Resolved:
    """@mapped with the options that the caller's environment adds."""
    from dataclasses import replace

    env = {**mapped.env, **target.env}
    if isinstance(mapped, Program):
        return replace(mapped, env=env, cwd=target.cwd or mapped.cwd)
    return replace(mapped, env=env)


def _bind_errors(graph: Mapping[str, Environment]) -> Iterator[LpmxError]:
    from lpmx_runtime.plans.binds import parse_volume

    for environment in graph.values():
        for volume in environment.binds:
            try:
                parse_volume(volume.text, cwd="/")
            except LpmxError as error:
                message = error.message.removeprefix(f"-v {volume.text}: ")
                yield EnvFileError(volume.place, f"bind {message}", hint=error.hint)


def _gpu_errors(graph: Mapping[str, Environment]) -> Iterator[LpmxError]:
    from lpmx_runtime.gpu.request import parse_request

    for environment in graph.values():
        words = ",".join(environment.gpus)
        try:
            parse_request(f"device={words}" if environment.gpus_by_name else words)
        except LpmxError as error:
            message = error.message.rpartition(": ")[2]
            yield EnvFileError(environment.gpus_place, f"gpus: {message}", hint=error.hint)


def _batch_error(environment: Environment, environ: Mapping[str, str]) -> list[LpmxError]:
    from lpmx_runtime.batch.systems import find_system

    try:
        find_system(environment.batch, environ.get("PATH", DEFAULT_PATH), environ)
    except LpmxError as error:
        return [EnvFileError(environment.batch_place, error.message, hint=error.hint)]
    return []


# ---- all of it


def compose(
    store: Store,
    path: str | os.PathLike[str],
    environ: Mapping[str, str],
    *,
    find: Finder | None = None,
) -> Composition:
    """The composition that environment file @path describes; @environ is the host's.

    @find brings in images that are missing. Raises the first of the errors that `compose_all`
    finds.
    """
    composition, errors = compose_all(store, path, environ, find=find)
    if errors or composition is None:
        raise _first(errors)
    return composition


def compose_all(
    store: Store,
    path: str | os.PathLike[str],
    environ: Mapping[str, str],
    *,
    find: Finder | None = None,
) -> tuple[Composition | None, list[LpmxError]]:
    """The composition of @path, None when there is none, and all that is wrong with it.

    A file that cannot be read or breaks the schema, a cycle and a stale lock are raised.
    """
    file = os.path.abspath(path)
    graph = read_graph(file)
    lock = locks.read_lock(file)
    wrong = [*_bind_errors(graph), *_gpu_errors(graph), *_batch_error(graph[file], environ)]
    images, errors = _images(store, graph, lock, None if wrong else find)
    errors = [*wrong, *errors] if find else [*errors, *wrong]  # the reason why none was fetched
    top = graph[file]
    if not top.image:
        errors.insert(0, EnvFileError(Place(str(path)), "it names no image"))
    resolver = _Resolver(store, graph, images, environ)
    try:
        member = resolver.environment(file)
    finally:
        resolver.close()
    errors += resolver.errors
    if errors or member is None:
        return None, errors
    files = tuple(dict.fromkeys(name for one in graph.values() for name in one.files))
    members = {file: member, **resolver.members}
    return Composition(member, members, lock is not None, files), []


def _first(errors: list[LpmxError]) -> LpmxError:
    first = errors[0]
    if len(errors) > 1:
        others = f"{len(errors) - 1} more: `lpmx env check` lists them"
        first.hint = f"{first.hint}; {others}" if first.hint else others
    return first
