"""YAML with places: every value knows its line and column, so that an error can name them.

A `Value` is what one node of the file says. Scalars keep their text beside what YAML 1.1 makes of
it, because `X: 1.10` and `X: yes` mean just these characters where a string is asked for. Aliases
are allowed, and merge keys (`<<`), whose values keep the places of what they were taken from; an
alias to what it lies in is not, nor are tags of programming languages.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import LpmxError
from lpmx_runtime.smallfile import read_small

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yaml import Node

__all__ = ["EnvFileError", "Place", "Value", "read_source"]

SIZE_MAX = 1 << 20  # bytes: a file that somebody writes
_NODES_MAX = 100_000  # after aliases: a few lines of them can stand for billions
_MERGE = "tag:yaml.org,2002:merge"  # of a plain `<<`; a quoted one is a word
_KINDS = {
    "tag:yaml.org,2002:str": "string",
    "tag:yaml.org,2002:int": "integer",
    "tag:yaml.org,2002:float": "number",
    "tag:yaml.org,2002:bool": "boolean",
    "tag:yaml.org,2002:null": "null",
    "tag:yaml.org,2002:timestamp": "string",
    "tag:yaml.org,2002:seq": "array",
    "tag:yaml.org,2002:map": "object",
    "tag:yaml.org,2002:value": "string",
    _MERGE: "string",
}


@dataclass(frozen=True)
class Place:
    """Where something stands: file, line and column, counted from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        """As compilers write it, so that editors jump there."""
        return f"{self.file}:{self.line}:{self.column}"


class EnvFileError(LpmxError):
    """An environment file that cannot be used as it stands; the message begins with the place."""

    def __init__(
        self, place: Place, message: str, *, hint: str | None = None, more: tuple[str, ...] = ()
    ) -> None:
        super().__init__(f"{place}: {message}", hint=hint, exit_code=2)
        self.place = place
        self.more = more  # further errors of the same reading, as lines


@dataclass(frozen=True)
class Value:
    """One value of a file: @data is what YAML says it is, with Values inside lists and mappings."""

    place: Place
    kind: str  # a JSON type: string, integer, number, boolean, null, array, object
    data: Any
    text: str = ""  # of a scalar, as written
    keys: tuple[tuple[str, Place], ...] = ()  # of a mapping, in order

    def __getitem__(self, key: str) -> Value:
        """The value at @key of a mapping."""
        found: Value = self.data[key]
        return found

    def get(self, key: str) -> Value | None:
        """The value at @key of a mapping, None when it has none."""
        return self.data.get(key) if self.kind == "object" else None

    def items(self) -> Iterator[tuple[str, Place, Value]]:
        """Key, its place, and value of a mapping."""
        for key, place in self.keys:
            yield key, place, self.data[key]

    def plain(self) -> Any:
        """The same without places, as json.loads would give it."""
        if self.kind == "object":
            return {key: value.plain() for key, value in self.data.items()}
        if self.kind == "array":
            return [value.plain() for value in self.data]
        return self.data


def read_source(path: str | os.PathLike[str]) -> Value:
    """The contents of the YAML file @path.

    Raises LpmxError when it cannot be read, EnvFileError when it is not YAML.
    """
    name = os.fspath(path)
    try:
        raw = read_small(name, limit=SIZE_MAX)
    except OSError as error:
        raise LpmxError(f"{name}: {error.strerror}", exit_code=2) from error
    return parse_source(raw, name)


def parse_source(raw: bytes, name: str) -> Value:
    """The value in @raw, which came from file @name."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = raw.decode("utf-8-sig")
        node = yaml.compose(text, Loader=loader)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise EnvFileError(Place(name, line), "not UTF-8") from error
    except RecursionError as error:
        raise EnvFileError(Place(name), "nested too deeply") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(name, mark.line + 1, mark.column + 1) if mark else Place(name)
        problem = error.problem or error.context or "a mistake"
        raise EnvFileError(place, f"not YAML: {problem}") from error
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise EnvFileError(Place(name), f"not YAML: {reason}") from error
    if node is None:
        return Value(Place(name), "null", None)
    return _Reader(name).value(node)


class _Reader:
    """From PyYAML's nodes to values."""

    def __init__(self, name: str) -> None:
        import yaml

        self._name = name
        self._construct = yaml.SafeLoader("")
        self._open: set[int] = set()
        self._seen = 0

    def place(self, node: Node) -> Place:
        return Place(self._name, node.start_mark.line + 1, node.start_mark.column + 1)

    def value(self, node: Node) -> Value:
        self._seen += 1
        place = self.place(node)
        if self._seen > _NODES_MAX:
            raise EnvFileError(place, "too many values")
        kind = _KINDS.get(node.tag)
        if kind is None:
            raise EnvFileError(place, f"the tag {node.tag} has no meaning here")
        if kind not in ("array", "object"):
            return self._scalar(node, place, kind)
        if id(node) in self._open:
            raise EnvFileError(place, "an alias to what it lies in")
        self._open.add(id(node))
        try:
            return (self._list if kind == "array" else self._mapping)(node, place)
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: Node, place: Place, kind: str) -> Value:
        text = str(node.value)
        if kind == "string":
            return Value(place, kind, text, text)
        try:
            data = self._construct.construct_object(node)
        except ValueError as error:
            raise EnvFileError(place, f"{text!r} is not a value: {error}") from error
        return Value(place, kind, data, text)

    def _list(self, node: Node, place: Place) -> Value:
        return Value(place, "array", [self.value(item) for item in node.value])

    def _mapping(self, node: Node, place: Place) -> Value:
        data: dict[str, Value] = {}
        keys: dict[str, Place] = {}
        merged: list[Value] | None = None
        for key_node, value_node in node.value:
            where = self.place(key_node)
            if not isinstance(key_node.value, str):
                raise EnvFileError(where, "a key is a word, not a list or a mapping")
            key = key_node.value
            if key in data or (merged is not None and key_node.tag == _MERGE):
                raise EnvFileError(where, f"the key {key!r} stands here twice")
            if key_node.tag == _MERGE:
                merged = self._merged(value_node)
                continue
            data[key] = self.value(value_node)
            keys[key] = where
        for other in merged or ():  # of two the first wins, and what stands here wins over both
            for key, where, value in other.items():
                data.setdefault(key, value)
                keys.setdefault(key, where)
        return Value(place, "object", data, keys=tuple(keys.items()))

    def _merged(self, node: Node) -> list[Value]:
        """The mappings that a merge key takes in; each counts anew, as an alias does."""
        found = self.value(node)
        sources: list[Value] = found.data if found.kind == "array" else [found]
        for source in sources:
            if source.kind != "object":
                raise EnvFileError(
                    source.place,
                    "`<<` takes in mappings, and this is none",
                    hint="`<<: *NAME`, or `<<: [*NAME, *OTHER]`, with NAME an anchor of a mapping",
                )
        return sources
