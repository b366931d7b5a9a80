"""Random cases: the engine's union answers as the kernel's, or as a plain tree.

Every case is made from a seed, so a failure comes back; it is shrunk first, and the message holds a
case to paste. What was found once is a named test in test_found.py.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conformance.conftest import Oracle
from conformance.kit.compare import report, shrink
from conformance.kit.generate import generate
from conformance.kit.unions import Bench

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.kit.unions import Interpreter

OPERATIONS = 80  # a case
FULL_SECONDS, FULL_LEAST = 30.0, 2_000
PART_SECONDS, PART_LEAST = 20.0, 1_000
LONG_SECONDS, LONG_LEAST = 900.0, 100_000
ORDINARY = 54_321  # a user of no name


def hunt(oracle: Oracle, first_seed: int, seconds: float) -> None:
    """Cases from @first_seed on until the time is up; the first difference fails."""
    end = time.monotonic() + seconds
    seed = first_seed
    while time.monotonic() < end:
        case = generate(seed, operations=OPERATIONS, taste=oracle.taste)
        oracle.bench.behind_a_link = seed % 2 == 1
        found = oracle.judge(case)
        if found is not None:
            small, smaller = shrink(case, oracle.judge_or_not)
            where = "behind a link" if oracle.bench.behind_a_link else "by its own name"
            assert smaller is None, f"{report(small, smaller, oracle.name)}\nstore {where}"
            pytest.fail(f"seed {seed}: differs, but not when run again\n{found}")
        seed += 1


@pytest.mark.timeout(300)
def test_random_scripts_are_answered_as_elsewhere(oracle: Oracle) -> None:
    hunt(oracle, 1, FULL_SECONDS)
    assert oracle.operations >= FULL_LEAST, "too few operations in the time: a slow machine?"


@pytest.mark.timeout(300)
def test_random_scripts_by_the_c_library(
    interpreters: Callable[[bool], Interpreter], tmp_path: Path
) -> None:
    """The same by a dynamic program: every call site of glibc that can be is rewritten at its first
    call."""
    oracle = Oracle(Bench(tmp_path / "bench", interpreters(True)), overlay=os.geteuid() == 0)
    hunt(oracle, 2_000_000, PART_SECONDS)
    assert oracle.operations >= PART_LEAST, "too few operations in the time: a slow machine?"


@pytest.mark.needs_root
@pytest.mark.timeout(300)
@pytest.mark.parametrize("by_libc", [False, True], ids=["static", "by_libc"])
def test_random_scripts_of_an_emulated_root(
    by_libc: bool, interpreters: Callable[[bool], Interpreter]
) -> None:
    """An ordinary user under `--fakeroot` is answered as root is by overlayfs, owners and modes
    included. A chown or chmod that changes nothing makes no copy, so hard links are left out."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:  # where that user can get to
        os.chmod(scratch, 0o755)
        bench = Bench(Path(scratch) / "bench", interpreters(by_libc), user=ORDINARY)
        oracle = Oracle(bench, overlay=True)
        oracle.taste.hard_links = False
        hunt(oracle, 3_000_000, PART_SECONDS)
    assert oracle.operations >= PART_LEAST, "too few operations in the time: a slow machine?"


@pytest.mark.long
@pytest.mark.timeout(2000)
def test_many_more_random_scripts(oracle: Oracle) -> None:
    hunt(oracle, 1_000_000, LONG_SECONDS)
    assert oracle.operations >= LONG_LEAST, "too few operations in the time: a slow machine?"
