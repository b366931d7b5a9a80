"""The start of a kernel in its container: what is decided, and what is made before it begins.

For the provisioner and for the launcher in a kernel spec's argv. No jupyter_client is imported
here.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lpmx_kernels.image import own_kernel as extras
from lpmx_kernels.image import payload
from lpmx_kernels.image.run_once import draft, own_user
from lpmx_kernels.life import processes
from lpmx_kernels.spec.client_env import MARKER, kernel_environment
from lpmx_kernels.spec.interpreter import module_argv
from lpmx_kernels.spec.settings import (
    CONNECTION_FILE,
    PAYLOAD_INSIDE,
    SHELL_INSIDE,
    KernelSettings,
)
from lpmx_kernels.start import notebook, source, startup
from lpmx_runtime.container import owned
from lpmx_runtime.container import record as containers
from lpmx_runtime.errors import InUseError, storage_errors
from lpmx_runtime.launch.start import (
    PLAN,
    Launch,
    Surroundings,
    image_has,
    plan_launch,
)
from lpmx_runtime.launch.users import this_host
from lpmx_runtime.plans.binds import (
    RULES,
    Place,
    default_binds,
    find_bind,
    hidden_places,
    merge_binds,
    this_place,
)
from lpmx_runtime.plans.plan import Bind
from lpmx_runtime.process import runs
from lpmx_runtime.process.streams import without_coerced_locale
from lpmx_runtime.store.store import Store
from lpmx_runtime.union.paths import plan_host_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lpmx_runtime.container.record import Container


NOTE = "kernel.json"
"""The kernel that a container was last started for: its marker (spec/client_env.py), its image."""


@dataclass(frozen=True)
class KernelRequest:
    """What a client and its kernel spec ask for in one start."""

    connection_file: str
    env: Mapping[str, str]  # as the client hands it over
    asked: Mapping[str, str]  # the part of it that the kernel spec set
    cwd: str
    marker: str
    server_env: Mapping[str, str] | None = (
        None  # what differs from it in `env` is the client's wish
    )
    container: str = ""  # of an earlier start of this kernel
    folders: tuple[str, ...] = ()  # that go with the kernel
    outlives: bool = False  # it may outlive this process


@dataclass(frozen=True)
class KernelStart:
    """All that starting one kernel needs: a command for the host that becomes the kernel."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    container: str
    store_root: Path
    launch: Launch | None = None

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know about this start."""
        return self.launch.notes if self.launch else ()

    def host_path(self, path: str) -> str | None:
        """The file on the host that a path of the kernel means; None where there is none."""
        return plan_host_path(self.launch.plan, path) if self.launch else path


def prepare_kernel(settings: KernelSettings, request: KernelRequest) -> KernelStart:
    """Make the container of a kernel ready, and return what starts the kernel in it.

    An image that a notebook names is probed first: planning itself starts nothing. LpmxError: the
    kernel cannot start.
    """
    store = Store.open(settings.store or None)
    owned.record(store.root, _owned(request))
    try:
        start = _prepare(store, settings, request)
    except BaseException:
        if not request.container:
            owned.forget(store.root, request.marker)
        raise
    owned.record(store.root, replace(_owned(request), container=start.container))
    return start


def _owned(request: KernelRequest) -> owned.Owned:
    """What this process has to clear up after the kernel."""
    return owned.Owned(
        name=request.marker,
        owner=runs.this_process(),
        variable=processes.variable(request.marker),
        container=request.container,
        files=(f"start-{request.marker}", f"shell-{request.marker}"),
        folders=request.folders,
        outlives=request.outlives,
    )


def _prepare(store: Store, settings: KernelSettings, request: KernelRequest) -> KernelStart:
    asked, settings = settings, notebook.apply(store, settings, request.env)
    here = _surroundings(request)
    container = _container(store, settings, request, here)
    try:
        launch = plan_kernel(store, container, settings, request, here)
        if settings is not asked:
            binds, path = launch.plan.binds, request.env[notebook.VARIABLE]
            notebook.check_start(store, store.resolve(settings.image), settings, binds, path)
    except BaseException:
        if container.auto_remove and container.id != request.container:
            containers.discard_own(container)
        raise
    with storage_errors(f"container {container.label}"):
        launch.prepare()
        note = {"marker": request.marker, "image": settings.image}
        containers.write_file(container.path(NOTE), json.dumps(note).encode())
        if settings.host_kernel:
            argv, env = _host_kernel(launch, request), _host_environment(request)
        else:
            argv, env = launch.argv, launch.env
    return KernelStart(argv, env, request.cwd, container.id, store.root, launch)


def _host_kernel(launch: Launch, request: KernelRequest) -> tuple[str, ...]:
    """The command of a kernel that runs on the host and has its shell in the container."""
    start = launch.container.path(f"start-{request.marker}")  # not bound: it tells the host's env
    data = json.dumps({"argv": launch.argv, "env": launch.env}).encode()
    containers.write_file(start, data)
    folder = _shell_folder(launch.container, request)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return (*module_argv("lpmx_kernels.shell.kernel"), start, folder, "-f", request.connection_file)


def _shell_folder(container: Container, request: KernelRequest) -> str:
    return container.path(f"shell-{request.marker}")


def _host_environment(request: KernelRequest) -> dict[str, str]:
    return {**request.env, MARKER: request.marker}


def register(start: KernelStart, pid: int) -> None:
    """Note that process `pid` runs in the container, for `lpmx ps` and `lpmx rm`."""
    process = runs.process(pid)
    if start.launch and process:
        folder = start.launch.container.path("runs")
        runs.register(folder, process, runs.MAIN, tuple(start.launch.plan.argv))
        marker = start.env.get(MARKER, "")
        if own := owned.read(start.store_root, marker):
            owned.record(start.store_root, replace(own, process=process))


def release(settings: KernelSettings, container_id: str, marker: str) -> None:
    """Remove what a kernel that has ended leaves, its container unless it is to be kept."""
    store = Store.open(settings.store or None)
    own = owned.read(store.root, marker)
    own = own or owned.Owned(marker, runs.this_process(), processes.variable(marker))
    owned.settle(store, replace(own, container=container_id or own.container))
    remove_leftovers(store)


def take_over(root: Path, marker: str) -> bool:
    """Become the owner of a kernel that another process has started; False where it goes on so."""
    own = owned.read(root, marker)
    if own:
        owned.record(root, replace(own, owner=runs.this_process()))
    return own is not None and not own.outlives


def remove_leftovers(store: Store) -> None:
    """Clear up after kernels whose client was killed before it could do so."""
    for left in owned.left_behind(store.root):
        owned.settle(store, left)


# ---- the container and the plan


def _surroundings(request: KernelRequest) -> Surroundings:
    """Those of the client, whose directory and environment need not be this process's."""
    place = this_place(request.env)
    cwd = os.path.realpath(request.cwd)
    env = without_coerced_locale(request.env)
    return Surroundings(this_host(), Place(place.home, cwd, request.cwd), env)


