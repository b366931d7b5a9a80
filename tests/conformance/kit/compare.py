"""Two systems' answers to one case, and the smallest case that still tells them apart."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .case import Case

__all__ = ["Difference", "first_difference", "report", "shrink"]

STALE = " ~"  # a descriptor opened for reading whose name means another file by now
OF_DESCRIPTOR = {"read", "pread", "lseek", "fstat", "mmap"}


@dataclass(frozen=True)
class Difference:
    """Where two runs part."""

    line: str
    engine: str
    other: str

    def __str__(self) -> str:
        if ";" not in self.engine and ";" not in self.other:
            return f"{self.line}\n  engine: {self.engine}\n  other:  {self.other}"
        ours, theirs = self.engine.split(";"), self.other.split(";")
        only_ours = "\n".join(f"  engine: {row}" for row in ours if row not in theirs)
        only_theirs = "\n".join(f"  other:  {row}" for row in theirs if row not in ours)
        return f"{self.line}\n{only_ours}\n{only_theirs}"


def first_difference(case: Case, engine: Sequence[str], other: Sequence[str]) -> Difference | None:
    """The first answer that is not the same; None when all are."""
    for line, ours, theirs in zip(case.script, engine, other, strict=True):
        if _tolerated(line, ours):
            continue
        if ours.endswith(STALE) and line.split()[1] == "linkfd" and ours != theirs:
            return None  # refused here, and from here on the trees differ (docs/limits.md)
        if ours.removesuffix(STALE) != theirs.removesuffix(STALE):
            return Difference(line, ours, theirs)
    return None


def _tolerated(line: str, ours: str) -> bool:
    """A file opened for reading before it was copied up is shown as it was (docs/limits.md)."""
    return ours.endswith(STALE) and line.split()[1] in OF_DESCRIPTOR


def shrink(
    case: Case, judge: Callable[[Case], Difference | None], *, budget: int = 400
) -> tuple[Case, Difference | None]:
    """Leave out lines and layer entries as long as the two still differ; at most @budget runs."""
    found = judge(case)
    runs = 1
    if found is None:
        return case, None
    script = list(case.script)
    cut = script.index(found.line) + 1
    case = replace(case, script=tuple(script[:cut]))
    size = max(1, len(case.script) // 2)
    while size:
        at = 0
        shrunk = False
        parts = _parts(case)
        while at < len(parts) and runs < budget:
            smaller = _without(case, set(parts[at : at + size]))
            runs += 1
            better = judge(smaller)
            if better is not None:
                case, found, shrunk = smaller, better, True
                parts = _parts(case)
            else:
                at += size
        if runs >= budget:
            break
        if not shrunk or size > 1:
            size //= 2
    return case, found


def _parts(case: Case) -> list[tuple[int, int]]:
    """Everything that can be left out: (-1, line of the script) or (layer, entry)."""
    lines = [(-1, i) for i in range(len(case.script))]
    return lines + [
        (layer, i) for layer, entries in enumerate(case.layers) for i in range(len(entries))
    ]


def _without(case: Case, gone: set[tuple[int, int]]) -> Case:
    layers = [
        tuple(entry for i, entry in enumerate(entries) if (number, i) not in gone)
        for number, entries in enumerate(case.layers)
    ]
    script = tuple(line for i, line in enumerate(case.script) if (-1, i) not in gone)
    return replace(case, layers=tuple(layers), script=script)


def report(case: Case, found: Difference, oracle: str) -> str:
    """What a failed test shows: the difference, and what to paste to see it again."""
    return (
        f"{case.name}: the engine differs from {oracle}\n{found}\n\n"
        f"to see it again: tests/conformance/replay.py {oracle} <<'END'\n{case}\nEND"
    )
