"""The exec map: which commands of a container really run somewhere else, and where.

A command is known by a bare name (found wherever PATH finds it) or by an absolute path of the
container, always exactly, never by prefix. It runs on the host, or a program of another image or
environment runs in its place. Values only: callees.py decides what they mean for a start.

    commands = ExecMap((
        parse_mapping("bwa=image:quay.io/biocontainers/bwa:0.7.17"),
        Mapping("qstat", HostTarget("/opt/sge/bin/qstat"), env={"SGE_ROOT": "/opt/sge"}),
    ))
    options = launch.Options(command=("sh", "pipeline.sh"), commands=commands)
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import UsageError

from .plan import Bind

if TYPE_CHECKING:
    from collections import abc
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "Environment",
    "EnvironmentTarget",
    "ExecMap",
    "HostTarget",
    "ImageTarget",
    "Mapping",
    "Target",
    "parse_mapping",
]

GRAMMAR = "NAME=host[:COMMAND], NAME=image:IMAGE[:PATH] or NAME=env:FILE[:COMMAND]"
_NAME = re.compile(r"[^/\0\n=]+")
_VARIABLE = re.compile(r"[^=\0\s]+")


@dataclass(frozen=True)
class HostTarget:
    """A command of the host: an absolute path, or a name for the host's PATH; "": the key's."""

    command: str = ""
    pass_env: tuple[str, ...] = ()  # variables let through besides the default; "X_*": a prefix
    translate: bool = False  # arguments that are paths of the container become the host's
    aside: bool = False  # all variables of the caller too, each name after LPMX_CALLER_

    def __str__(self) -> str:
        """As it is written after -m NAME=."""
        return f"host:{_escape(self.command)}" if self.command else "host"


@dataclass(frozen=True)
class ImageTarget:
    """A program of an image: its path there; "": the key's name, looked up on the image's PATH."""

    image: str  # name or id, as the store resolves it
    path: str = ""

    def __str__(self) -> str:
        """As it is written after -m NAME=."""
        return f"image:{self.image}" + (f":{self.path}" if self.path else "")


@dataclass(frozen=True)
class Environment:
    """An environment as far as running a program in it goes. Made by whoever reads the file."""

    name: str  # the file, for messages
    image: str  # name or id
    env: abc.Mapping[str, str] = field(default_factory=dict)
    binds: tuple[Bind, ...] = ()  # host paths resolved
    commands: ExecMap = field(default_factory=lambda: ExecMap())  # noqa: PLW0108  defined below
    gpus: str = ""  # as after --gpus; "": those of the caller


@dataclass(frozen=True)
class EnvironmentTarget:
    """A command of an environment: a path in its image, or a name; "": the key's name.

    A name means what it means inside: the environment's own exec map first, then the image's PATH.
    """

    environment: Environment
    command: str = ""

    def __str__(self) -> str:
        """As it is written after -m NAME=."""
        command = f":{_escape(self.command)}" if self.command else ""
        return f"env:{_escape(self.environment.name)}{command}"


Target = HostTarget | ImageTarget | EnvironmentTarget


@dataclass(frozen=True)
class Mapping:
    """One command and where it runs."""

    key: str  # bare name, or absolute path in the container
    target: Target
    env: abc.Mapping[str, str] = field(default_factory=dict)  # set for this command, wins
    cwd: str = ""  # where it starts, a path of the target; "": where the caller stands

    def __post_init__(self) -> None:
        """UsageError when the key, a path or a variable cannot be what it should be."""
        _check_key(self.key)
        _check_target(self.key, self.target)
        if self.cwd and not self.cwd.startswith("/"):
            raise UsageError(f"command {self.key}: directory {self.cwd!r} is not absolute")
        for name, value in self.env.items():
            if not _VARIABLE.fullmatch(name) or "\0" in value:
                raise UsageError(f"command {self.key}: {name!r} is not the name of a variable")

    @property
    def name(self) -> str:
        """The last component of the key."""
        return posixpath.basename(self.key)

    @property
    def is_path(self) -> bool:
        """Is the key an absolute path, not a bare name?"""
        return self.key.startswith("/")

    def __str__(self) -> str:
        """As it is written after -m."""
        return f"{self.key}={self.target}"


@dataclass(frozen=True)
class ExecMap:
    """The commands of one container, in the order given; of two with one key the later wins."""

    mappings: tuple[Mapping, ...] = ()

    def __post_init__(self) -> None:
        """Drop what a later mapping replaces."""
        last = {mapping.key: mapping for mapping in self.mappings}
        if len(last) != len(self.mappings):
            object.__setattr__(self, "mappings", tuple(last.values()))

    def __iter__(self) -> Iterator[Mapping]:
        """The mappings, in order."""
        return iter(self.mappings)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.mappings)

    def __add__(self, other: ExecMap) -> ExecMap:
        """Both; what @other says wins."""
        return ExecMap(self.mappings + other.mappings)

    def get(self, key: str) -> Mapping | None:
        """The mapping of exactly @key."""
        return next((mapping for mapping in self.mappings if mapping.key == key), None)

    def as_list(self) -> list[dict[str, Any]]:
        """As plain data, for container.json and --json."""
        return [_to_dict(mapping) for mapping in self.mappings]

    @classmethod
    def from_list(cls, data: Iterable[dict[str, Any]]) -> ExecMap:
        """From plain data; ValueError, KeyError or TypeError when it is not as_list's."""
        return cls(tuple(_from_dict(item) for item in data))


