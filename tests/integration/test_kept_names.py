"""Names that files outside of this tree contain: installed kernel specs, stores, sites' settings.

What is written here was written by earlier versions, and has to go on working.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.lpmx import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.jupyter import Jupyter, Session

STUB = """\
#!{python} -I
import sys
from lpmx_runtime.batch.submit import main
sys.exit(main(['slurm', '/usr/bin/sbatch', *sys.argv[1:]]))
"""
SHELL_STUB = """\
#!/bin/sh
exec {python} -I -m lpmx_runtime.batch slurm /usr/bin/sbatch "$@"
"""


@pytest.mark.parametrize("text", [STUB, SHELL_STUB], ids=["python", "sh"])
def test_a_stub_in_a_store(tmp_path: Path, text: str) -> None:
    stub = tmp_path / "sbatch"
    stub.write_text(text.format(python=sys.executable))
    stub.chmod(0o755)
    env = clean_environment({"LPMX_CALLER_LPMX_BATCH": str(tmp_path / "none.json")})
    done = subprocess.run([stub, "x"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert "the container that submits is not known any more" in done.stderr


def test_an_installed_kernel_spec(
    bare_jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str]
) -> None:
    """Started by its argv alone, as clients do that know no provisioners."""
    bare_jupyter.lpmx("kernel", "install", image("demo"), "--name", "old", "--plain")
    argv = ["-m", "lpmx_kernels.launch", "--spec", "{resource_dir}", "-f", "{connection_file}"]
    spec = bare_jupyter.spec("old")
    spec["argv"] = [sys.executable, *argv]
    spec["metadata"].pop("kernel_provisioner", None)
    (bare_jupyter.kernels / "old" / "kernel.json").write_text(json.dumps(spec))
    session = start("old")
    assert session.value("open('/etc/lpmx-image').read().strip()") == "demo"
    session.end()


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("lpmx_galaxy.runner", {"RUNNERS", "__getattr__"}),
        ("lpmx_galaxy.miniwdl", {"LpmxContainer"}),
    ],
)
def test_modules_that_other_programs_load(module: str, names: set[str]) -> None:
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    tree = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    bound = {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            bound |= {target.id for target in targets if isinstance(target, ast.Name)}
    assert names <= bound


def test_entry_points_can_be_loaded() -> None:
    points = importlib.metadata.distribution("lpmx-kernels").entry_points
    assert {point.name for point in points} >= {"lpmx", "lpmx-docker", "lpmx-provisioner"}
    for point in points:
        assert importlib.util.find_spec(point.module), point
