"""Containers: a folder each, with what was decided at its creation and what was written in it.

    containers/ID/{container.json, plan, upper/, work/, dirty, seed/, runs/, log, exit.json}

A container is files, not processes: it can be started any number of times, also at once, and kept
or removed. Names are symbolic links in containers/.names. A container is removed by renaming its
folder out of sight first.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import (
    InUseError,
    LpmxError,
    NotFoundError,
    UsageError,
    pass_over,
    storage_errors,
)
from lpmx_runtime.plans.execmap import ExecMap
from lpmx_runtime.plans.plan import Bind, Identity
from lpmx_runtime.process import runs
from lpmx_runtime.store.store import atomic_write, bad_container, is_there, remove_tree

from .names import NAME, NAMES, ids, meant, read_link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lpmx_runtime.process.runs import Process, Run
    from lpmx_runtime.store.store import Store

__all__ = [
    "Container",
    "ContainerNotFoundError",
    "collect",
    "create",
    "find",
    "list_containers",
    "new_id",
    "remove",
]

VERSION = 2  # 1: its dirty map has no head
# Bytes: good for 50,000 names; each page of it costs every process a fault. What is over a power of
# two says that the map begins with a head, see preload/uufs/dirty.c.
DIRTY_SIZE = (1 << 16) + 16
_ID_LENGTH = 12
_REMOVED = ".removed-"
_BAD_RECORD = (OSError, ValueError, KeyError, TypeError, AttributeError)


class ContainerNotFoundError(NotFoundError):
    """No such container: `lpmx ps -a` lists them."""


@dataclass(frozen=True)
class Container:
    """What was decided at its creation. Its only host paths are binds: a store can be moved."""

    id: str
    name: str  # "" when it has none
    image: str  # id
    image_name: str  # as the user gave it
    diff_ids: tuple[str, ...]  # the image's stack
    chain_id: str
    argv: tuple[str, ...]
    env: Mapping[str, str]  # the image's and the user's; the rest is added at each start
    cwd: str
    home: str
    user: str
    binds: tuple[Bind, ...]
    seeds: tuple[str, ...] = ()  # "passwd", "group": files in seed/ shown in /etc
    identity: Identity | None = None
    read_only: bool = False
    fakeroot: bool = False  # owners are remembered, credentials emulated
    extras_beside: bool = False  # what is remembered never goes into user attributes
    site: bool = True  # the site's package indexes and certificates are shown, see sitefiles.py
    commands: ExecMap = field(default_factory=ExecMap)
    batch: str = ""  # the batch system whose jobs come back into it
    ports: tuple[tuple[int, int], ...] = ()  # published: in the container, on the host
    gpus: str = ""  # as after --gpus; looked for at each start
    auto_remove: bool = False
    created: float = 0.0
    creator: Process | None = None
    root: str = field(default="", compare=False)  # folder of all containers

    @property
    def folder(self) -> str:
        """The container's folder."""
        return os.path.join(self.root, self.id)

    def path(self, name: str) -> str:
        """A file or folder of the container."""
        return os.path.join(self.root, self.id, name)

    @property
    def label(self) -> str:
        """What to call it in a message."""
        return self.name or self.id

    def runs(self) -> list[Run]:
        """The programs that run in it now."""
        return [run for run in self.entries() if run.kind != runs.SUPERVISOR]

    def entries(self) -> list[Run]:
        """The programs and those that watch over them."""
        return runs.live_runs(self.path("runs"))

    def background(self) -> list[int]:
        """The processes that run in it, on this node, when the programs started in it have ended.

        Daemons, jobs of a shell, calls of exposed commands.
        """
        from lpmx_runtime.process import scan as processes

        return [] if self.runs() else processes.of_container(self.id)

    def is_garbage(self) -> bool:
        """True when it was meant to go with its run, and whoever was to remove it has died."""
        return (
            self.auto_remove
            and (self.creator is None or not self.creator.is_alive())
            and not self.entries()
        )

    def last_exit(self) -> dict[str, Any] | None:
        """How its command last ended: status (None when nobody saw it), signal, finished."""
        try:
            with open(self.path("exit.json"), "rb") as file:
                data = json.load(file)
        except (OSError, ValueError):
            return None
        return data if isinstance(data, dict) else None

    def as_dict(self) -> dict[str, Any]:
        """As container.json."""
        data = {key: value for key, value in vars(self).items() if key != "root"}
        data["binds"] = [dict(vars(bind)) for bind in self.binds]
        data["identity"] = dict(vars(self.identity)) if self.identity else None
        data["creator"] = dict(vars(self.creator)) if self.creator else None
        data["env"] = dict(self.env)
        data["commands"] = self.commands.as_list()
        return {"version": VERSION, **data}


