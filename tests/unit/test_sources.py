"""Rules of the sources that no formatter or compiler knows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.needs_checkout

C_FILES = sorted(
    path
    for folder in ("preload", "tests")
    for path in (ROOT / folder).glob("**/*.[ch]")
    if not {".cache", "build"} & set(path.relative_to(ROOT).parts)
)
UNBOUNDED = re.compile(r"\b(v?sprintf|strcpy|strcat|stpcpy|gets|alloca)\s*\(")
TYPEDEF = re.compile(r"^\s*typedef\b(?!.*\()", re.MULTILINE)
SYSTEM_HEADER = re.compile(r"^\s*#\s*include\s*<(stdio|stdlib|string|unistd)\.h>", re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"", re.DOTALL)


def code_of(path: Path) -> str:
    """The text of a C file without comments and strings, with every line in its place."""
    return COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), path.read_text())


def lines_with(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(code_of(path).splitlines(), 1)
        if pattern.search(line)
    ]


def test_what_each_start_runs_is_mapped_by_one_fault() -> None:
    """See loader/lpmx-exec.ld. Other compilers may need more, which costs only time."""
    loader = ROOT / "preload" / "build" / "lpmx-exec"
    listed = subprocess.run(["nm", loader], capture_output=True, text=True, check=True).stdout
    at = {name: int(value, 16) for value, _, name in (line.split() for line in listed.splitlines())}
    begin = at["text_start"] & ~0xFFFF
    assert begin < at["hot_end"] <= begin + 0x10000


def test_there_are_c_files_to_look_at() -> None:
    assert len(C_FILES) > 10


def test_no_two_test_files_have_one_name() -> None:
    """pytest imports them by that, and would collect none of a whole run."""
    paths = [
        path
        for path in (ROOT / "tests").glob("**/test_*.py")
        if ".cache" not in path.relative_to(ROOT).parts
    ]
    names = [path.name for path in paths]
    assert sorted(set(names)) == sorted(names)


def test_no_unbounded_string_function_is_used() -> None:
    assert lines_with(UNBOUNDED, C_FILES) == []


def test_structs_are_not_hidden_behind_typedefs() -> None:
    assert lines_with(TYPEDEF, [path for path in C_FILES if "preload" in path.parts]) == []


def test_the_engine_includes_no_libc() -> None:
    """Only what Python gets does."""
    engine = [path for path in C_FILES if path.relative_to(ROOT).parts[0] == "preload"]
    engine = [path for path in engine if path.relative_to(ROOT).parts[1] != "hosted"]
    assert engine
    assert lines_with(SYSTEM_HEADER, engine) == []