def _container(
    store: Store, settings: KernelSettings, request: KernelRequest, here: Surroundings
) -> Container:
    """That of this kernel's last start, the one to be kept, or a new one."""
    for name in (request.container, settings.persist):
        try:
            found = containers.find(store, name) if name else None
        except containers.ContainerNotFoundError:
            continue
        if found and not _is_of_another_image(found, settings):
            return found
    image, options = source.start_options(store, settings, request.env)
    options = replace(options, user=options.user or own_user())
    try:
        return draft(store, image, options, here, name=settings.persist).create(store)
    except InUseError:  # another kernel has just made it
        return containers.find(store, settings.persist)


def _is_of_another_image(container: Container, settings: KernelSettings) -> bool:
    """Discard the container of a kernel whose notebook has named another image since its start."""
    last = _read_note(container).get("image", settings.image)
    other = container.auto_remove and last != settings.image
    if other:
        containers.discard_own(container)
    return other


def _read_note(container: Container) -> dict[str, str]:
    try:
        with open(container.path(NOTE), "rb") as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return {}


def plan_kernel(
    store: Store,
    container: Container,
    settings: KernelSettings,
    request: KernelRequest,
    here: Surroundings,
) -> Launch:
    """Decide everything about a kernel's start in @container; starts and writes nothing."""
    binds = _binds(store, container, request, here.place)
    if settings.payload:
        place = payload.locate(store, settings.payload, settings.image)
        bind = Bind(os.fspath(place), PAYLOAD_INSIDE, read_only=True, no_links=True)
        binds = merge_binds(binds, [bind])
    if own := extras.binds(settings.command):
        binds = merge_binds(binds, own)
    if settings.host_kernel:
        binds = merge_binds(binds, [Bind(_shell_folder(container, request), SHELL_INSIDE)])
    extended = replace(container, binds=binds)
    env = kernel_environment(
        request.env,
        asked={**settings.env, **request.asked},
        server=request.server_env,
        marker=request.marker,
    )
    if "HOME" in env and not find_bind(extended.binds, env["HOME"]):
        del env["HOME"]
    env = {**startup.environment(settings.command, container.env), **env}
    command = tuple(
        word.replace(CONNECTION_FILE, request.connection_file)
        for word in startup.command(settings.command)
    )
    cwd = here.place.logical_cwd if find_bind(extended.binds, here.place.logical_cwd) else ""
    launch = plan_launch(
        store, extended, here, command=command, env=env, cwd=cwd or extended.home or "/"
    )
    notes = (*launch.notes, *hidden_places(here.place, extended.binds))
    return replace(launch, plan_file=_plan_file(container, extended, launch), notes=notes)


def _binds(
    store: Store, container: Container, request: KernelRequest, place: Place
) -> tuple[Bind, ...]:
    """The container's binds and what this start needs: its directory and its connection file's."""
    rules = frozenset(RULES) - {"cwd"}
    needed = default_binds(
        place, rules, image_has=lambda path: image_has(store, container.chain_id, path)
    )
    runtime = os.path.dirname(request.connection_file)
    needed.append(Bind(runtime, runtime))
    return merge_binds(
        container.binds, [bind for bind in needed if not find_bind(container.binds, bind.dst)]
    )


def _plan_file(container: Container, extended: Container, launch: Launch) -> str:
    """Kernels that share a container may need other binds: then each such set has its own plan."""
    if extended.binds == container.binds:
        return launch.plan_file
    variant = os.path.basename(launch.plan_file).removeprefix(PLAN)
    text = "\n".join(f"{bind} {bind.flags}" for bind in extended.binds)
    digest = hashlib.sha256(os.fsencode(text)).hexdigest()[:16]
    return container.path(f"{PLAN}-{digest}{variant}")