def _check_key(key: str) -> None:
    if key.startswith("/"):
        plain = key[1:2] != "/" and posixpath.normpath(key) == key
        if not plain or key == "/" or "\0" in key:
            raise UsageError(
                f"command {key!r}: not a plain absolute path",
                hint="write it without '.', '..', double and trailing slashes",
            )
    elif not _NAME.fullmatch(key) or key in (".", ".."):
        raise UsageError(
            f"command {key!r}: neither a bare name nor an absolute path",
            hint="for example `bwa`, or `/opt/tools/bwa`",
        )


def _check_target(key: str, target: Target) -> None:
    if isinstance(target, HostTarget):
        path, what = target.command, "a name or an absolute path of the host"
        fine = not path or path.startswith("/") or "/" not in path
    elif isinstance(target, ImageTarget):
        path, what = target.path, "an absolute path of the image"
        fine = bool(target.image) and (not path or path.startswith("/"))
    else:
        path, what = target.command, "a name or an absolute path of the environment"
        fine = not path or path.startswith("/") or "/" not in path
    if not fine or "\0" in path or path.endswith("/"):
        raise UsageError(f"command {key}: {path!r} is not {what}")


# ---- -m NAME=TARGET


def parse_mapping(
    text: str, load_environment: Callable[[str], Environment] | None = None
) -> Mapping:
    r"""The mapping that -m @text asks for.

        NAME=host                   the command of the same name on the host's PATH
        NAME=host:COMMAND           another name, or an absolute path of the host
        NAME=image:IMAGE            the program of the same name on the image's PATH
        NAME=image:IMAGE:/PATH      the program at that path; the first ":/" ends IMAGE
        NAME=env:FILE[:COMMAND]     a command of an environment file

    NAME is a bare name or an absolute path of the container; `\:` is a colon in COMMAND or FILE.
    @load_environment reads an environment file. UsageError says what is wrong with @text.
    """
    key, sign, where = text.partition("=")
    kind, colon, rest = where.partition(":")
    if not sign or not key or (colon and not rest):
        raise _malformed(text)
    if kind == "host":
        return Mapping(key, HostTarget(rest.replace("\\:", ":")))
    if kind == "image" and rest:
        image, slash, path = rest.partition(":/")
        if not image:
            raise _malformed(text)
        return Mapping(key, ImageTarget(image, f"/{path}" if slash else ""))
    if kind == "env" and rest:
        return Mapping(key, _environment_target(text, rest, load_environment))
    raise _malformed(text)


def _environment_target(
    text: str, rest: str, load: Callable[[str], Environment] | None
) -> EnvironmentTarget:
    file, *more = (part.replace("\\:", ":") for part in re.split(r"(?<!\\):", rest))
    if not file or len(more) > 1 or not all(more):
        raise _malformed(text)
    if load is None:
        raise UsageError(f"-m {text}: an environment file cannot be used here")
    return EnvironmentTarget(load(file), *more)


def _malformed(text: str) -> UsageError:
    return UsageError(f"-m {text}: not of a known form", hint=GRAMMAR)


def _escape(text: str) -> str:
    return text.replace(":", "\\:")


# ---- plain data


def _to_dict(mapping: Mapping) -> dict[str, Any]:
    target = mapping.target
    data: dict[str, Any] = {"key": mapping.key}
    if isinstance(target, HostTarget):
        data["host"] = target.command
        data |= {"pass_env": list(target.pass_env), "translate": target.translate}
        data["aside"] = target.aside
    elif isinstance(target, ImageTarget):
        data |= {"image": target.image, "path": target.path}
    else:
        data |= {"environment": _environment_dict(target.environment), "command": target.command}
    return data | {"env": dict(mapping.env), "cwd": mapping.cwd}


def _environment_dict(environment: Environment) -> dict[str, Any]:
    return {
        "name": environment.name,
        "image": environment.image,
        "env": dict(environment.env),
        "binds": [dict(vars(bind)) for bind in environment.binds],
        "commands": environment.commands.as_list(),
        "gpus": environment.gpus,
    }


def _from_dict(data: dict[str, Any]) -> Mapping:
    target: Target
    if "host" in data:
        target = HostTarget(
            data["host"],
            tuple(data["pass_env"]),
            translate=bool(data["translate"]),
            aside=bool(data.get("aside")),
        )
    elif "image" in data:
        target = ImageTarget(data["image"], data["path"])
    else:
        inner = data["environment"]
        environment = Environment(
            name=inner["name"],
            image=inner["image"],
            env=inner["env"],
            binds=tuple(Bind(**bind) for bind in inner["binds"]),
            commands=ExecMap.from_list(inner["commands"]),
            gpus=inner.get("gpus", ""),
        )
        target = EnvironmentTarget(environment, data["command"])
    return Mapping(data["key"], target, env=data["env"], cwd=data["cwd"])
