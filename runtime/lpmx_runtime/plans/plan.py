"""The plan: everything the loader needs to run programs in one container, as a value and as a file.

A `LaunchPlan` is decided by launch.py and only described or compiled here. The compiled form is the
binary file of preload/engine/plan.h, which the loader maps; `parse_plan` reads it back. Nothing
here touches the disk.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "ENGINES",
    "Bind",
    "Exposure",
    "Identity",
    "LaunchPlan",
    "PlanCommand",
    "PlanError",
    "compile_plan",
    "parse_plan",
]

MAGIC = b"LPMXPLAN"
VERSION = 3
PATH_MAX = 4096  # with the final NUL, as LPMX_PATH_MAX of preload/base/sys.h

_READ_ONLY, _IDENTITY, _CLEAR_ENV = 1, 2, 4
_FAKEROOT, _EXTRAS_BESIDE = 16, 32
# How a call of the C library reaches the engine: LPMX_ENGINE, and its bits in the plan's flags.
ENGINES = {"fast": 0, "trap": 8, "eager": 128}
_ENGINE_BITS = 8 | 128
_READ_ONLY, _IDENTITY, _CLEAR_ENV, _AGENT = 1, 2, 4, 64
_BIND_RO, _BIND_FILE, _BIND_PROC, _BIND_SEED = 1, 2, 4, 8
_BIND_COMMANDS, _BIND_NO_LINKS, _BIND_LINK = 64, 128, 256
_CALLEE, _HOST = 1, 2
_TRANSLATE, _ASIDE = 1, 2

# struct plan of preload/engine/plan.h: magic; version, size, flags, uid, gid; then fifteen (offset,
# length or count) pairs.
_HEADER = struct.Struct("<8s5I30I")
_PAIR = struct.Struct("<2I")
_BIND = struct.Struct("<5I")
_COMMAND = struct.Struct("<18I")
_SIZE_MAX = 0xFFFFFFFF
_ID_MAX = 0xFFFFFFFE  # (uid_t)-1 means "no id" to the kernel


class PlanError(LpmxError):
    """A plan that cannot be compiled or a plan file that cannot be read."""


@dataclass(frozen=True)
class Bind:
    """A host path shown at a container path."""

    src: str
    dst: str
    read_only: bool = False
    file: bool = False
    proc: bool = False
    seed: bool = False
    commands: bool = False  # programs here may be rows of the exec map
    no_links: bool = False  # holds no symlink and never will: paths in it need not be walked
    link: bool = False  # the last name of src, a directory, is a symlink

    @property
    def flags(self) -> int:
        """As `enum uufs_bind_flags`."""
        return (
            (_BIND_RO if self.read_only else 0)
            | (_BIND_FILE if self.file else 0)
            | (_BIND_PROC if self.proc else 0)
            | (_BIND_SEED if self.seed else 0)
            | (_BIND_COMMANDS if self.commands else 0)
            | (_BIND_NO_LINKS if self.no_links else 0)
            | (_BIND_LINK if self.link else 0)
        )

    def __str__(self) -> str:
        """As it is written after -v."""
        return f"{self.src}:{self.dst}" + (":ro" if self.read_only else "")


@dataclass(frozen=True)
class Exposure:
    """What devices and settings of the host need of a plan: gpu/ and sitefiles.py decide it."""

    binds: tuple[Bind, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)  # container path -> contents to show
    notes: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)  # to be made: directory -> its original


@dataclass(frozen=True)
class Identity:
    """User, group and supplementary groups that programs in the container see."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def __str__(self) -> str:
        """As `id` would put it."""
        groups = ",".join(map(str, self.groups))
        return f"uid={self.uid} gid={self.gid}" + (f" groups={groups}" if groups else "")


@dataclass(frozen=True)
class PlanCommand:
    """A row of the exec map: executing container path @path runs something else."""

    path: str  # canonical, below a bind with @commands
    name: str  # what the user mapped, for messages
    where: str  # what it was mapped to, for messages
    target: str  # another container's path; on the host an absolute path or a name for PATH
    plan: str = ""  # the other container's plan file; "": the command is the host's
    translate: bool = False  # host: arguments that are container paths become host paths
    aside: bool = False  # host: all variables of the caller besides, each name after LPMX_CALLER_
    cwd: str = ""  # where it starts; "": where the caller stands
    # "NAME", "PREFIX*" or "NAME=VALUE": left behind on the way to a container, let through to the
    # host
    env_names: tuple[str, ...] = ()
    env: tuple[str, ...] = ()

    @property
    def is_host(self) -> bool:
        """Does it run on the host?"""
        return not self.plan

    def __str__(self) -> str:
        """As a plan is described."""
        return f"{self.path} runs {self.target} of {self.where}"


