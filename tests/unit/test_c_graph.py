"""Which C file needs which: no circles, no directory that needs one above it, and a header for each
source that declares what that source defines."""

from __future__ import annotations

import graphlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PRELOAD = Path(__file__).resolve().parents[2] / "preload"
pytestmark = pytest.mark.needs_checkout

# A directory needs only itself and those before it.
CALLS = "program fakeroot paths proc sockets identity files exec signals".split()
ORDER = [
    *("base", "view", "uufs", "uufs/walk", "uufs/list", "uufs/change", "engine", "hosted"),
    *(f"calls/{wing}" for wing in CALLS),
    *("calls", "fast", "trap", "agent", "loader"),
]

COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|(?<!include )"(?:\\.|[^"\\\n])*"', re.DOTALL)
INCLUDE = re.compile(r'^#include "([^"]+\.h)"', re.MULTILINE)
DEFINITION = re.compile(r"^(?!.*\bstatic\b)\w[\w *]*\n(\w+)\([^;{]*\)\n\{", re.MULTILINE)
VARIABLE = re.compile(r"^extern [\w ]*?(\w+)(?:\[\w+\])?;", re.MULTILINE)
ROW = re.compile(r"^CALL\(\w+, (\w+),", re.MULTILINE)


def code_of(path: Path) -> str:
    return COMMENT_OR_STRING.sub(" ", path.read_text())


def module_of(path: Path) -> str:
    """DIRECTORY/NAME: a source and its header are one module."""
    return path.relative_to(PRELOAD).with_suffix("").as_posix()


FILES = [
    path for path in PRELOAD.glob("**/*.[ch]") if path.relative_to(PRELOAD).parts[0] != "build"
]
CODE = {path: code_of(path) for path in FILES}
DEFINED = {name: path for path in FILES for name in DEFINITION.findall(CODE[path])}
VARIABLES = {name: path for path in FILES for name in VARIABLE.findall(CODE[path])}
HANDLERS = {f"call_{name}" for name in ROW.findall((PRELOAD / "calls.def").read_text())}


def needed_by(path: Path) -> Iterator[str]:
    owner = DEFINED | VARIABLES
    names = set(re.findall(r"(?<![.>\w])\w+\b", CODE[path]))
    if "= call_##" in CODE[path]:
        names |= HANDLERS
    yield from (module_of(owner[name]) for name in names & owner.keys() if path.suffix == ".c")
    for name in INCLUDE.findall(CODE[path]):
        yield module_of((path.parent / name).resolve())


def graph() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in FILES:
        module = module_of(path)
        found.setdefault(module, set()).update(set(needed_by(path)) - {module})
    return found


def test_no_files_need_each_other() -> None:
    assert list(graphlib.TopologicalSorter(graph()).static_order())


def test_no_directory_needs_one_above_it() -> None:
    at = {name: number for number, name in enumerate(ORDER)}
    up = [
        f"{module} -> {needed}"
        for module, all_needed in graph().items()
        for needed in sorted(all_needed)
        if at[module.rpartition("/")[0]] < at[needed.rpartition("/")[0]]
    ]
    assert up == []


def test_what_a_source_defines_is_declared_in_its_own_header() -> None:
    """The handlers, which the table names, are declared by the table."""
    elsewhere = [
        f"{module_of(path)}: {name}"
        for name, path in DEFINED.items()
        if not re.search(rf"\b{name}\(", CODE.get(path.with_suffix(".h"), ""))
    ]
    assert sorted(set(elsewhere) - {f"{module_of(DEFINED[n])}: {n}" for n in HANDLERS}) == []
