#!/usr/bin/env python3
"""Carry out one case in the engine's union and in another, and print the answers side by side.

usage: replay.py overlay|plain [seed SEED [OPERATIONS]] < CASE      (see kit/case.py)
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from conformance.kit.case import Case
from conformance.kit.compare import first_difference, report, shrink
from conformance.kit.generate import Taste, generate
from conformance.kit.unions import Bench, compile_interpreter


def main(words: list[str]) -> int:
    if not words or words[0] not in {"overlay", "plain"}:
        print(__doc__, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch) / "bench", compile_interpreter(Path(scratch)))
        oracle = bench.overlay if words[0] == "overlay" else bench.plain
        if len(words) > 2:
            size = int(words[3]) if len(words) > 3 else 120
            bench.behind_a_link = int(words[2]) % 2 == 1  # as test_random.py has it
            taste = Taste(root=words[0] == "overlay" and os.geteuid() == 0)
            case = generate(int(words[2]), operations=size, taste=taste)
            case, found = shrink(
                case, lambda one: first_difference(one, bench.engine(one), oracle(one))
            )
        else:
            case = Case.parse(sys.stdin.read())
            ours, theirs = bench.engine(case), oracle(case)
            for line, mine, other in zip(case.script, ours, theirs, strict=True):
                print(f"{' ' if mine == other else '!'} {line}\n      {mine}")
                if mine != other:
                    print(f"      {other}")
            found = first_difference(case, ours, theirs)
        print(report(case, found, words[0]) if found else "no difference")
        return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
