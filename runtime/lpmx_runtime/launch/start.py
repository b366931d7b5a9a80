"""What a start is to be: from an image, the user's wishes and where the user stands, to a plan.

Everything here decides and nothing acts, so that a plan can be shown (`lpmx run --print-plan`) and
tested without a container. container.py puts the result on disk, supervise.py starts it.

    here = surroundings()
    draft = draft_container(store, store.resolve("debian:12"), Options(command=("true",)), here)
    launch = plan_launch(store, draft.container, here)
    print(launch.plan.describe())
    with taken_back(draft.create(store)):
        exec_in_place(launch)
"""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lpmx_runtime.container import record as containers
from lpmx_runtime.container.engine import engine_path, keep_engine
from lpmx_runtime.container.record import Container, taken_back
from lpmx_runtime.errors import UsageError, storage_errors
from lpmx_runtime.plans.binds import (
    default_binds,
    find_bind,
    merge_binds,
    parse_volume,
    this_place,
    without_layers,
)
from lpmx_runtime.plans.execmap import ExecMap
from lpmx_runtime.plans.plan import (
    ENGINES,
    Bind,
    Exposure,
    LaunchPlan,
    compile_plan,
    environment_dict,
    environment_list,
)
from lpmx_runtime.plans.variables import build_environment
from lpmx_runtime.process.streams import without_coerced_locale

from . import users as identity
from .sitefiles import copy_directory, site_files, suffix
from .supervise import check_start, exec_in_place, run_and_wait, start_detached

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lpmx_runtime.plans.binds import Place
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .commands import Composition
    from .users import Accounts, Host, Shown

__all__ = [
    "Draft",
    "Launch",
    "Options",
    "Surroundings",
    "check_start",
    "draft_container",
    "exec_in_place",
    "plan_launch",
    "run_and_wait",
    "start_detached",
    "surroundings",
    "taken_back",
]

PLAN = "plan"
HOST_PREFIX = "LPMX_HOST:"  # AGENT_ENV_PREFIX of preload/agent/agent.h
_SEEDS = {"passwd": "/etc/passwd", "group": "/etc/group"}


@dataclass(frozen=True)
class Options:
    """What the user asks of a container."""

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None  # None: the image's
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""  # container path; "": the image's WORKDIR, else where the user stands
    user: str = ""  # NAME|UID[:GROUP|GID]; "": the image's, else the user's own
    volumes: tuple[str, ...] = ()
    no_bind: frozenset[str] = frozenset()
    read_only: bool = False
    fakeroot: bool = False  # emulate root; then @user "" is root, whatever the image says
    commands: ExecMap = field(default_factory=ExecMap)  # what runs somewhere else when called
    gpus: str = ""  # as after --gpus
    batch: str = ""  # auto, or a system of batch/systems.py: jobs come back into the container
    ports: tuple[tuple[int, int], ...] = ()  # published: in the container, on the host


@dataclass(frozen=True)
class Surroundings:
    """All that a start takes from the process that asks for it."""

    host: Host
    place: Place
    environ: Mapping[str, str]


def surroundings(environ: Mapping[str, str] | None = None) -> Surroundings:
    """Those of this process; @environ in place of its environment."""
    environ = without_coerced_locale(os.environ) if environ is None else environ
    return Surroundings(identity.this_host(), this_place(environ), dict(environ))


@dataclass(frozen=True)
class Draft:
    """A container that is decided but not on disk."""

    container: Container
    seeds: Mapping[str, str]
    stubs: Mapping[str, bytes] = field(default_factory=dict)  # of submit commands, by their paths

    def create(self, store: Store) -> Container:
        """Put it on disk."""
        if self.stubs:
            from lpmx_runtime.batch.wiring import write_stubs

            with storage_errors(f"container {self.container.label}"):
                write_stubs(self.stubs)
        return containers.create(store, self.container, self.seeds)


