"""The private batch systems that other tests submit to work as such."""

from __future__ import annotations

import subprocess

from support.sge import GridEngine
from support.slurm import Slurm


def test_slurm_runs_on_two_nodes_and_leaves_nothing(tmp_path):
    with Slurm(tmp_path / "s") as slurm:
        nodes = slurm.run("srun", "-N2", "sh", "-c", "echo $SLURMD_NODENAME").split()
        assert sorted(nodes) == ["n1", "n2"]
        job = ("sbatch", "--wait", "--wrap", "exit 7")
        assert subprocess.run(job, env=slurm.env, cwd=tmp_path, check=False).returncode == 7
    assert _processes_of(str(tmp_path)) == ""


def test_grid_engine_returns_a_jobs_status_and_leaves_nothing(tmp_path):
    with GridEngine(tmp_path / "g") as sge:
        job = ("qsub", "-b", "y", "-cwd", "-sync", "y", "sh", "-c", "exit\\ 7")
        assert subprocess.run(job, env=sge.env, cwd=tmp_path, check=False).returncode == 7
        assert sge.run("qstat") == ""
    assert _processes_of(str(tmp_path)) == ""


def _processes_of(folder: str) -> str:
    """Daemons that name @folder on their command line and are not zombies."""
    done = subprocess.run(["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if folder in line]
    return "\n".join(line for line in lines if not line.startswith("Z") and "pytest" not in line)
