"""An environment file as values: what it asks for, with the place of whatever may turn out wrong.

    environment = read_environment("variants.yaml")
    environment.commands["bwa"]     ImageTarget(image="quay.io/biocontainers/bwa:0.7.17", ...)

Reading checks the file against the schema and takes in what it includes; it looks at no image and
starts nothing. resolve.py does the rest. The format is docs/environments.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lpmx_runtime.yamlfile.schema import check, read_schema
from lpmx_runtime.yamlfile.source import EnvFileError, Place, Value, read_source

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Environment",
    "EnvironmentTarget",
    "HostTarget",
    "ImageTarget",
    "Kernel",
    "Target",
    "Volume",
    "SCHEMA_FILE",
    "is_environment_file",
    "load_schema",
    "read_environment",
]

SCHEMA_FILE = os.path.join(os.path.dirname(__file__), "environment.schema.json")
SUFFIXES = (".yaml", ".yml")
Variables = dict[str, str | None]  # None: the host's value at the start, if it has one


def load_schema() -> dict[str, Any]:
    """The published schema of environment files as JSON."""
    return read_schema(SCHEMA_FILE)


@dataclass(frozen=True)
class ImageTarget:
    """A program of an image; @path "" is the command's own name, found by the image's PATH."""

    image: str
    path: str = ""
    env: Mapping[str, str | None] = field(default_factory=dict)
    cwd: str = ""
    place: Place = field(default_factory=lambda: Place(""), compare=False)


@dataclass(frozen=True)
class EnvironmentTarget:
    """A command of another environment; @command "" is the same name."""

    file: str  # absolute
    command: str = ""
    env: Mapping[str, str | None] = field(default_factory=dict)
    cwd: str = ""
    place: Place = field(default_factory=lambda: Place(""), compare=False)


@dataclass(frozen=True)
class HostTarget:
    """A program of the host; @path "" is the same name on the host's PATH."""

    path: str = ""  # absolute, or a name
    env: Mapping[str, str | None] = field(default_factory=dict)
    passes: tuple[str, ...] = ()  # variables of the caller: NAME or PREFIX*
    paths: bool = False  # arguments that are container paths become host paths
    place: Place = field(default_factory=lambda: Place(""), compare=False)


Target = ImageTarget | EnvironmentTarget | HostTarget


@dataclass(frozen=True)
class Volume:
    """One entry of binds:, as -v takes it, the source made absolute."""

    text: str
    place: Place = field(compare=False)


@dataclass(frozen=True)
class Kernel:
    """The section kernel:, for lpmx_kernels."""

    language: str = ""
    name: str = ""
    display_name: str = ""
    argv: tuple[str, ...] = ()
    env: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Environment:
    """What one file says, with what it includes taken in."""

    name: str
    file: str  # absolute
    image: str = ""  # "": none is named
    image_place: Place = field(default_factory=lambda: Place(""), compare=False)
    description: str = ""
    binds: tuple[Volume, ...] = ()
    no_bind: tuple[str, ...] = ()
    env: Mapping[str, str | None] = field(default_factory=dict)
    cwd: str = ""
    user: str = ""
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] = ()
    read_only: bool = False
    commands: Mapping[str, Target] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()  # (): none asked; ("all",), ("2",) a number, or names
    gpus_by_name: bool = False  # a list in the file: indices and UUIDs, not a number of devices
    gpus_place: Place = field(default_factory=lambda: Place(""), compare=False)
    batch: str = ""  # "": not said
    batch_place: Place = field(default_factory=lambda: Place(""), compare=False)
    fakeroot: bool = False
    kernel: Kernel | None = None
    files: tuple[str, ...] = ()  # all that was read, this one first


def is_environment_file(word: str) -> bool:
    """Does @word, given where an image can stand, name an environment file rather than an image?

    Image names have no extension .yaml or .yml, so nothing is looked up on disk.
    """
    return word.endswith(SUFFIXES)


def read_environment(path: str | os.PathLike[str]) -> Environment:
    """The environment in file @path with its includes.

    Raises EnvFileError (place, key, what was meant) or LpmxError for a file that cannot be read.
    """
    return _read(os.path.abspath(path), ())


def _read(path: str, outer: tuple[str, ...]) -> Environment:
    value = read_source(path)
    check(value, load_schema())
    environment = Environment(name=_default_name(path), file=path, files=(path,))
    for item in _includes(value):
        other = os.path.normpath(os.path.join(os.path.dirname(path), item.text))
        chain = (*outer, path, other)
        if other in chain[:-1]:
            raise cycle_error(item.place, chain[chain.index(other) :], "includes")
        if not os.path.exists(other):
            raise EnvFileError(item.place, f"include: {item.text}: no such file")
        if not os.path.isfile(other):  # read, a FIFO would be waited for
            raise EnvFileError(item.place, f"include: {item.text}: not a regular file")
        environment = _over(_read(other, (*outer, path)), environment)
    return _apply(environment, value)


def cycle_error(place: Place, chain: tuple[str, ...], verb: str) -> EnvFileError:
    """The error about files that come back to where they began."""
    names = f" {verb} ".join(os.path.relpath(name) for name in chain)
    return EnvFileError(place, f"a cycle: {names}", hint="take one of these links out")


def _default_name(path: str) -> str:
    return os.path.basename(path).rpartition(".")[0] or os.path.basename(path)


