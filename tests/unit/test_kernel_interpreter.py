"""Our own programs do not import what lies in the folder of the notebook."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lpmx_kernels.spec.interpreter import module_argv

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json, sys
print(sys.argv[1:], sys.path[0] in ("", {here!r}), __name__, hasattr(json, "dumps"))
"""


@pytest.mark.parametrize("version", [(3, 10, 12), sys.version_info[:3]])
def test_programs_import_nothing_of_the_folder_they_stand_in(
    tmp_path: Path, version: tuple[int, ...]
) -> None:
    for name in ("json", "runpy", "our_program"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the notebook folder is searched')")
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "our_program.py").write_text(PROGRAM.format(here=str(tmp_path)))
    done = subprocess.run(
        [*module_argv("our_program", version=version), "-f", "a b"],
        cwd=tmp_path, env={"PYTHONPATH": str(ours)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("['-f', 'a b'] False __main__ True\n", "")
