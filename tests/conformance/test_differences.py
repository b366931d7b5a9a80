"""Where the engine's union is known to differ from the kernel's (docs/limits.md), and how: random
cases leave these out, so here it is said what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from conformance.kit.case import Case

if TYPE_CHECKING:
    from conformance.kit.unions import Bench

pytestmark = pytest.mark.needs_root
LONG = "x" * 252

# What is done; the last answer of the engine; that of overlayfs.
DIFFERENCES = {
    "a descriptor opened before a copy-up shows the old file": (
        """
        layer
        file t/f 644 1000000000 3 1
        script
        0 open 1 -1 /t/f 0 0
        0 put -1 /t/f 513 0 5 9
        0 pread 1 100 0
        """,
        "3 3:c3994617ce9ef212 ~",
        "5 5:d3f344621ef39143",
    ),
    "a folder held open is known by its name": (
        """
        layer
        dir t/d 755 1000000000
        script
        0 open 12 -1 /t/d 65536 0
        0 unlink -1 /t/d 512
        0 mkdir -1 /t/d 493
        0 put 12 f 65 420 1 1
        """,
        "1",
        "E2",
    ),
    "two names of one lower file are not renamed onto each other": (
        """
        layer
        file t/h0 644 1000000000 7 3
        hard t/h1 644 0 t/h0
        script
        0 rename -1 /t/h0 -1 /t/h1 0
        0 access -1 /t/h0 0 0
        """,
        "0",
        "E2",
    ),
    "a lower name too long for a whiteout cannot be removed": (
        f"""
        layer
        file t/{LONG} 644 1000000000 1 1
        script
        0 unlink -1 /t/{LONG} 0
        """,
        "E36",
        "0",
    ),
}


@pytest.mark.parametrize(("text", "engine", "kernel"), DIFFERENCES.values(), ids=DIFFERENCES.keys())
def test_difference(bench: Bench, text: str, engine: str, kernel: str) -> None:
    case = Case.parse(text)
    assert (bench.engine(case)[-1], bench.overlay(case)[-1]) == (engine, kernel)
