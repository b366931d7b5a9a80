"""What a container's exec map means for a start: where commands appear, and what they lead to.

A bare name appears as an executable file in /.lpmx/bin, which comes first on PATH; an absolute path
appears at that path. Another container that is called (a callee) has a view and layers of its own,
a writable directory below the caller's folder, and the binds and the shown user of the caller.
Names that it lacks are looked up in the map of the container that the run began in, last on PATH.

    containers/ID/commands/             the files that stand for the commands
    containers/ID/callees/KEY/          one callee: plan, upper/, work/, dirty, commands/

Decides only; `Callee.prepare` acts.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lpmx_runtime.container import record as containers
from lpmx_runtime.errors import LpmxError, NotFoundError, UsageError
from lpmx_runtime.plans.binds import find_bind, merge_binds
from lpmx_runtime.plans.execmap import (
    Environment,
    EnvironmentTarget,
    ExecMap,
    HostTarget,
    ImageTarget,
    Mapping,
)
from lpmx_runtime.plans.plan import (
    Bind,
    Exposure,
    LaunchPlan,
    PlanCommand,
    compile_plan,
    environment_dict,
    environment_list,
)
from lpmx_runtime.plans.variables import DEFAULT_PATH, HOST_PASSED, OF_ONE_TREE
from lpmx_runtime.store.store import make_private
from lpmx_runtime.union.paths import real_place
from lpmx_runtime.union.programs import find_program, is_program
from lpmx_runtime.union.tree import Tree

from . import users as identity

if TYPE_CHECKING:
    from collections import abc

    from lpmx_runtime.container.record import Container
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .users import Host

__all__ = ["Callee", "CommandFiles", "Composition", "compose", "pin_images"]

PLACE = "/.lpmx"
OWN = f"{PLACE}/bin"
CALLERS = f"{PLACE}/caller"
_PROFILE = "/etc/profile.d"
_NAME_MAX = 255  # bytes, as NAME_MAX
_SCRIPT = """#!/bin/sh
# lpmx: {name} runs {target} of {where}
exec {path} "$@"
"""
_LOGIN = """# lpmx: commands of this container that run elsewhere stay on the PATH of login shells
case ":$PATH:" in
*:{own}:*) ;;
*) PATH={own}:$PATH ;;
esac
"""


@dataclass(frozen=True)
class CommandFiles:
    """The files that stand for the commands of one container."""

    folder: str
    files: abc.Mapping[str, str] = field(default_factory=dict)  # name below the folder: text

    def prepare(self) -> None:
        """Write those that are not there yet, and remove those of an earlier map."""
        for name, text in self.files.items():
            path = os.path.join(self.folder, name)
            with suppress(OSError), open(path, encoding="utf-8", errors="surrogateescape") as file:
                if file.read() == text:
                    continue
            make_private(os.path.dirname(path))
            data = text.encode("utf-8", "surrogateescape")
            containers.write_file(path, data, mode=0o700)
            os.chmod(path, 0o555)  # noqa: S103  a program, below a folder of the user's own
        self._remove_others()

    def _remove_others(self) -> None:
        for folder, _, names in os.walk(self.folder):
            for name in names:
                path = os.path.join(folder, name)
                being_written = name.endswith(".tmp")  # by another start
                if os.path.relpath(path, self.folder) not in self.files and not being_written:
                    with suppress(FileNotFoundError):
                        os.unlink(path)


@dataclass(frozen=True)
class Callee:
    """A container whose programs are called from another one."""

    folder: str
    plan_file: str
    plan: LaunchPlan
    commands: CommandFiles
    seeds: abc.Mapping[str, str]
    seed_folder: str
    files: abc.Mapping[str, bytes]  # by host path, named by their contents

    def prepare(self) -> None:
        """Bring it up to date on disk."""
        for name in ("work", "upper"):
            with suppress(FileExistsError):
                make_private(self.folder)
                os.mkdir(os.path.join(self.folder, name), 0o700)
                if name == "upper":
                    os.chmod(self.plan.upper, 0o755)  # noqa: S103  its /, as in container.create
        # Programs that an older engine started in this container may come here too.
        containers.make_dirty_map(self.plan.dirty, os.path.join(self.folder, "../../dirty"))
        self.commands.prepare()
        containers.write_missing(self.files)
        if self.seeds:
            make_private(self.seed_folder)
        for name, text in self.seeds.items():
            path = os.path.join(self.seed_folder, name)
            containers.write_changed(path, text.encode("utf-8", "surrogateescape"), mode=0o644)
        containers.write_changed(self.plan_file, compile_plan(self.plan))


@dataclass(frozen=True)
class Composition:
    """What the exec map adds to a start."""

    plan: LaunchPlan
    commands: CommandFiles
    callees: tuple[Callee, ...]
    folder: str  # the container's

    def prepare(self) -> None:
        """Bring the files of commands and callees up to date on disk.

        FileNotFoundError when the container is gone: its folder is not made anew.
        """
        os.stat(self.folder)
        self.commands.prepare()
        for callee in self.callees:
            callee.prepare()


# ---- at creation


def pin_images(store: Store, commands: ExecMap) -> ExecMap:
    """@commands with every image replaced by its id, so that a kept container goes on with these.

    ImageNotFoundError names the command whose image the store does not have.
    """
    return ExecMap(tuple(_pin(store, mapping) for mapping in commands))


def _pin(store: Store, mapping: Mapping) -> Mapping:
    target = mapping.target
    if isinstance(target, ImageTarget):
        return replace(mapping, target=replace(target, image=_image(store, mapping, target).id))
    if isinstance(target, EnvironmentTarget):
        environment = replace(
            target.environment,
            image=_image(store, mapping, target).id,
            commands=pin_images(store, target.environment.commands),
        )
        return replace(mapping, target=replace(target, environment=environment))
    return mapping


def _image(store: Store, mapping: Mapping, target: ImageTarget | EnvironmentTarget) -> Image:
    name = target.image if isinstance(target, ImageTarget) else target.environment.image
    try:
        return store.resolve(name)
    except NotFoundError as error:
        raise type(error)(f"command {mapping.key}: {error.message}", hint=error.hint) from error


# ---- at a start


@dataclass(frozen=True)
class _Draft:
    """One container of the composition while it is being decided."""

    tree: Tree
    upper: str
    image_env: abc.Mapping[str, str]
    binds: tuple[Bind, ...]
    own: ExecMap


@dataclass
class _Composer:
    """Builds callees as commands lead to them; each once, so that a circle of them ends."""

    store: Store
    container: Container
    plan: LaunchPlan
    who: Container
    variant: str
    host: Host
    environ: abc.Mapping[str, str]  # the host's
    stack: ExitStack
    callees: dict[str, Callee | None] = field(default_factory=dict)
    drafts: dict[str, _Draft] = field(default_factory=dict)
    agent: bool = False

    # -- the containers

    def root(self) -> Composition:
        image = self.store.image(self.container.image)
        draft = _Draft(
            self._tree(self.plan, self.container.label),
            self.plan.upper,
            image.env,
            self.plan.binds,
            self.container.commands,
        )
        folder = self.container.path(f"commands{self.variant}")
        rows, binds, files = self._commands(draft, ExecMap(), folder)
        callees = tuple(callee for callee in self.callees.values() if callee)
        plan = replace(
            self.plan,
            commands=rows,
            binds=self.plan.binds + binds,
            agent=self.agent,
            env=_with_own(self.plan.env) if _has_names(draft.own) else self.plan.env,
        )
        return Composition(plan, files, callees, self.container.folder)

    def _tree(self, plan: LaunchPlan, label: str) -> Tree:
        return self.stack.enter_context(Tree.of_plan(plan, label))

    def _callee(self, environment: Environment) -> tuple[str, _Draft]:
        """The plan file and the draft of a callee, which is planned when first met."""
        key = _key(environment)
        folder = self.container.path(f"callees/{key}")
        plan_file = os.path.join(folder, f"plan{self.variant}")
        if key not in self.callees:
            self.callees[key] = None
            image = self.store.resolve(environment.image)
            binds, env = self._binds(image, environment), {**image.env, **environment.env}
            gpus = self._gpus(image, environment, env, binds)
            plan = self._draft_plan(image, binds, folder)
            draft = _Draft(
                self._tree(plan, image.name),
                plan.upper,
                {**gpus.env, **env},
                binds,
                environment.commands,
            )
            self.drafts[key] = draft
            self.callees[key] = self._plan_callee(image, plan, draft, folder, plan_file, gpus)
        return plan_file, self.drafts[key]

    def _draft_plan(self, image: Image, binds: tuple[Bind, ...], folder: str) -> LaunchPlan:
        """The plan of a callee without what its commands and GPUs add."""
        return replace(
            self.plan,
            view=os.fspath(self.store.view_path(image.chain_id)),
            layers=tuple(os.fspath(self.store.layer_fs(one)) for one in image.stack),
            argv=(),
            env=(),
            binds=binds,
            upper=os.path.join(folder, "upper"),
            work=os.path.join(folder, "work"),
            dirty=os.path.join(folder, "dirty"),
            cwd="/",
        )

    def _gpus(
        self,
        image: Image,
        environment: Environment,
        env: abc.Mapping[str, str],
        binds: tuple[Bind, ...],
    ) -> Exposure:
        """The GPUs that the environment asks for, else the caller's where the image can use them.

        GpuError as of a start, for an environment's own wish.
        """
        text = environment.gpus or self.container.gpus
        if not text:
            return Exposure()
        from lpmx_runtime.gpu.errors import GpuError
        from lpmx_runtime.gpu.expose import expose
        from lpmx_runtime.union.view import View

        try:
            with View(self.store.view_path(image.chain_id)) as view:
                return expose(
                    self.store, view, text, self.environ, image=image.name, env=env, binds=binds
                )
        except GpuError:
            if environment.gpus:
                raise
            return Exposure()

    def _plan_callee(
        self,
        image: Image,
        plan: LaunchPlan,
        draft: _Draft,
        folder: str,
        plan_file: str,
        gpus: Exposure,
    ) -> Callee:
        inherited = ExecMap(
            tuple(
                mapping
                for mapping in self.container.commands
                if not mapping.is_path and not draft.own.get(mapping.key)
            )
        )
        rows, binds, files = self._commands(
            draft, inherited, os.path.join(folder, f"commands{self.variant}")
        )
        seed_folder = os.path.join(folder, f"seed{self.variant}")
        seeds = self._seeds(image)
        shown = {dst: containers.kept_file(folder, data) for dst, data in gpus.files.items()}
        plan = replace(
            plan,
            binds=(
                *draft.binds,
                *binds,
                *_free(draft.binds, _seed_binds(seeds, seed_folder)),
                *_free(draft.binds, gpus.binds),
                *_free(draft.binds, [_shown(path, dst) for dst, path in shown.items()]),
            ),
            commands=rows,
        )
        kept = {shown[dst]: data for dst, data in gpus.files.items()}
        return Callee(folder, plan_file, plan, files, seeds, seed_folder, kept)

    def _binds(self, image: Image, environment: Environment) -> tuple[Bind, ...]:
        """The caller's, at the same places, and the environment's own."""
        with Tree.of_image(self.store, image) as tree:
            caller = [replace(bind, dst=real_place(tree, bind.dst)) for bind in self.who.binds]
        return merge_binds(environment.binds, caller)

    def _seeds(self, image: Image) -> dict[str, str]:
        """The lines that give the caller's user a name in another image."""
        accounts = identity.load_accounts(self.store, image.chain_id)
        who = self.who.identity
        spec = f"{who.uid}:{who.gid}" if who else ""
        shown = identity.resolve_user(spec, accounts, self.host, explicit=True)
        texts = {
            "passwd": identity.seed_passwd(shown, accounts, self.host, self.who.home),
            "group": identity.seed_group(shown, accounts, self.host),
        }
        return {name: text for name, text in texts.items() if text is not None}

    # -- the commands of one container

    def _commands(
        self, draft: _Draft, inherited: ExecMap, folder: str
    ) -> tuple[tuple[PlanCommand, ...], tuple[Bind, ...], CommandFiles]:
        rows: list[PlanCommand] = []
        binds: list[Bind] = []
        files: dict[str, str] = {}
        for mapping in draft.own:
            if mapping.is_path:
                name = f"paths/{len(files)}"
                path = self._real_place(draft, mapping)
                binds.append(Bind(os.path.join(folder, name), path, True, file=True, commands=True))
            else:
                name, path = f"bin/{mapping.key}", f"{OWN}/{mapping.key}"
            rows.append(self._row(draft, mapping, path))
            files[name] = _script(rows[-1])
        for mapping in inherited:
            rows.append(self._row(draft, mapping, f"{CALLERS}/{mapping.key}"))
            files[f"caller/{mapping.key}"] = _script(rows[-1])
        if len(files) > len(binds):
            binds.append(Bind(folder, PLACE, read_only=True, commands=True))
            if _has_names(draft.own):
                files["profile.sh"] = _LOGIN.format(own=OWN)
                binds += _login_bind(draft, os.path.join(folder, "profile.sh"))
        return tuple(rows), tuple(binds), CommandFiles(folder, files)

    def _real_place(self, draft: _Draft, mapping: Mapping) -> str:
        """The place of an absolute path, the symlinks in its parents followed as for a bind."""
        place = real_place(draft.tree, mapping.key)
        if any(bind.dst == place or bind.dst.startswith(f"{place}/") for bind in draft.binds):
            raise UsageError(
                f"command {mapping.key}: something is bound there",
                hint="map the bare name, or leave the bind out",
            )
        return place

    def _row(self, draft: _Draft, mapping: Mapping, path: str) -> PlanCommand:
        if len(os.fsencode(mapping.name)) > _NAME_MAX:
            raise UsageError(f"command {mapping.name[:40]}...: the name is too long")
        if isinstance(mapping.target, HostTarget):
            return self._host_row(mapping, mapping.target, path)
        target = mapping.target
        if isinstance(target, ImageTarget):
            where = f"image {self.store.resolve(target.image).name}"
            environment, command = Environment("", target.image), target.path
        else:
            environment, command = target.environment, target.command
            where = f"environment {environment.name}"
        plan_file, callee = self._callee(environment)
        program = _find_program(callee, command or mapping.name, mapping, where)
        env = {**callee.image_env, "PATH": self._search_path(callee), **mapping.env}
        return PlanCommand(
            path=path,
            name=mapping.key,
            where=where,
            target=program,
            plan=plan_file,
            cwd=mapping.cwd,
            env_names=(*OF_ONE_TREE, *environment_list(draft.image_env)),
            env=environment_list(env),
        )

    def _search_path(self, callee: _Draft) -> str:
        """PATH in a callee: its own commands, its image's, and last what its caller maps."""
        parts = [callee.image_env.get("PATH") or DEFAULT_PATH]
        if _has_names(callee.own):
            parts.insert(0, OWN)
        if _has_names(self.container.commands):
            parts.append(CALLERS)
        return ":".join(parts)

    def _host_row(self, mapping: Mapping, target: HostTarget, path: str) -> PlanCommand:
        self.agent = True
        command = target.command or mapping.name
        if not target.aside:  # a script of batch/wiring.py, which a draft does not have yet
            _check_host_command(mapping, command, self.environ.get("PATH", os.defpath))
        return PlanCommand(
            path=path,
            name=mapping.key,
            where="the host",
            target=command,
            translate=target.translate,
            aside=target.aside,
            cwd=mapping.cwd,
            env_names=(*HOST_PASSED, *target.pass_env),
            env=environment_list(mapping.env),
        )