@dataclass(frozen=True)
class Launch:
    """One start in a container."""

    container: Container
    plan: LaunchPlan
    plan_file: str
    seeds: Mapping[str, str] = field(default_factory=dict)  # still to be written
    seed_folder: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)  # the same by host path
    notes: tuple[str, ...] = ()  # what the user should know about this start
    composition: Composition | None = None  # what the exec map adds to be put on disk
    host_env: Mapping[str, str] = field(default_factory=dict)  # for commands of the host
    copies: Mapping[str, str] = field(default_factory=dict)  # directories to be made: the originals

    @property
    def argv(self) -> tuple[str, ...]:
        """What to execute on the host; the process then becomes the program."""
        cwd = ("--cwd", self.plan.cwd)
        return (self.plan.loader, "--plan", self.plan_file, *cwd, "--", *self.plan.argv)

    @property
    def env(self) -> dict[str, str]:
        """The environment to execute it with."""
        env = environment_dict(self.plan.env)
        if self.plan.agent:  # the loader takes these out again, for its agent
            env |= {f"{HOST_PREFIX}{name}": value for name, value in self.host_env.items()}
        return env

    def prepare(self) -> None:
        """Bring the plan file up to date; it is the same for all starts, so usually it is."""
        stable = replace(self.plan, argv=self.container.argv, cwd=self.container.cwd, env=())
        data = compile_plan(stable)
        keep_engine(self.plan.loader, self.container.folder)
        containers.write_seeds(self.container, self.seeds, self.seed_folder)
        containers.write_missing(self.files)
        for copy, original in self.copies.items():
            copy_directory(original, copy)
        if self.composition:
            self.composition.prepare()
        containers.fill_dirty_map(self.plan.dirty)
        containers.write_changed(self.plan_file, data)

    def whole_plan(self) -> bytes:
        """A plan file that `lpmx-exec --plan FILE` starts as it stands, with this environment."""
        return compile_plan(replace(self.plan, clear_env=True))


def draft_container(
    store: Store,
    image: Image,
    options: Options,
    here: Surroundings,
    *,
    name: str = "",
    auto_remove: bool = False,
) -> Draft:
    """Decide everything about a new container."""
    if name:
        containers.check_name(name)
    accounts = identity.load_accounts(store, image.chain_id)
    shown = _shown_user(options.user, image.user, accounts, here.host, options.fakeroot)
    binds = _binds(store, image, options, here)
    home = _home(shown, here, binds)
    seeds = _seeds(shown, accounts, here.host, home)
    container_id = containers.new_id()
    batch, commands, stubs = _batch(store, options, here, container_id)
    return Draft(
        Container(
            id=container_id,
            name=name,
            image=image.id,
            image_name=image.name,
            diff_ids=image.stack,
            chain_id=image.chain_id,
            argv=_argv(image, options),
            env={**image.env, **options.env},
            cwd=_cwd(image, options, here, binds),
            home=home,
            user=_user_name(shown, accounts, seeds),
            binds=binds,
            seeds=tuple(seeds),
            identity=shown.identity,
            read_only=options.read_only,
            fakeroot=options.fakeroot,
            extras_beside=_extras_beside(here.environ),
            site="site" not in options.no_bind,
            commands=_pinned(store, commands),
            batch=batch,
            gpus=_checked_gpus(options.gpus),
            ports=options.ports,
            auto_remove=auto_remove,
            root=os.fspath(store.containers_dir),
        ),
        seeds,
        stubs,
    )


def _batch(
    store: Store, options: Options, here: Surroundings, container_id: str
) -> tuple[str, ExecMap, Mapping[str, bytes]]:
    """The batch system whose jobs come back ("": none), its commands, and scripts to be made."""
    if options.batch in ("", "none"):
        return "", options.commands, {}
    from lpmx_runtime.batch import systems, wiring

    path = here.environ.get("PATH", os.defpath)
    system = systems.find_system(options.batch, path, here.environ)
    if not system:
        return "", options.commands, {}
    note_file = os.path.join(store.containers_dir, container_id, wiring.NOTE)
    commands, stubs = wiring.map_commands(
        store, options.commands, system, note_file=note_file, path=path
    )
    return system, commands, stubs


def _pinned(store: Store, commands: ExecMap) -> ExecMap:
    if not commands:
        return commands
    from .commands import pin_images  # here: most containers map nothing

    return pin_images(store, commands)


def _binds(store: Store, image: Image, options: Options, here: Surroundings) -> tuple[Bind, ...]:
    asked = [parse_volume(text, cwd=here.place.cwd) for text in options.volumes]
    if asked:
        asked = _at_real_places(store, image, asked)
    default = default_binds(
        here.place,
        options.no_bind,
        image_has=lambda path: image_has(store, image.chain_id, path),
    )
    if options.fakeroot:
        default = [_replaceable(bind) for bind in default]
    return tuple(without_layers(merge_binds(default, asked), store.layers_dir))


def image_has(store: Store, chain_id: str, path: str) -> bool:
    """Has the image anything at @path, or may it, since a symlink leads there?"""
    from lpmx_runtime.union.view import View

    with View(store.view_path(chain_id)) as view:
        parent = view.lookup(posixpath.dirname(path), follow=False)
        if parent is not None and stat.S_ISLNK(parent.mode):
            return True
        return view.lookup(path, follow=False) is not None


def _replaceable(bind: Bind) -> Bind:
    """A host file in /etc that a package may replace: shown until the container has its own."""
    if bind.file and bind.dst.startswith("/etc/"):
        return replace(bind, seed=True, read_only=False)
    return bind


