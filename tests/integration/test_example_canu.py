"""examples/canu: its steps are jobs of the host's Grid Engine and run in the container again."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from support.sge import GridEngine
from support.users import ROOT
from support.waiting import until

EXAMPLE = ROOT / "examples" / "canu"
CANU = ("canu", "-p", "asm", "genomeSize=30k", "-pacbio-hifi", "data/long.fq")
SMALL = ("maxThreads=2", "maxMemory=8", "corThreads=2", "minInputCoverage=5", "stopOnLowCoverage=5")
GRID = ("useGrid=true", "gridEngineResourceOption=-pe smp THREADS")
DEADLINE = 600


@pytest.fixture
def place(tmp_path):
    """The example with its data, where it can be written."""
    shutil.copy(EXAMPLE / "assembly.yaml", tmp_path)
    simulate = [sys.executable, EXAMPLE.parent / "simulate.py", "long", tmp_path / "data", "30000"]
    subprocess.run(simulate, check=True)
    return tmp_path


@pytest.mark.timeout(2 * DEADLINE)
def test_canu_assembles_through_grid_engine_as_it_does_alone(place, store, image, request):
    image("canu")
    with GridEngine(place / "sge") as sge:
        run = ("run", "--name", "assembly", "assembly.yaml", *CANU, "-d", "grid", *SMALL, *GRID)
        request.addfinalizer(lambda: store("rm", "-f", "assembly"))
        store(*run, cwd=place, env=sge.env)
        until(lambda: not sge.run("qstat").strip(), what="end of all jobs", timeout=DEADLINE)
        jobs = re.findall(r"^jobnumber +(\d+)", sge.run("qacct", "-j"), re.MULTILINE)
        statuses = re.findall(r"^exit_status +(\d+)", sge.run("qacct", "-j"), re.MULTILINE)
    log = (place / "grid/canu.out").read_text()
    assert "-- Bye." in log, log[-3000:]
    assert len(jobs) > 5
    assert set(statuses) == {"0"}
    store("run", "lpmx-test/canu", *CANU, "-d", "alone", *SMALL, "useGrid=false", cwd=place)
    assert contigs(place / "grid/asm.contigs.fasta") == contigs(place / "alone/asm.contigs.fasta")


def contigs(path):
    """The sequences of a FASTA file; their names bear numbers that may differ from run to run."""
    found = sorted("".join(part.split("\n")[1:]) for part in path.read_text().split(">")[1:])
    assert found
    assert sum(map(len, found)) > 20_000, path
    return found
