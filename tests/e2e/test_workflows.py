"""Workflow systems from PyPI, unchanged, run their steps in lpmx containers.

cwltool's own tests of docker and singularity, and a workflow of three steps by Snakemake, miniwdl
and Toil. The programs are found on the PATH that `lpmx galaxy init` made. No network: their images
are test images under the names that they ask for.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from cwl_tools import CASES
from support import galaxy
from support.lpmx import run

ROOT = Path(__file__).resolve().parents[2]
SNAKEFILE = """
rule all:
    input: "count.txt"
rule make:
    output: "letters.txt"
    container: "docker://IMAGE"
    shell: "cat /etc/lpmx-image > {output}; printf 'c\\nb\\na\\n' >> {output}"
rule sort:
    input: "letters.txt"
    output: "sorted.txt"
    container: "docker://IMAGE"
    shell: "sort {input} > {output}"
rule count:
    input: "sorted.txt"
    output: "count.txt"
    container: "docker://IMAGE"
    shell: "cat {input} > {output}; wc -l < {input} >> {output}"
"""
WDL = """
version 1.0
workflow letters {
  call make
  call sorted { input: file = make.out }
  call count { input: file = sorted.out }
  output { String said = count.said }
}
task make {
  command { cat /etc/lpmx-image > out; printf 'c\\nb\\na\\n' >> out }
  output { File out = "out" }
  runtime { docker: "IMAGE" }
}
task sorted {
  input { File file }
  command { sort ~{file} > out }
  output { File out = "out" }
  runtime { docker: "IMAGE" }
}
task count {
  input { File file }
  command { cat ~{file}; wc -l < ~{file} }
  output { String said = read_string(stdout()) }
  runtime { docker: "IMAGE" }
}
"""
RESULT = ["a", "b", "c", "demo", "4"]


# Modules of cwltool.tests, how many must pass, and what cannot.
CWLTOOL = {
    "docker": ("docker", 15, ""),
    "singularity": ("singularity", 15, ""),
    "others": (
        "iwdr tmpdir ext relocate secrets parallel check caching override path_checks subgraph",
        105,
        "test_dockerfile_build or networkaccess",  # no `docker build` here, and no network
    ),
}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("which", CWLTOOL)
def test_cwltools_own_tests(workflow_environ, workflow_programs, tmp_path, which):
    modules, count, impossible = CWLTOOL[which]
    done = run(
        ["nice", workflow_programs / "python", "-m", "pytest", "-q", "--noconftest",
         "-p", "no:cacheprovider", "-k", f"not ({impossible})" if impossible else "", "--pyargs",
         *(f"cwltool.tests.test_{name}" for name in modules.split())],
        env=workflow_environ, cwd=tmp_path, check=False, timeout=1700,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= count


@pytest.mark.timeout(600)
def test_snakemake_runs_three_steps(workflow_environ, image, tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE.replace("IMAGE", image("demo")))
    run(["nice", "snakemake", "--sdm", "apptainer", "-c", "1"], env=workflow_environ, cwd=tmp_path)
    assert (tmp_path / "count.txt").read_text().split() == RESULT


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", ["lpmx", "podman", "singularity"])
def test_miniwdl_runs_three_steps(workflow_environ, image, tmp_path, backend):
    (tmp_path / "letters.wdl").write_text(WDL.replace("IMAGE", image("demo")))
    env = {
        **workflow_environ,
        "MINIWDL__SCHEDULER__CONTAINER_BACKEND": backend,
        "PYTHONPATH": f"{plugin(tmp_path)}:{ROOT}/galaxy:{ROOT}/runtime",
    }
    env |= {"MINIWDL__PODMAN__EXE": '["podman"]', "HOME": str(tmp_path)}
    done = run(["nice", "miniwdl", "run", "letters.wdl", "--dir", "out"], env=env, cwd=tmp_path,
               check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = re.search(r'"letters.said": "([^"]*)"', done.stdout)[1]
    assert said.split("\\n") == RESULT
    assert os.listdir(tmp_path / "out")


@pytest.fixture(scope="session")
def toil_environ(workflow_environ):
    """The same environment with Toil's programs first."""
    folder = galaxy.pip_environment("toil-9.6.0", ("toil[cwl,wdl]==9.6.0",)) / "bin"
    return {**workflow_environ, "PATH": f"{folder}:{workflow_environ['PATH']}"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("front", ["docker", "singularity"])
def test_toil_runs_three_steps_of_cwl(toil_environ, image, tmp_path, front):
    document, job, result = CASES["workflow of three steps"]
    (tmp_path / "tool.cwl").write_text(json.dumps(document).replace("IMAGE", image("demo")))
    (tmp_path / "job.json").write_text(json.dumps(job))
    (tmp_path / "letters.txt").write_text("c\na\nb\n")
    words = ["--singularity"] if front == "singularity" else []
    done = run(
        ["nice", "toil-cwl-runner", *words, "--jobStore", tmp_path / "jobs", "--workDir", tmp_path,
         "--outdir", "out", "tool.cwl", "job.json"],
        env=toil_environ, cwd=tmp_path, check=False, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert Path(json.loads(done.stdout)["out"]["path"]).read_text() == result


@pytest.mark.timeout(900)
def test_toil_runs_three_steps_of_wdl(toil_environ, image, tmp_path):
    """By singularity: for docker it wants a daemon's socket."""
    (tmp_path / "letters.wdl").write_text(WDL.replace("IMAGE", image("demo")))
    done = run(
        ["nice", "toil-wdl-runner", "--container", "singularity", "--jobStore", tmp_path / "jobs",
         "--workDir", tmp_path, "letters.wdl", "-o", "out", "-m", "out.json"],
        env=toil_environ, cwd=tmp_path, check=False, timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads((tmp_path / "out.json").read_text())["letters.said"]
    assert said.split() == RESULT


def plugin(folder):
    """What an installation of the project beside miniwdl would say: its entry points."""
    info = folder / "plugin" / "lpmx_kernels-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lpmx-kernels\nVersion: 0\n")
    points = "[miniwdl.plugin.container_backend]\nlpmx = lpmx_galaxy.miniwdl:LpmxContainer\n"
    (info / "entry_points.txt").write_text(points)
    return info.parent