def _at_real_places(store: Store, image: Image, binds: list[Bind]) -> list[Bind]:
    from lpmx_runtime.union.paths import real_place
    from lpmx_runtime.union.tree import Tree

    with Tree.of_image(store, image) as tree:
        return [replace(bind, dst=real_place(tree, bind.dst)) for bind in binds]


def _shown_user(
    asked: str, image_user: str, accounts: Accounts, host: Host, fakeroot: bool
) -> Shown:
    """Whom programs see: with root emulation @asked or root, never simply the user's own."""
    if fakeroot:
        shown = identity.resolve_user(asked or "0:0", accounts, host, explicit=True)
        return replace(shown, own=False, groups=(shown.gid,)) if shown.own else shown
    return identity.resolve_user(asked or image_user, accounts, host, explicit=bool(asked))


def _extras_beside(environ: Mapping[str, str]) -> bool:
    """$LPMX_OWNERS, `attributes` (the default) or `files`: where remembered owners are kept."""
    wanted = environ.get("LPMX_OWNERS", "") or "attributes"
    if wanted not in {"attributes", "files"}:
        raise UsageError(f"LPMX_OWNERS={wanted}: not one of `attributes` and `files`")
    return wanted == "files"


def _home(shown: Shown, here: Surroundings, binds: tuple[Bind, ...]) -> str:
    """The home of the shown user: the user's own where it is visible, else what the image says."""
    own = here.place.home
    if shown.own and own and find_bind(binds, own):
        return own
    return shown.home if shown.home.startswith("/") else "/"


def _seeds(shown: Shown, accounts: Accounts, host: Host, home: str) -> dict[str, str]:
    texts = {
        "passwd": identity.seed_passwd(shown, accounts, host, home),
        "group": identity.seed_group(shown, accounts, host),
    }
    return {name: text for name, text in texts.items() if text is not None}


def _user_name(shown: Shown, accounts: Accounts, seeds: Mapping[str, str]) -> str:
    user = accounts.user_by_id(shown.uid)
    if user is None and "passwd" in seeds:
        user = identity.Accounts(seeds["passwd"]).user_by_id(shown.uid)
    return user.name if user else ""


def _argv(image: Image, options: Options) -> tuple[str, ...]:
    """ENTRYPOINT and CMD by Docker's rules: --entrypoint replaces the one and drops the other."""
    if options.entrypoint is not None:
        argv = options.entrypoint + options.command
    else:
        argv = image.entrypoint + (options.command or image.cmd)
    if not argv:
        raise UsageError(
            f"image {image.name} names no command",
            hint=f"say what to run: `lpmx run {image.name} COMMAND`",
        )
    return argv


def _cwd(image: Image, options: Options, here: Surroundings, binds: tuple[Bind, ...]) -> str:
    """-w, else WORKDIR, else where the user stands. `/` says nothing: builders write it unasked."""
    if options.cwd:
        return _absolute(options.cwd)
    if image.workdir != "/":
        return image.workdir
    for path in (here.place.logical_cwd, here.place.cwd):
        bind = find_bind(binds, path)
        if bind and os.path.realpath(bind.src + path[len(bind.dst) :]) == here.place.cwd:
            return path
    return "/"


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise UsageError(f"-w {path}: not an absolute path of the container")
    return path


def plan_launch(
    store: Store,
    container: Container,
    here: Surroundings,
    *,
    command: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    cwd: str = "",
    user: str = "",
    fakeroot: bool = False,
) -> Launch:
    """Decide one start in @container: its own command or another, perhaps as another user.

    @fakeroot emulates root in a container that was made without it.
    """
    other = None
    if user or (fakeroot and not container.fakeroot):
        other = _as_user(store, container, user, here, fakeroot or container.fakeroot)
    who = other.container if other else container
    asked = {**container.env, **(env or {})}
    gpus = _expose_gpus(store, container, here, asked)
    shown_files = {
        dst: containers.kept_file(container.folder, data) for dst, data in gpus.files.items()
    }
    site = Exposure()
    if container.site:
        site = site_files(
            store,
            container.chain_id,
            here.environ,
            who.binds,
            fixed=asked,
            home=here.place.home,
        )
    variables = build_environment(
        {**gpus.env, **site.env, **asked},
        here.environ,
        home=who.home,
        user=who.user,
        binds=who.binds,
    )
    layers = tuple(os.fspath(store.layer_fs(diff_id)) for diff_id in container.diff_ids)
    variant = f"-{who.identity.uid}-{who.identity.gid}" if other and who.identity else ""
    variant = "-own" if other and not variant else variant
    if who.fakeroot and not container.fakeroot:
        variant += "-fakeroot"
    seed_folder = f"seed{variant}"
    variant += suffix(site)
    plan = LaunchPlan(
        loader=engine_path(store),
        view=os.fspath(store.view_path(container.chain_id)),
        layers=layers,
        stores=(os.fspath(store.layers_dir),),
        argv=command or container.argv,
        env=environment_list(variables),
        binds=(
            *who.binds,
            *_seed_binds(container, who.seeds, seed_folder),
            *_free(who.binds, gpus.binds),
            *_free(who.binds, site.binds),
            *_job_binds(container),
            *_free(who.binds, [Bind(p, d, file=True, seed=True) for d, p in shown_files.items()]),
        ),
        upper=container.path("upper"),
        work=container.path("work"),
        dirty=container.path("dirty"),
        cwd=_absolute(cwd) if cwd else container.cwd,
        container=container.id,
        identity=who.identity,
        read_only=container.read_only,
        fakeroot=who.fakeroot,
        extras_beside=container.extras_beside,
        engine=_engine(here.environ),
        ports=container.ports,
    )
    called = replace(who, binds=(*who.binds, *(b for b in site.binds if not b.seed)))
    composition = _compose(store, container, plan, called, variant, here)
    plan = composition.plan if composition else plan
    plan_file = container.path(f"{PLAN}{variant}")
    return Launch(
        container,
        plan,
        plan_file,
        other.seeds if other else {},
        seed_folder,
        {
            **{shown_files[dst]: data for dst, data in gpus.files.items()},
            **_job_files(container, plan, plan_file),
        },
        gpus.notes,
        composition,
        here.environ,
        site.copies,
    )