@dataclass(frozen=True)
class LaunchPlan:
    """Everything a start needs; paths are host paths unless they say otherwise."""

    loader: str
    view: str
    layers: tuple[str, ...]
    stores: tuple[str, ...]
    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    binds: tuple[Bind, ...] = ()
    upper: str = ""
    work: str = ""
    dirty: str = ""
    cwd: str = "/"  # container path
    container: str = ""  # id, for messages
    identity: Identity | None = None  # None: the user's own
    read_only: bool = False
    fakeroot: bool = False  # owners are remembered, credentials emulated; needs an identity
    extras_beside: bool = False  # what is remembered never goes into user attributes
    clear_env: bool = False
    engine: str = "fast"  # one of ENGINES
    commands: tuple[PlanCommand, ...] = ()  # the exec map
    ports: tuple[tuple[int, int], ...] = ()  # published: what a program binds, what the host sees
    agent: bool = False  # a command of it, or of a container it calls, is the host's

    def describe(self) -> str:
        """Say what would be done, one fact a line."""
        return "\n".join(f"{name:<10} {shown(value)}" for name, value in self._facts())

    def _facts(self) -> Iterator[tuple[str, str]]:
        import shlex

        yield "container", self.container
        yield "command", shlex.join(self.argv)
        yield "directory", self.cwd
        yield "identity", str(self.identity) if self.identity else "the user's own"
        yield "owners", "remembered (--fakeroot)" if self.fakeroot else "the user's own"
        yield "union", "read-only" if self.read_only else "writable"
        yield "engine", self.engine
        yield "loader", self.loader
        yield "view", self.view
        yield "upper", self.upper or "none"
        for layer in self.layers:
            yield "layer", layer
        for bind in self.binds:
            yield "seed" if bind.seed else "bind", str(bind)
        for command in self.commands:
            yield "maps", str(command)
        for inside, outside in self.ports:
            yield "port", f"{inside} is {outside} on the host"
        for entry in self.env:
            yield "env", entry

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, for --json."""
        return {
            "container": self.container,
            "argv": list(self.argv),
            "cwd": self.cwd,
            "identity": vars(self.identity) | {"groups": list(self.identity.groups)}
            if self.identity
            else None,
            "read_only": self.read_only,
            "fakeroot": self.fakeroot,
            "loader": self.loader,
            "view": self.view,
            "upper": self.upper,
            "layers": list(self.layers),
            "binds": [dict(vars(bind)) for bind in self.binds],
            "env": environment_dict(self.env),
            "commands": [dict(vars(command)) for command in self.commands],
            "ports": [list(pair) for pair in self.ports],
        }


def environment_dict(entries: Iterable[str]) -> dict[str, str]:
    """The entries "NAME=VALUE" as a mapping."""
    return dict(entry.split("=", 1) for entry in entries)


def environment_list(environment: Mapping[str, str]) -> tuple[str, ...]:
    """A mapping as the entries "NAME=VALUE"."""
    return tuple(f"{name}={value}" for name, value in environment.items())


class _Writer:
    """What follows the header of a plan file: strings and tables, at offsets in the file."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.data = bytearray()
        self._known: dict[bytes, tuple[int, int]] = {}

    def string(self, text: str, what: str) -> tuple[int, int]:
        raw = os.fsencode(text)
        if b"\0" in raw:
            raise PlanError(f"{what}: {text!r} holds a NUL byte")
        if raw not in self._known:
            self._known[raw] = (self.start + len(self.data), len(raw))
            self.data += raw + b"\0"
        return self._known[raw]

    def table(self, rows: Sequence[bytes]) -> tuple[int, int]:
        self.data += bytes(-(self.start + len(self.data)) % 8)
        offset = self.start + len(self.data)
        self.data += b"".join(rows)
        return offset, len(rows)

    def strings(self, texts: Iterable[str], what: str) -> tuple[int, int]:
        return self.table([_PAIR.pack(*self.string(text, what)) for text in texts])

    def binds(self, binds: Iterable[Bind]) -> tuple[int, int]:
        rows = []
        for bind in binds:
            dst, src = self.string(bind.dst, "bind"), self.string(bind.src, "bind")
            rows.append(_BIND.pack(*dst, *src, bind.flags))
        return self.table(rows)

    def commands(self, commands: Iterable[PlanCommand]) -> tuple[int, int]:
        rows = []
        for command in commands:
            texts = (command.name, command.where, command.target, command.plan, command.cwd)
            row = [
                *self.string(command.path, "command"),
                _HOST if command.is_host else _CALLEE,
                (_TRANSLATE if command.translate else 0) | (_ASIDE if command.aside else 0),
                *(n for text in texts for n in self.string(text, f"command {command.name}")),
                *self.strings(command.env_names, f"command {command.name}"),
                *self.strings(command.env, f"command {command.name}"),
            ]
            rows.append(_COMMAND.pack(*row))
        return self.table(rows)


