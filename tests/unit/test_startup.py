"""Programs start without modules that they hardly ever need, and get them when they do."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from lpmx_runtime.process.startup import import_dataclasses
import_dataclasses()
print("inspect" in sys.modules)
from dataclasses import dataclass
@dataclass
class Undocumented:
    number: int
print(Undocumented.__doc__)
import inspect
print(inspect.getfile(inspect).endswith("inspect.py"), inspect.signature(Undocumented))
"""


def test_dataclasses_reach_inspect_when_they_need_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    first, documented, real = done.stdout.splitlines()
    assert first == "False"
    assert documented == "Undocumented(number: int)"
    assert real == "True (number: int) -> None"