def _includes(value: Value) -> list[Value]:
    said = value.get("include")
    if said is None:
        return []
    return list(said.data) if said.kind == "array" else [said]


def _over(included: Environment, earlier: Environment) -> Environment:
    """@earlier with what a file included after it says; names and files stay @earlier's own."""
    from dataclasses import replace

    return replace(
        included,
        name=earlier.name,
        file=earlier.file,
        image=included.image or earlier.image,
        image_place=included.image_place if included.image else earlier.image_place,
        binds=earlier.binds + included.binds,
        no_bind=earlier.no_bind + included.no_bind,
        env={**earlier.env, **included.env},
        cwd=included.cwd or earlier.cwd,
        user=included.user or earlier.user,
        entrypoint=included.entrypoint if included.entrypoint is not None else earlier.entrypoint,
        command=included.command or earlier.command,
        read_only=included.read_only or earlier.read_only,
        commands={**earlier.commands, **included.commands},
        **_gpus_of(included if included.gpus else earlier),
        batch=included.batch or earlier.batch,
        batch_place=included.batch_place if included.batch else earlier.batch_place,
        fakeroot=included.fakeroot or earlier.fakeroot,
        kernel=included.kernel or earlier.kernel,
        files=tuple(dict.fromkeys(earlier.files + included.files)),
    )


def _gpus_of(environment: Environment) -> dict[str, Any]:
    return {name: getattr(environment, name) for name in ("gpus", "gpus_by_name", "gpus_place")}


def _apply(base: Environment, value: Value) -> Environment:
    """@base with what the file itself says; @value fits the schema."""
    from dataclasses import replace

    folder = os.path.dirname(base.file)
    said: dict[str, Any] = {}
    for key in ("name", "description", "image", "cwd", "user", "batch"):
        if found := value.get(key):
            said[key] = found.text
    for key in ("image", "batch"):
        if found := value.get(key):
            said[f"{key}_place"] = found.place
    for key in ("read_only", "fakeroot"):
        if (flag := value.get(key)) is not None:
            said[key] = bool(flag.data)
    for key in ("entrypoint", "command"):
        if (words := value.get(key)) is not None:
            said[key] = _texts(words)
    if gpus := value.get("gpus"):
        said |= {"gpus": _gpus(gpus), "gpus_by_name": gpus.kind == "array"}
        said["gpus_place"] = gpus.place
    if kernel := value.get("kernel"):
        said["kernel"] = _kernel(kernel)
    return replace(
        base,
        binds=base.binds + _binds(value.get("binds"), folder),
        no_bind=base.no_bind + _texts(value.get("no_bind")),
        env={**base.env, **_variables(value.get("env"))},
        commands={**base.commands, **_commands(value.get("commands"), folder)},
        **said,
    )


def _texts(value: Value | None) -> tuple[str, ...]:
    return tuple(item.text for item in value.data) if value is not None else ()


def _variables(value: Value | None) -> Variables:
    if value is None:
        return {}
    return {name: None if item.kind == "null" else item.text for name, _, item in value.items()}


def _gpus(value: Value) -> tuple[str, ...]:
    words = _texts(value) if value.kind == "array" else (value.text,)
    return () if words in (("none",), ("0",)) and value.kind != "array" else words


def _kernel(value: Value) -> Kernel:
    words = {key: found.text for key in ("language", "name", "display_name")
             if (found := value.get(key))}  # fmt: skip
    return Kernel(argv=_texts(value.get("argv")), env=_variables(value.get("env")), **words)


def _binds(value: Value | None, folder: str) -> tuple[Volume, ...]:
    return tuple(_bind(item, folder) for item in value.data) if value is not None else ()


def _bind(item: Value, folder: str) -> Volume:
    if item.kind == "object":
        source = _source(item["source"].text.replace(":", "\\:"), folder)
        target = item.get("target")
        parts = [source, *([target.text.replace(":", "\\:")] if target else [])]
        if (flag := item.get("read_only")) is not None and flag.data:
            parts.append("ro")
        return Volume(":".join(parts), item.place)
    first, colon, rest = item.text.partition(":")
    return Volume(_source(first, folder) + colon + rest, item.place)


def _source(path: str, folder: str) -> str:
    """@path of the host, absolute: from ~, else from the file's folder."""
    expanded = os.path.expanduser(path) if path.startswith("~") else path
    return os.path.normpath(os.path.join(folder, expanded))


def _commands(value: Value | None, folder: str) -> dict[str, Target]:
    if value is None:
        return {}
    return {name: _target(item, place, folder) for name, place, item in value.items()}


def _target(value: Value, place: Place, folder: str) -> Target:
    if value.kind == "string":
        return HostTarget(value.text.removeprefix("host").removeprefix(":"), place=place)
    common: dict[str, Any] = {
        "env": _variables(value.get("env")),
        "place": place,
    }
    if host := value.get("host"):
        paths = value.get("paths")
        return HostTarget(
            host.text,
            passes=_texts(value.get("pass")),
            paths=bool(paths and paths.data),
            **common,
        )
    common["cwd"] = found.text if (found := value.get("cwd")) else ""
    if image := value.get("image"):
        path = value.get("path")
        return ImageTarget(image.text, path.text if path else "", **common)
    command = value.get("command")
    file = os.path.normpath(os.path.join(folder, value["environment"].text))
    return EnvironmentTarget(file, command.text if command else "", **common)