def compile_plan(plan: LaunchPlan) -> bytes:
    """The plan file. PlanError says which part of @plan makes no sense."""
    _check(plan)
    out = _Writer(_HEADER.size)
    identity = plan.identity
    groups = identity.groups if identity else ()
    flags = (
        (_READ_ONLY if plan.read_only else 0)
        | (_IDENTITY if identity else 0)
        | (_CLEAR_ENV if plan.clear_env else 0)
        | (_FAKEROOT if plan.fakeroot else 0)
        | (_EXTRAS_BESIDE if plan.extras_beside else 0)
        | ENGINES[plan.engine]
        | (_AGENT if plan.agent else 0)
    )
    pairs = (
        out.table([struct.pack("<I", group) for group in groups]),
        out.string(plan.loader, "loader"),
        out.string(plan.view, "view"),
        out.string(plan.upper, "upper"),
        out.string(plan.work, "work"),
        out.string(plan.dirty, "dirty"),
        out.strings(plan.layers, "layer"),
        out.strings(plan.stores, "store"),
        out.binds(plan.binds),
        out.strings(plan.argv, "command"),
        out.strings(plan.env, "environment"),
        out.string(plan.cwd, "working directory"),
        out.string(plan.container, "container"),
        out.commands(plan.commands),
        out.table([_PAIR.pack(*pair) for pair in plan.ports]),
    )
    size = _HEADER.size + len(out.data)
    if size > _SIZE_MAX:
        raise PlanError("the command and its environment do not fit a plan")
    ids = (identity.uid, identity.gid) if identity else (0, 0)
    header = _HEADER.pack(MAGIC, VERSION, size, flags, *ids, *(n for pair in pairs for n in pair))
    return header + bytes(out.data)


def _check(plan: LaunchPlan) -> None:
    for what, path in (("loader", plan.loader), ("view", plan.view), ("cwd", plan.cwd)):
        _check_path(what, path)
    for what, path in (("upper", plan.upper), ("work", plan.work), ("dirty map", plan.dirty)):
        if path:
            _check_path(what, path)
    if plan.upper and not plan.work:
        raise PlanError(f"container {plan.container}: an upper directory needs a work directory")
    for path in plan.layers:
        _check_path("layer", path)
    for path in plan.stores:
        _check_path("store", path)
    for bind in plan.binds:
        _check_path("bind source", bind.src)
        _check_path("bind destination", bind.dst)
    for pair in plan.ports:
        if not all(0 < port < 1 << 16 for port in pair):
            raise PlanError(f"published port {pair[0]} as {pair[1]}: ports are 1 to 65535")
    _check_words(plan)
    if plan.fakeroot and not plan.identity:
        raise PlanError(f"container {plan.container}: root emulation needs an identity to show")
    _check_commands(plan)
    if plan.identity:
        _check_identity(plan.identity)


def _check_path(what: str, path: str) -> None:
    if not path.startswith("/"):
        raise PlanError(f"{what} {path!r} is not an absolute path")
    if len(os.fsencode(path)) >= PATH_MAX:
        raise PlanError(f"{what} {path[:40]}...: the path is longer than {PATH_MAX - 1} bytes")


def _check_words(plan: LaunchPlan) -> None:
    if plan.argv and not plan.argv[0]:
        raise UsageError("the command's name is empty")
    for entry in plan.env:
        name, sign, _ = entry.partition("=")
        if not sign or not name:
            raise PlanError(f"environment entry {entry!r} is not NAME=VALUE")
    seen: set[str] = set()
    for bind in plan.binds:
        if bind.dst in seen:
            raise PlanError(f"two binds at {bind.dst}")
        seen.add(bind.dst)