def _from_dict(data: dict[str, Any], root: str) -> Container:
    if data.pop("version", None) not in {1, VERSION}:
        raise ValueError("another version")
    identity, creator = data.pop("identity"), data.pop("creator")
    return Container(
        root=root,
        diff_ids=tuple(data.pop("diff_ids")),
        argv=tuple(data.pop("argv")),
        seeds=tuple(data.pop("seeds")),
        binds=tuple(Bind(**bind) for bind in data.pop("binds")),
        identity=Identity(identity["uid"], identity["gid"], tuple(identity["groups"]))
        if identity
        else None,
        ports=tuple((int(inside), int(outside)) for inside, outside in data.pop("ports", ())),
        commands=ExecMap.from_list(data.pop("commands", ())),
        creator=runs.Process.from_dict(creator) if creator else None,
        **data,
    )


def new_id() -> str:
    """A fresh container id."""
    return os.urandom(_ID_LENGTH // 2).hex()


def check_name(name: str) -> str:
    """@name, if a container may be called so."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"container name {name!r} is not allowed",
            hint="use letters, digits, and _ . - after the first one; at most 128",
        )
    return name


# ---- create


def create(store: Store, container: Container, seeds: Mapping[str, str]) -> Container:
    """Put @container on disk; @seeds are the contents of its seed files. Its name must be free."""
    container = replace(
        container,
        root=os.fspath(store.containers_dir),
        created=time.time(),
        creator=runs.this_process() if container.auto_remove else None,
    )
    with storage_errors(f"container {container.label}"), store.adding():
        if container.name:
            with store.lock("containers"):
                _take_name(container)
                try:
                    _write(container, seeds)
                except BaseException:
                    _drop_name(container)
                    raise
        else:
            _write(container, seeds)
    return container


def _take_name(container: Container) -> None:
    """Point the name to the container, which is yet to appear: a link to nothing is a free name."""
    names = os.path.join(container.root, NAMES)
    os.makedirs(names, mode=0o700, exist_ok=True)
    _, alike = meant(container.root, container.name)
    if alike:
        raise InUseError(
            f"container name {container.name!r} is what the id of container {alike[0]} begins with",
            hint="choose another name",
        )
    link = os.path.join(names, container.name)
    other = load(container.root, read_link(link))
    if other is not None and other.is_garbage():
        _discard(other)
        other = None
    if other is not None:
        raise InUseError(
            f"container {container.name} exists already",
            hint=f"`lpmx exec {container.name} COMMAND` runs in it, `lpmx rm` removes it",
        )
    with contextlib.suppress(FileNotFoundError):
        os.unlink(link)
    os.symlink(container.id, link)


def _drop_name(container: Container) -> None:
    """Free its name, if it has one and it is still its own."""
    if not container.name:
        return
    link = os.path.join(container.root, NAMES, container.name)
    with contextlib.suppress(OSError):
        if os.readlink(link) == container.id:
            os.unlink(link)


def _write(container: Container, seeds: Mapping[str, str]) -> None:
    """Make the folder, or leave nothing of it."""
    os.mkdir(container.folder, 0o700)
    try:
        _fill(container, seeds)
    except BaseException:
        with contextlib.suppress(OSError):
            purge(container.folder)
        raise


def _fill(container: Container, seeds: Mapping[str, str]) -> None:
    """Make what is in the folder. container.json, the last file, makes it a container."""
    for name in ("work", "runs", *(("jobs",) if container.batch else ())):
        os.mkdir(container.path(name), 0o700)
    os.mkdir(container.path("upper"))
    os.chmod(container.path("upper"), 0o755)  # noqa: S103  the container's /; nobody reaches it from outside
    write_file(container.path("dirty"), bytes(DIRTY_SIZE))
    write_seeds(container, seeds)
    data = json.dumps(container.as_dict()).encode("ascii")
    if container.auto_remove:  # it need not outlive a crash
        write_file(container.path("container.json"), data)
    else:
        atomic_write(container.path("container.json"), data)


def make_dirty_map(path: str, like: str | None = None) -> None:
    """An empty dirty map, or the one that is there. @like: another one, of an engine as old.

    It is written, not left a hole: a page of a mapped file that finds no room on a full disk later
    is a SIGBUS, in the middle of any program.
    """
    try:
        if os.stat(path).st_size:  # another size would say something else of what is there
            fill_dirty_map(path)
            return
    except FileNotFoundError:
        pass
    size = os.stat(like).st_size if like and os.path.exists(like) else DIRTY_SIZE
    temporary = f"{path}.{os.getpid()}.tmp"
    write_file(temporary, bytes(size))
    try:
        with contextlib.suppress(FileExistsError):  # another program is in it already
            os.link(temporary, path)
    except OSError:  # a file system without hard links
        os.rename(temporary, path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)


def fill_dirty_map(path: str) -> None:
    """Find room for a map that an earlier version made; its programs may be running.

    By the bare call: what the C library does where a file system has none could lose their marks.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:  # the loader says so: an empty one would hide what was written
        return
    if status.st_blocks * 512 >= status.st_size:
        return
    import ctypes  # slow, and hardly ever needed

    with open(path, "rb+") as file:
        call = ctypes.CDLL(None).fallocate
        call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
        call(file.fileno(), 0, 0, status.st_size)  # a full disk is no reason not to start


def write_seeds(container: Container, seeds: Mapping[str, str], folder: str = "seed") -> None:
    """Write the files that are shown in /etc until the container writes its own."""
    if not seeds:
        return
    with contextlib.suppress(FileExistsError):
        os.mkdir(container.path(folder), 0o700)
    for name, text in seeds.items():
        path = os.path.join(container.path(folder), name)
        write_file(path, text.encode("utf-8", "surrogateescape"), mode=0o644)


def kept_file(folder: str, data: bytes) -> str:
    """Where in @folder a generated file is kept: by its contents, since nodes may need others."""
    import hashlib  # slow, and most starts generate nothing

    return os.path.join(folder, f"gpu-{hashlib.sha256(data).hexdigest()[:16]}")


def write_missing(files: Mapping[str, bytes]) -> None:
    """Write those of @files, by host path, that are missing; their names tell the contents."""
    for path, data in files.items():
        if not os.path.exists(path):
            write_file(path, data, mode=0o644)


def write_file(path: str, data: bytes, mode: int = 0o600) -> None:
    """Replace @path whole, without waiting for the disk."""
    temporary = f"{path}.{os.getpid()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        file.write(data)
    os.rename(temporary, path)


def write_changed(path: str, data: bytes, mode: int = 0o600) -> None:
    """As `write_file`, unless the file holds @data already."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        if file.read() == data:
            return
    write_file(path, data, mode)


# ---- find


def find(store: Store, name: str) -> Container:
    """The container called @name, or whose id starts with it."""
    root = os.fspath(store.containers_dir)
    named, alike = meant(root, name)
    found = load(root, named)
    if found is not None:
        return found
    if len(alike) > 1:
        raise ContainerNotFoundError(
            f"{name}: {len(alike)} containers have an id that starts so", hint="give more digits"
        )
    found = load(root, alike[0]) if alike else None
    if found is not None:
        return found
    if named or alike:
        _say_why(os.path.join(root, named or alike[0]))
    raise ContainerNotFoundError(f"{name}: no such container", hint="`lpmx ps -a` lists them")


def _say_why(folder: str) -> None:
    """StorageError about the record in @folder, if there is one that cannot be read."""
    root, name = os.path.split(folder)
    try:
        _read(root, name)
    except FileNotFoundError:
        return
    except _BAD_RECORD as error:
        raise bad_container(folder, error) from error


def list_containers(store: Store) -> list[Container]:
    """All containers, oldest first, without garbage and those whose record cannot be read."""
    root = os.fspath(store.containers_dir)
    found = [container for name in ids(root) if (container := _listed(root, name))]
    return sorted(found, key=lambda container: (container.created, container.id))


def _listed(root: str, name: str) -> Container | None:
    """The container with id @name, unless it is garbage; a bad record is named and passed over."""
    try:
        container = _read(root, name)
        return None if container.is_garbage() else container
    except FileNotFoundError:
        return None
    except _BAD_RECORD as error:
        pass_over(bad_container(os.path.join(root, name), error))
        return None


def load(root: str, name: str) -> Container | None:
    """The container with id @name; None when there is none or its record cannot be read."""
    if not name or "/" in name:
        return None
    try:
        return _read(root, name)
    except _BAD_RECORD:
        return None


def _read(root: str, name: str) -> Container:
    with open(os.path.join(root, name, "container.json"), "rb") as file:
        return _from_dict(json.load(file), root)


# ---- remove


def remove(store: Store, container: Container, *, force: bool = False, lost: bool = False) -> None:
    """Remove the container and what was written in it.

    @force kills what runs in it first, and takes its jobs out of the batch system. With @lost,
    what is said to run on another machine does not count: that machine is gone.
    """
    if force:
        _kill_all(container)
    if lost:
        runs.forget_lost(container.path("runs"))
    if container.batch:
        from lpmx_runtime.batch import jobs

        if force:
            jobs.cancel_all(container.folder)
        else:
            jobs.forget_finished(container.folder)
    _refuse_when_running(container, forced=force)
    with storage_errors(f"container {container.label}"), store.lock("containers"):
        _discard(container)


def _refuse_when_running(container: Container, *, forced: bool = False) -> None:
    running = container.runs() or container.entries()
    background = [] if running else container.background()
    if background:
        raise InUseError(
            f"container {container.label} is in use by process {background[0]} in the background",
            hint=f"`lpmx stop {container.label}` first, or `lpmx rm -f {container.label}`",
        )
    if running:
        raise InUseError(
            f"container {container.label} is in use by {running[0].label}",
            hint=_how_to_end(container.label, running[0], forced=forced),
        )


def _how_to_end(label: str, run: Run, *, forced: bool) -> str:
    """What to do about @run, which is in the way of a removal: never the command just given."""
    if run.kind == runs.JOB:
        return "wait for it, or cancel it" if forced else f"`lpmx rm -f {label}` cancels it"
    if not run.process.is_here():
        return f"end it there; if that place is gone for good: `lpmx rm -f --lost {label}`"
    if forced:
        return "it does not end when killed: it may wait for a disk that does not answer"
    return f"`lpmx stop {label}` first, or `lpmx rm -f {label}`"


def _kill_all(container: Container) -> None:
    import signal

    from lpmx_runtime.process import scan as processes

    for run in container.runs():
        if run.kind != runs.JOB:
            runs.send_signal(run.process, signal.SIGKILL, group=True)
    processes.kill_container(container.id)
    for run in container.entries():
        if run.process.is_here():
            runs.wait_gone(run.process, 5.0)


def _discard(container: Container) -> None:
    """Take the folder out of sight, then its name, then remove it; gc can do the rest."""
    hidden = os.path.join(container.root, f"{_REMOVED}{container.id}")
    try:
        os.rename(container.folder, hidden)
    except FileNotFoundError:
        return  # another process was faster
    late = runs.live_runs(os.path.join(hidden, "runs"))
    if any(run.kind == runs.JOB for run in late):
        os.rename(hidden, container.folder)  # its jobs come back into it; gc removes it after them
        return
    if late and not container.auto_remove:
        os.rename(hidden, container.folder)  # a start slipped in between
        _refuse_when_running(container)
    _drop_name(container)
    purge(hidden)


def discard_own(container: Container, *, kill: bool = False) -> None:
    """Remove an ephemeral container after its run. What else still runs in it loses its files.

    With @kill it ends as well.
    """
    if kill:
        from lpmx_runtime.process import scan as processes

        processes.kill_container(container.id)
    with storage_errors(f"container {container.label}"):
        _discard(container)


@contextlib.contextmanager
def taken_back(container: Container) -> Iterator[None]:
    """Remove @container, which this command has just made, if what follows fails."""
    try:
        yield
    except BaseException:
        runs.unregister(container.path("runs"), os.getpid())
        with contextlib.suppress(LpmxError):  # gc can do it later; why it failed matters more
            discard_own(container)
        raise


def purge(folder: str) -> None:
    """Remove a tree, also where its owner took away his own permissions."""
    try:
        remove_tree(folder)
    except PermissionError:
        _make_removable(folder)
        remove_tree(folder)


def _make_removable(folder: str) -> None:
    pending = [folder]
    while pending:
        path = pending.pop()
        os.chmod(path, 0o700)
        with os.scandir(path) as entries:
            pending += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]


# ---- garbage


def leftovers(store: Store) -> list[str]:
    """What `collect` would remove: names of folders. With the store's lock held, as there."""
    root = os.fspath(store.containers_dir)
    return [
        name
        for name in sorted(os.listdir(root))
        if name.startswith(_REMOVED) or (not name.startswith(".") and _is_leftover(root, name))
    ]


def plain_id(name: str) -> str:
    """The id of the container whose folder, half removed or not, is called @name."""
    return name.removeprefix(_REMOVED)


def collect(store: Store) -> list[str]:
    """Remove what killed runs have left: ephemeral, half made, half removed containers. Their ids.

    To be called with the store's lock held alone, so that no container is just being made.
    """
    root = os.fspath(store.containers_dir)
    removed = []
    for name in sorted(os.listdir(root)):
        try:
            if _collect_folder(root, name):
                removed.append(plain_id(name))
        except OSError as error:
            pass_over(bad_container(os.path.join(root, name), error))
    _collect_names(root)
    _collect_accounts(store)
    return removed


def _collect_folder(root: str, name: str) -> bool:
    """Collect what is in folder @name of all containers' @root; True when that was all of it."""
    folder = os.path.join(root, name)
    _forget_jobs(folder)
    if name.startswith(_REMOVED):
        purge(folder)
        return True
    if name.startswith("."):
        return False
    if _is_leftover(root, name):
        _collect_one(root, name)
        return True
    _collect_temporaries(root, name)
    return False


def _forget_jobs(folder: str) -> None:
    """Let go of jobs that the batch system does not know any more."""
    if os.path.isdir(os.path.join(folder, "jobs")):
        from lpmx_runtime.batch import jobs

        jobs.forget_finished(folder)


def _is_leftover(root: str, name: str) -> bool:
    """No record (never made whole), or one whose run is over. A damaged record is left alone."""
    if not is_there(os.path.join(root, name, "container.json")):
        return not runs.live_runs(os.path.join(root, name, "runs"))
    container = load(root, name)
    return container is not None and container.is_garbage()


def _collect_one(root: str, name: str) -> None:
    container = load(root, name)
    if container is not None:
        discard_own(container, kill=True)
        return
    hidden = os.path.join(root, f"{_REMOVED}{name}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(os.path.join(root, name), hidden)
        purge(hidden)


def _collect_temporaries(root: str, name: str) -> None:
    """What killed programs left in the work folders of a kept container that nothing runs in."""
    folder = os.path.join(root, name)
    if not os.path.isdir(os.path.join(folder, "work")):
        return
    if runs.live_runs(os.path.join(folder, "runs")):
        return
    callees = os.path.join(folder, "callees")  # containers that its exec map leads to
    inner = os.listdir(callees) if os.path.isdir(callees) else ()
    for work in ("work", *(os.path.join("callees", key, "work") for key in inner)):
        _collect_work(os.path.join(folder, work))


def _collect_work(work: str) -> None:
    with os.scandir(work) as entries:
        for entry in entries:
            if not entry.name.startswith("tmp."):
                continue
            if entry.is_dir(follow_symlinks=False):
                purge(entry.path)
            else:
                os.unlink(entry.path)


def _collect_names(root: str) -> None:
    names = os.path.join(root, NAMES)
    for name in os.listdir(names) if os.path.isdir(names) else ():
        link = os.path.join(names, name)
        if not os.path.exists(os.path.join(root, read_link(link))):
            with contextlib.suppress(OSError):
                os.unlink(link)


def _collect_accounts(store: Store) -> None:
    """Forget the accounts and names of images that are gone."""
    for folder in (store.root / "cache" / "accounts", store.root / "cache" / "names"):
        for path in folder.glob("*.json") if folder.is_dir() else ():
            if not store.view_path(path.stem).exists():
                path.unlink(missing_ok=True)
