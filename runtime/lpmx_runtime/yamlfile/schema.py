"""Checks a value against a JSON Schema: where it is wrong, and what was probably meant.

The schema is the one truth: editors complete by it, and this small validator reads the same file.
It knows the keywords of JSON Schema draft 7 that the schema uses and refuses others, so that a rule
written there is a rule checked here. The tests compare it with the `jsonschema` package.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from lpmx_runtime.similar import did_you_mean

from .source import EnvFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .source import Place, Value

__all__ = ["check", "problems", "read_schema"]

_NOTES = {"description", "title", "$schema", "$id", "definitions"}
_RULES = {
    "$ref", "type", "enum", "anyOf", "pattern", "minLength", "minimum", "minItems", "items",
    "properties", "patternProperties", "additionalProperties", "required",
}  # fmt: skip
_NAMES = {
    "object": "a mapping", "array": "a list", "string": "text", "integer": "a whole number",
    "number": "a number", "boolean": "true or false", "null": "nothing",
}  # fmt: skip


class Problem:
    """One thing wrong: where, what, and perhaps what was meant. @depth: how far checking came."""

    def __init__(self, place: Place, message: str, depth: int, hint: str | None = None) -> None:
        self.place = place
        self.message = message
        self.depth = depth
        self.hint = hint


@cache
def read_schema(path: str) -> dict[str, Any]:
    """The schema in file @path as JSON."""
    with open(path, encoding="utf-8") as file:
        schema: dict[str, Any] = json.load(file)
    return schema


def check(value: Value, root: Mapping[str, Any]) -> None:
    """Raise EnvFileError for the first thing in @value that the schema @root does not allow."""
    listed = problems(value, root)
    found = sorted(listed, key=lambda item: (item.place.line, item.place.column))
    if found:
        first = found[0]
        more = tuple(f"{item.place}: {item.message}" for item in found[1:])
        raise EnvFileError(first.place, first.message, hint=first.hint, more=more)


def problems(
    value: Value, root: Mapping[str, Any], part: Mapping[str, Any] | None = None
) -> list[Problem]:
    """All that is wrong with @value by the schema @root, or by its @part, in no special order."""
    return list(_Checker(root).walk(value, part or root, "", 0))


class _Checker:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def walk(
        self, value: Value, schema: Mapping[str, Any], path: str, depth: int
    ) -> Iterator[Problem]:
        """The problems of @value, which stands at @path of the file."""
        unknown = schema.keys() - _NOTES - _RULES
        if unknown:
            raise AssertionError(f"the validator does not know {unknown}")
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/definitions/")
            yield from self.walk(value, self._root["definitions"][name], path, depth)
            return
        if "anyOf" in schema:
            yield from self._any(value, schema["anyOf"], path, depth)
            return
        wrong = _wrong_type(value, schema)
        if wrong:
            yield Problem(value.place, f"{_subject(path)} {wrong}", depth)
            return
        yield from _scalar(value, schema, path, depth)
        if value.kind == "array":
            yield from self._list(value, schema, path, depth)
        elif value.kind == "object":
            yield from self._mapping(value, schema, path, depth)

    def _any(
        self, value: Value, choices: list[Mapping[str, Any]], path: str, depth: int
    ) -> Iterator[Problem]:
        """The problems of the choice that @value comes closest to."""
        results = [list(self.walk(value, choice, path, depth)) for choice in choices]
        if not all(results):
            return
        kinds = [self._resolved(choice).get("type") for choice in choices]
        fitting = [result for result in results if max(item.depth for item in result) > depth]
        if value.kind == "object" and not fitting and "object" in kinds:
            yield from self._no_choice(value, choices, path, depth)
        elif fitting:
            yield from min(fitting, key=len)
        else:
            typed = [
                result
                for result, kind in zip(results, kinds, strict=True)
                if kind and not _wrong_type(value, {"type": kind})
            ]
            if typed:
                yield from min(typed, key=len)
                return
            names = " or ".join(dict.fromkeys(_NAMES[str(kind)] for kind in kinds if kind))
            yield Problem(
                value.place, f"{_subject(path)} is {_NAMES[value.kind]}, not {names}", depth
            )

    def _no_choice(
        self, value: Value, choices: list[Mapping[str, Any]], path: str, depth: int
    ) -> Iterator[Problem]:
        required = [self._resolved(choice).get("required", []) for choice in choices]
        words = [name for names in required for name in names]
        place, hint = value.place, None
        for key, where, _ in value.items():
            if hint := did_you_mean(key, words):
                place = where
                break
        yield Problem(place, f"{_subject(path)} needs one of {', '.join(words)}", depth, hint)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            schema = self._root["definitions"][schema["$ref"].removeprefix("#/definitions/")]
        return schema

    def _list(
        self, value: Value, schema: Mapping[str, Any], path: str, depth: int
    ) -> Iterator[Problem]:
        if len(value.data) < schema.get("minItems", 0):
            yield Problem(value.place, f"{_subject(path)} is empty", depth)
        if "items" in schema:
            for number, item in enumerate(value.data):
                yield from self.walk(item, schema["items"], f"{path}[{number}]", depth + 1)

    def _mapping(
        self, value: Value, schema: Mapping[str, Any], path: str, depth: int
    ) -> Iterator[Problem]:
        known = schema.get("properties", {})
        missing = [name for name in schema.get("required", ()) if name not in value.data]
        for name in missing:
            yield Problem(value.place, f"{_subject(path)} has no {name!r}", depth)
        inner = depth if missing else depth + 1
        for key, place, item in value.items():
            rules = [known[key]] if key in known else []
            rules += [
                rule
                for pattern, rule in schema.get("patternProperties", {}).items()
                if re.search(pattern, key)
            ]
            for rule in rules:
                yield from self.walk(item, rule, f"{path}.{key}" if path else key, inner)
            if rules:
                continue
            others = schema.get("additionalProperties", True)
            if others is False:
                yield _unknown(key, place, path, known, inner)
            elif others is not True:
                yield from self.walk(item, others, f"{path}.{key}" if path else key, inner)


def _unknown(key: str, place: Place, path: str, known: Mapping[str, Any], depth: int) -> Problem:
    where = f" in {path}" if path else ""
    if not known:
        return Problem(place, f"{key!r} cannot be a key{where}", depth)
    hint = did_you_mean(key, known) or f"known are {', '.join(known)}"
    return Problem(place, f"unknown key {key!r}{where}", depth, hint)


def _subject(path: str) -> str:
    return path or "the file"


def _wrong_type(value: Value, schema: Mapping[str, Any]) -> str | None:
    wanted = schema.get("type")
    if wanted is None:
        return None
    kinds = [wanted] if isinstance(wanted, str) else wanted
    if value.kind in kinds or (value.kind == "integer" and "number" in kinds):
        return None
    names = " or ".join(_NAMES[kind] for kind in kinds)
    return "is empty" if value.kind == "null" else f"is {_NAMES[value.kind]}, not {names}"


def _scalar(value: Value, schema: Mapping[str, Any], path: str, depth: int) -> Iterator[Problem]:
    text = value.text
    if "enum" in schema and value.data not in schema["enum"]:
        choices = ", ".join(map(str, schema["enum"]))
        shown = repr(text) if text else _NAMES[value.kind]
        hint = did_you_mean(text, schema["enum"]) if text else None
        yield Problem(
            value.place, f"{_subject(path)} is {shown}, not one of {choices}", depth + 1, hint
        )
    if value.kind == "string" and len(text) < schema.get("minLength", 0):
        yield Problem(value.place, f"{_subject(path)} is empty", depth + 1)
    if value.kind == "string" and not re.search(schema.get("pattern", ""), text):
        yield Problem(
            value.place, f"{_subject(path)}: {text!r} {_why(schema['pattern'])}", depth + 1
        )
    if value.kind in ("integer", "number") and value.data < schema.get("minimum", value.data):
        yield Problem(value.place, f"{_subject(path)}: {text} is too small", depth + 1)


def _why(pattern: str) -> str:
    if pattern == "^/":
        return "is not an absolute path"
    if pattern == "^[/~$]":
        return "is not an absolute path (~ and $NAME may begin it)"
    if pattern.startswith("^[A-Za-z0-9.:"):
        return "is not HOST[:PORT] or HOST[:PORT]/PATH, without https://"
    if pattern.startswith("^host"):
        return "is not host, host:/path, nor a mapping with image, environment or host"
    return "is not allowed (letters, digits and _ . -)"