def compose(
    store: Store,
    container: Container,
    plan: LaunchPlan,
    *,
    who: Container,
    variant: str,
    host: Host,
    environ: abc.Mapping[str, str],
) -> Composition:
    """Add the exec map of @container to the @plan of a start in it.

    @who: the same container as the user of this start sees it, with a plan file named by @variant;
    @environ: the host's variables. LpmxError and its kin for an image, a program or a host command
    that is not there.
    """
    with ExitStack() as stack:
        return _Composer(store, container, plan, who, variant, host, environ, stack).root()


def _key(environment: Environment) -> str:
    """A folder name for one environment: two commands of one environment share its container."""
    if not environment.name:
        return environment.image[:12]
    import hashlib
    import json

    probe = ExecMap((Mapping("x", EnvironmentTarget(environment)),))
    text = json.dumps(probe.as_list(), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _has_names(commands: ExecMap) -> bool:
    return any(not mapping.is_path for mapping in commands)


def _with_own(env: tuple[str, ...]) -> tuple[str, ...]:
    """@env with the commands first on PATH, unless it names them where it wants them."""
    variables = environment_dict(env)
    path = variables.get("PATH") or DEFAULT_PATH
    if OWN not in path.split(":"):
        variables["PATH"] = f"{OWN}:{path}"
    return environment_list(variables)


def _script(row: PlanCommand) -> str:
    import shlex

    one_line = {"name": row.name, "target": row.target, "where": row.where}
    return _SCRIPT.format(
        path=shlex.quote(row.path),
        **{key: value.replace("\n", "?") for key, value in one_line.items()},
    )


def _login_bind(draft: _Draft, source: str) -> list[Bind]:
    hit = draft.tree.find(os.fsencode(_PROFILE))
    if hit is None or not stat.S_ISDIR(draft.tree.kind(hit)):
        return []
    return [Bind(source, f"{_PROFILE}/zz-lpmx.sh", read_only=True, file=True)]


def _shown(source: str, place: str) -> Bind:
    """A file shown as if a layer of the image held it."""
    return Bind(source, place, file=True, seed=True)


def _seed_binds(seeds: abc.Iterable[str], folder: str) -> list[Bind]:
    return [_shown(os.path.join(folder, name), f"/etc/{name}") for name in seeds]


def _free(binds: tuple[Bind, ...], more: abc.Iterable[Bind]) -> list[Bind]:
    """Those of @more at whose place nothing else is bound."""
    taken = {bind.dst for bind in binds}
    return [bind for bind in more if bind.dst not in taken]


# ---- looking for programs


def _find_program(callee: _Draft, command: str, mapping: Mapping, where: str) -> str:
    """The path of @command in a callee; LpmxError when it has none."""
    if command.startswith("/"):
        if not callee.own.get(command) and not is_program(callee.tree, command):
            raise LpmxError(
                f"command {mapping.key}: {where} has no program {command}",
                hint=_bound_hint(callee, command) or "give the path of a program that it has",
            )
        return command
    if callee.own.get(command):
        return f"{OWN}/{command}"
    found = find_program(callee.tree, command, callee.image_env.get("PATH", ""))
    if found:
        return found
    raise LpmxError(
        f"command {mapping.key}: {where} has no program {command} on its PATH",
        hint=f"give its path, as in {mapping.key}=image:IMAGE:/path/to/{command}",
    )


def _bound_hint(callee: _Draft, path: str) -> str:
    bind = find_bind(callee.binds, path)
    return f"{bind.dst} shows {bind.src} there, as for the caller" if bind else ""


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _check_host_command(mapping: Mapping, command: str, path: str) -> None:
    if command.startswith("/"):
        if not _is_executable(command):
            raise LpmxError(
                f"command {mapping.key}: the host has no program {command}",
                hint="say where it is: NAME=host:/path/to/it",
            )
    elif not shutil.which(command, path=path):
        raise LpmxError(
            f"command {mapping.key}: the host's PATH has no program {command}",
            hint=f"say where it is: {mapping.key}=host:/path/to/{command}",
        )
