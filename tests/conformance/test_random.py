"""Random cases: the engine's union answers as the kernel's, or as a plain tree.

Every case is made from a seed, so a failure comes back; it is shrunk first, and the message holds a
case to paste. What was found once is a named test in test_found.py.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from conformance.kit.compare import report, shrink
from conformance.kit.generate import generate

if TYPE_CHECKING:
    from conformance.conftest import Oracle

OPERATIONS = 80  # a case
FULL_SECONDS, FULL_LEAST = 60.0, 4_000
LONG_SECONDS, LONG_LEAST = 900.0, 100_000


def hunt(oracle: Oracle, first_seed: int, seconds: float) -> None:
    """Cases from @first_seed on until the time is up; the first difference fails."""
    end = time.monotonic() + seconds
    seed = first_seed
    while time.monotonic() < end:
        case = generate(seed, operations=OPERATIONS, taste=oracle.taste)
        found = oracle.judge(case)
        if found is not None:
            small, smaller = shrink(case, oracle.judge_or_not)
            assert smaller is None, report(small, smaller, oracle.name)
            pytest.fail(f"seed {seed}: differs, but not when run again\n{found}")
        seed += 1


@pytest.mark.timeout(300)
def test_random_scripts_are_answered_as_elsewhere(oracle: Oracle) -> None:
    hunt(oracle, 1, FULL_SECONDS)
    assert oracle.operations >= FULL_LEAST, "too few operations in the time: a slow machine?"


@pytest.mark.long
@pytest.mark.timeout(2000)
def test_many_more_random_scripts(oracle: Oracle) -> None:
    hunt(oracle, 1_000_000, LONG_SECONDS)
    assert oracle.operations >= LONG_LEAST, "too few operations in the time: a slow machine?"