def _check_commands(plan: LaunchPlan) -> None:
    for command in plan.commands:
        _check_path(f"command {command.name}: place", command.path)
        if command.plan:
            _check_path(f"command {command.name}: plan", command.plan)
            _check_path(f"command {command.name}: program", command.target)
        if command.cwd:
            _check_path(f"command {command.name}: directory", command.cwd)
        if not command.target:
            raise PlanError(f"command {command.name}: nothing to run")


def _check_identity(identity: Identity) -> None:
    for number in (identity.uid, identity.gid, *identity.groups):
        if not 0 <= number <= _ID_MAX:
            raise UsageError(f"{number} is not a user or group id")


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def string(self, pair: tuple[int, int]) -> str:
        offset, length = pair
        if offset + length >= len(self.data) or self.data[offset + length]:
            raise PlanError("the plan file is damaged: a string leaves it")
        return os.fsdecode(self.data[offset : offset + length])

    def table(self, pair: tuple[int, int], row: struct.Struct) -> list[tuple[Any, ...]]:
        offset, count = pair
        if offset + count * row.size > len(self.data):
            raise PlanError("the plan file is damaged: a table leaves it")
        return list(row.iter_unpack(self.data[offset : offset + count * row.size]))

    def strings(self, pair: tuple[int, int]) -> tuple[str, ...]:
        return tuple(self.string((row[0], row[1])) for row in self.table(pair, _PAIR))

    def binds(self, pair: tuple[int, int]) -> tuple[Bind, ...]:
        return tuple(
            Bind(
                src=self.string((src, src_len)),
                dst=self.string((dst, dst_len)),
                read_only=bool(flags & _BIND_RO),
                file=bool(flags & _BIND_FILE),
                proc=bool(flags & _BIND_PROC),
                seed=bool(flags & _BIND_SEED),
                commands=bool(flags & _BIND_COMMANDS),
                no_links=bool(flags & _BIND_NO_LINKS),
                link=bool(flags & _BIND_LINK),
            )
            for dst, dst_len, src, src_len, flags in self.table(pair, _BIND)
        )

    def commands(self, pair: tuple[int, int]) -> tuple[PlanCommand, ...]:
        return tuple(self._command(row) for row in self.table(pair, _COMMAND))

    def _command(self, row: tuple[int, ...]) -> PlanCommand:
        path, (_, flags), name, where, target, plan, cwd, names, env = zip(
            row[::2], row[1::2], strict=True
        )
        return PlanCommand(
            path=self.string(path),
            name=self.string(name),
            where=self.string(where),
            target=self.string(target),
            plan=self.string(plan),
            translate=bool(flags & _TRANSLATE),
            aside=bool(flags & _ASIDE),
            cwd=self.string(cwd),
            env_names=self.strings(names),
            env=self.strings(env),
        )


def parse_plan(data: bytes) -> LaunchPlan:
    """The plan in a plan file; the inverse of `compile_plan`."""
    if len(data) < _HEADER.size or data[: len(MAGIC)] != MAGIC:
        raise PlanError("not a plan file")
    _, version, size, flags, uid, gid, *numbers = _HEADER.unpack_from(data)
    if version != VERSION:
        raise PlanError(f"a plan file of version {version}, this is version {VERSION}")
    if size != len(data):
        raise PlanError("the plan file is truncated")
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    read = _Reader(data)
    groups, loader, view, upper, work, dirty, layers, stores, binds, argv, env, cwd, *last = pairs
    ident, commands, ports = last
    shown = tuple(row[0] for row in read.table(groups, struct.Struct("<I")))
    return LaunchPlan(
        loader=read.string(loader),
        view=read.string(view),
        layers=read.strings(layers),
        stores=read.strings(stores),
        argv=read.strings(argv),
        env=read.strings(env),
        binds=read.binds(binds),
        upper=read.string(upper),
        work=read.string(work),
        dirty=read.string(dirty),
        cwd=read.string(cwd),
        container=read.string(ident),
        identity=Identity(uid, gid, shown) if flags & _IDENTITY else None,
        read_only=bool(flags & _READ_ONLY),
        fakeroot=bool(flags & _FAKEROOT),
        extras_beside=bool(flags & _EXTRAS_BESIDE),
        clear_env=bool(flags & _CLEAR_ENV),
        engine=next(name for name, bits in ENGINES.items() if bits == flags & _ENGINE_BITS),
        commands=read.commands(commands),
        ports=tuple((row[0], row[1]) for row in read.table(ports, _PAIR)),
        agent=bool(flags & _AGENT),
    )
