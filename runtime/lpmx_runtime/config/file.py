"""Files config.yaml: read with places, checked against their schema, made plain values."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from lpmx_runtime.reference import registry_name
from lpmx_runtime.yamlfile.schema import check, read_schema
from lpmx_runtime.yamlfile.source import EnvFileError, read_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from lpmx_runtime.yamlfile.source import Value

__all__ = ["SCHEMA_FILE", "Config", "load_schema", "read_file", "read_files"]

SCHEMA_FILE = os.path.join(os.path.dirname(__file__), "config.schema.json")
_VARIABLE = re.compile(r"\$(\w+|\{[^}]*\})")


@dataclass(frozen=True)
class Config:
    """The keys of config.schema.json; None where no file has one."""

    store: str | None = None
    pull: str | None = None
    jobs: int | None = None
    supply: tuple[str, ...] | None = None
    mirrors: tuple[tuple[str, str], ...] | None = None  # registry and place, in order


def read_files(paths: Iterable[str]) -> Config:
    """What the files @paths contain; of each key the last of them counts."""
    values: dict[str, Any] = {}
    for path in paths:
        values |= read_file(path)
    return Config(**values)


@cache
def load_schema() -> dict[str, Any]:
    """The schema as JSON."""
    return read_schema(SCHEMA_FILE)


def read_file(path: str) -> dict[str, Any]:
    """The keys of file @path, as the fields of Config are called.

    Raises LpmxError when it cannot be read, EnvFileError for what is wrong in it.
    """
    source = read_source(path)
    if source.kind == "null":
        return {}
    check(source, load_schema())
    values: dict[str, Any] = {}
    for key, _, value in source.items():
        if key == "store":
            values[key] = _path(value)
        elif key == "supply":
            values[key] = tuple(map(_path, value.data))
        elif key == "mirrors":
            values[key] = tuple(_mirrors(value))
        else:
            values[key] = value.data
    return values


def _path(value: Value) -> str:
    """An absolute path, with `~` and variables replaced."""

    def replaced(match: re.Match[str]) -> str:
        name = match[1].strip("{}")
        if not os.environ.get(name):
            raise EnvFileError(value.place, f"{value.text}: ${name} is not set")
        return os.environ[name]

    path = os.path.expanduser(_VARIABLE.sub(replaced, value.text))
    if not path.startswith("/"):
        raise EnvFileError(value.place, f"{value.text}: is not an absolute path")
    return path


def _mirrors(value: Value) -> Iterator[tuple[str, str]]:
    from lpmx_runtime.errors import UsageError

    for key, place, listed in value.items():
        try:
            registry = registry_name(key)
        except UsageError as error:
            raise EnvFileError(place, error.message, hint=error.hint) from error
        for one in listed.data if listed.kind == "array" else [listed]:
            yield registry, one.text.rstrip("/")
