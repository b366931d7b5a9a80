"""The layout of the Python code: no circles of modules or of directories, few files in each, and no
library that needs a command line.

Imports inside functions count: they are made late to save time, not to break a circle. Imports for
type checkers do not.
"""

from __future__ import annotations

import ast
import builtins
import functools
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "lpmx_runtime": ROOT / "runtime" / "lpmx_runtime",
    "lpmx_kernels": ROOT / "lpmx_kernels",
    "lpmx_galaxy": ROOT / "galaxy" / "lpmx_galaxy",
}
LARGEST = 15  # files of a directory, besides __init__.py; a command line has a file a command
# Each uses only those before it.
ORDER = ("lpmx_runtime", "lpmx_kernels", "lpmx_galaxy")


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            words = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *(word for word in words if word != "__init__")))] = path
    return found


def imported(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the project that @name imports."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in _walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            origin = ".".join([*base, *([node.module] if node.module else [])])
            origin = origin if node.level else str(node.module)
            for alias in node.names:
                target = f"{origin}.{alias.name}"
                if target in known:
                    yield target
                elif origin in known:
                    yield origin


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from _walk(child)


@functools.cache
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imported(name, path, known)) - {name} for name, path in known.items()}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """The sets of more than one name that reach each other (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(arrows[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for name in sorted(arrows):
        if name not in index:
            visit(name)
    return found


def test_no_circle_of_modules() -> None:
    assert circles(graph()) == []


def directory(name: str) -> str:
    """The directory that @name is in; a module directly in a package is a place of its own."""
    package = name.rpartition(".")[0]
    return package if "." in package and name not in _packages() else name


@functools.cache
def _packages() -> set[str]:
    return {name for name, path in modules().items() if path.name == "__init__.py"}


def test_no_circle_of_directories() -> None:
    arrows: dict[str, set[str]] = {}
    for name, others in graph().items():
        here = arrows.setdefault(directory(name), set())
        here |= {directory(other) for other in others} - {directory(name)}
    assert circles(arrows) == []


def test_directories_are_small() -> None:
    counts = Counter(path.parent for path in modules().values() if path.parent.name != "cli")
    assert {str(path): count for path, count in counts.items() if count > LARGEST + 1} == {}


def test_no_module_hides_a_builtin() -> None:
    """Importing `package.type` puts `type` into the package's own names."""
    named = {
        name
        for name in modules()
        if name.rpartition(".")[2] in dir(builtins) and ".cli." not in name  # commands
    }
    assert named == set()


def test_libraries_import_no_command_line() -> None:
    upward = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in sorted(others)
        if "cli" in other.split(".") and "cli" not in name.split(".")
        if not name.endswith("__main__")
    ]
    assert upward == []


def test_packages_use_only_those_below() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in sorted(others)
        if ORDER.index(other.split(".")[0]) > ORDER.index(name.split(".")[0])
    ]
    assert wrong == []
