"""An environment where an image could stand: the image to start, and the options of its file.

    image, options = launch_options(store, "variants.yaml", Options(command=("bash",)), os.environ)

What the user asks on the command line wins over the file, and the file over the image.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lpmx_runtime.launch.start import Options
from lpmx_runtime.plans import execmap
from lpmx_runtime.plans.binds import parse_no_bind, parse_volume

from .envfile import EnvironmentTarget, HostTarget, Target, is_environment_file
from .resolve import Composition, HostProgram, Member, Program, compose

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from lpmx_runtime.fetch.obtain import Finder
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .envfile import Environment

__all__ = ["environment_options", "exec_map", "launch_options"]


def launch_options(
    store: Store,
    name: str | os.PathLike[str],
    asked: Options,
    environ: Mapping[str, str],
    *,
    find: Finder | None = None,
) -> tuple[Image, Options]:
    """What to start for @name, an image or an environment file, when the user asks for @asked.

    @find brings in images that are missing (images.obtain). Raises ImageNotFoundError for an image,
    LpmxError with its place for whatever is wrong with an environment file.
    """
    word = str(name)
    if not is_environment_file(word):
        return (find or store.resolve)(word), asked
    composition = compose(store, word, environ, find=find)
    base = environment_options(composition, environ)
    return composition.top.image, merge_options(base, asked)


def environment_options(composition: Composition, environ: Mapping[str, str]) -> Options:
    """The options that the file of @composition gives to a start."""
    environment = composition.top.environment
    assert environment is not None  # the top member is made from a file
    return Options(
        command=environment.command,
        entrypoint=environment.entrypoint,
        env=variables(environment.env, environ),
        cwd=environment.cwd,
        user=environment.user,
        volumes=tuple(volume.text for volume in environment.binds),
        no_bind=parse_no_bind(environment.no_bind),
        read_only=environment.read_only,
        gpus=gpu_words(environment),
        fakeroot=environment.fakeroot,
        batch=environment.batch,
        commands=exec_map(composition, environ),
    )


def merge_options(base: Options, asked: Options) -> Options:
    """@base with what the user asks; a command of the user's drops that of the file."""
    return replace(
        asked,
        command=asked.command or base.command,
        entrypoint=base.entrypoint if asked.entrypoint is None else asked.entrypoint,
        env={**base.env, **asked.env},
        cwd=asked.cwd or base.cwd,
        user=asked.user or base.user,
        volumes=base.volumes + asked.volumes,
        no_bind=base.no_bind | asked.no_bind,
        read_only=base.read_only or asked.read_only,
        gpus=asked.gpus or base.gpus,
        fakeroot=base.fakeroot or asked.fakeroot,
        batch=asked.batch or base.batch,
        commands=base.commands + asked.commands,
    )


def variables(env: Mapping[str, str | None], environ: Mapping[str, str]) -> dict[str, str]:
    """@env with the host's values where it gives none; left out where the host has none either."""
    return {
        name: environ[name] if value is None else value
        for name, value in env.items()
        if value is not None or name in environ
    }


def gpu_words(environment: Environment) -> str:
    """The key gpus: as --gpus takes it."""
    words = environment.gpus
    if len(words) > 1 or (words and environment.gpus_by_name):
        return f"device={','.join(words)}"
    return words[0] if words else ""


# ---- the exec map


def called_environment(
    store: Store, file: str, environ: Mapping[str, str], *, find: Finder | None = None
) -> execmap.Environment:
    """The environment @file as `-m NAME=env:FILE` calls commands of it."""
    composition = compose(store, file, environ, find=find)
    return _called(composition, composition.top, environ)


def exec_map(composition: Composition, environ: Mapping[str, str]) -> execmap.ExecMap:
    """The commands of @composition's top member, everything in them resolved."""
    return _map_of(composition, composition.top, environ)


def _map_of(
    composition: Composition, member: Member, environ: Mapping[str, str]
) -> execmap.ExecMap:
    environment = member.environment
    if environment is None:
        return execmap.ExecMap()
    return execmap.ExecMap(
        tuple(
            execmap.Mapping(
                name,
                _target(composition, target, member.commands[name], environ),
                env=variables(target.env, environ),
                cwd="" if isinstance(target, HostTarget) else target.cwd,
            )
            for name, target in environment.commands.items()
        )
    )


def _target(
    composition: Composition,
    target: Target,
    found: Program | HostProgram,
    environ: Mapping[str, str],
) -> execmap.Target:
    if isinstance(target, EnvironmentTarget):
        called = composition.members[target.file]
        wanted = target.command
        return execmap.EnvironmentTarget(_called(composition, called, environ), wanted)
    if isinstance(found, HostProgram):
        return execmap.HostTarget(found.path, found.passes, found.paths)
    return execmap.ImageTarget(composition.members[found.member].image.id, found.path)


def _called(
    composition: Composition, member: Member, environ: Mapping[str, str]
) -> execmap.Environment:
    environment = member.environment
    assert environment is not None
    return execmap.Environment(
        name=environment.file,
        image=member.image.id,
        env=variables(environment.env, environ),
        binds=tuple(parse_volume(volume.text, cwd="/") for volume in environment.binds),
        commands=_map_of(composition, member, environ),
        gpus=gpu_words(environment),
    )
