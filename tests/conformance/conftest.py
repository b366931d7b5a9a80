"""What differential tests share: a bench to run cases on, and the system to compare with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from conformance.kit.case import Case
from conformance.kit.compare import Difference, first_difference, report
from conformance.kit.generate import Taste
from conformance.kit.unions import Bench, Interpreter, LeftTreeError, RunError, compile_interpreter

from lpmx_runtime.errors import LpmxError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Oracle:
    """The engine beside another system: overlayfs for root, a plain tree for others."""

    def __init__(self, bench: Bench, *, overlay: bool) -> None:
        self.bench = bench
        self.name = "overlay" if overlay else "plain"
        self.taste = Taste(root=overlay)
        self.operations = 0

    def judge(self, case: Case) -> Difference | None:
        """Carry @case out in both; the first difference. None also where a plain tree cannot
        follow."""
        engine = self.bench.engine(case)
        operations = len(case.script)
        if self.name == "overlay":
            other = self.bench.overlay(case)
        else:
            case, engine = without_refused_moves(case, engine)
            try:
                other = self.bench.plain(case)
            except LeftTreeError:
                return None
        self.operations += operations
        return first_difference(case, engine, other)

    def judge_or_not(self, case: Case) -> Difference | None:
        """As judge; a case that makes no sense any more tells nothing (while shrinking)."""
        try:
            return self.judge(case)
        except (RunError, OSError, ValueError, LpmxError):
            return None

    def check(self, text: str) -> list[str]:
        """Fail where the engine and the other differ on the case @text; the engine's answers."""
        case = Case.parse(text, "this case")
        found = self.judge(case)
        assert found is None, report(case, found, self.name)
        return self.bench.engine(case)


def without_refused_moves(case: Case, engine: list[str]) -> tuple[Case, list[str]]:
    """@case as a plain tree can follow it: without the moves of lower folders, which the union
    refuses as overlayfs does (EXDEV, 18)."""
    from dataclasses import replace

    kept = [
        (line, answer)
        for line, answer in zip(case.script, engine, strict=True)
        if not (line.split()[1] == "rename" and answer == "E18")
    ]
    script = tuple(line for line, _ in kept)
    return replace(case, script=script), [answer for _, answer in kept]


@pytest.fixture(scope="session")
def interpreters(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Interpreter]:
    """interpreters(BY_LIBC): the compiled interpreter of scripts."""
    made: dict[bool, Interpreter] = {}

    def of(by_libc: bool) -> Interpreter:
        try:
            if by_libc not in made:
                made[by_libc] = compile_interpreter(tmp_path_factory.mktemp("ops"), by_libc=by_libc)
        except FileNotFoundError as error:
            pytest.skip(str(error))
        return made[by_libc]

    return of


@pytest.fixture
def bench(interpreters: Callable[[bool], Interpreter], tmp_path: Path) -> Bench:
    """A bench of this test's own."""
    return Bench(tmp_path / "bench", interpreters(False))


@pytest.fixture
def oracle(bench: Bench) -> Oracle:
    """The engine and what it is compared with here."""
    return Oracle(bench, overlay=os.geteuid() == 0)