def _job_binds(container: Container) -> list[Bind]:
    if not container.batch:
        return []
    from lpmx_runtime.batch.wiring import jobs_bind

    return [jobs_bind(container.folder)]


def _job_files(container: Container, plan: LaunchPlan, plan_file: str) -> dict[str, bytes]:
    if not container.batch:
        return {}
    from lpmx_runtime.batch.wiring import NOTE, note

    return {container.path(NOTE): note(container, plan, plan_file)}


def _checked_gpus(text: str) -> str:
    if not text:
        return ""
    from lpmx_runtime.gpu.request import parse_request

    return text if parse_request(text) else ""


def _expose_gpus(
    store: Store, container: Container, here: Surroundings, env: Mapping[str, str]
) -> Exposure:
    """What this machine's GPUs need. Looked for at each start: each may be on another node."""
    if not container.gpus:  # most: every start passes here
        return Exposure()
    from lpmx_runtime.gpu.expose import expose
    from lpmx_runtime.union.view import View

    with View(store.view_path(container.chain_id)) as view:
        return expose(
            store,
            view,
            container.gpus,
            here.environ,
            image=container.image_name,
            env=env,
            binds=container.binds,
        )


def _free(binds: tuple[Bind, ...], more: Iterable[Bind]) -> list[Bind]:
    """Those of @more at whose place the user has not bound something else."""
    taken = {bind.dst for bind in binds}
    return [bind for bind in more if bind.dst not in taken]


def _engine(environ: Mapping[str, str]) -> str:
    """LPMX_ENGINE, by default "fast".

    With "trap" every call comes by the signal; with "eager", which is for tests, a call site is
    rewritten as soon as it is seen.
    """
    engine = environ.get("LPMX_ENGINE") or "fast"
    if engine not in ENGINES:
        raise UsageError(f"LPMX_ENGINE={engine}: no such engine", hint="set it to fast or trap")
    return engine


def _compose(
    store: Store,
    container: Container,
    plan: LaunchPlan,
    who: Container,
    variant: str,
    here: Surroundings,
) -> Composition | None:
    if not container.commands:
        return None
    from .commands import compose

    return compose(
        store, container, plan, who=who, variant=variant, host=here.host, environ=here.environ
    )


def _as_user(
    store: Store, container: Container, user: str, here: Surroundings, fakeroot: bool
) -> Draft:
    """@container for another user; the accounts are those the container has by now."""
    accounts = identity.upper_accounts(
        container.path("upper"),
        identity.load_accounts(store, container.chain_id),
    )
    shown = _shown_user(user, "", accounts, here.host, fakeroot)
    home = _home(shown, here, container.binds)
    seeds = _seeds(shown, accounts, here.host, home)
    changed = replace(
        container,
        identity=shown.identity,
        home=home,
        user=_user_name(shown, accounts, seeds),
        seeds=tuple(seeds),
        fakeroot=fakeroot,
    )
    return Draft(changed, seeds)


def _seed_binds(container: Container, names: tuple[str, ...], folder: str) -> tuple[Bind, ...]:
    """The generated files, except where the user has bound another file at the same place."""
    taken = {bind.dst for bind in container.binds}
    return tuple(
        Bind(os.path.join(container.path(folder), name), _SEEDS[name], file=True, seed=True)
        for name in names
        if _SEEDS[name] not in taken
    )
