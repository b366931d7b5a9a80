"""Workflow systems from PyPI, unchanged, run images that are nowhere but in a registry."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cwl_tools import CASES
from support.lpmx import Lpmx, run
from support.registry import FaultProxy, lone_user, proxied_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
SNAKEFILE = """
rule letters:
    output: "letters.txt"
    container: "docker://IMAGE"
    shell: "cat /etc/lpmx-image > {output}"
"""
WDL = """
version 1.0
task letters {
  command { cat /etc/lpmx-image }
  output { String said = read_string(stdout()) }
  runtime { docker: "IMAGE" }
}
"""
NEXTFLOW = """\
set -e
singularity pull --name $NAME.pulling.1764 docker://IMAGE > /dev/null
mv $NAME.pulling.1764 $NAME
env - PATH="$PATH" singularity exec --no-home --pid -B "$PWD" $NAME \\
    /bin/bash -c 'cat /etc/lpmx-image'
"""


@pytest.fixture(scope="module")
def proxy(
    tmp_path_factory: pytest.TempPathFactory, archive: Callable[[str], Path]
) -> Iterator[FaultProxy]:
    """Before a registry that has lab/tool:1."""
    folder = tmp_path_factory.mktemp("registry")
    with proxied_registry(folder, archive("biocontainer"), "lab/tool:1") as proxy:
        yield proxy


@pytest.fixture
def name(proxy: FaultProxy) -> str:
    proxy.begin()
    return f"{proxy.address}/lab/tool:1"


@pytest.fixture
def environ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workflow_programs: Path
) -> dict[str, str]:
    """docker, podman, apptainer and singularity are lpmx, with an empty store."""
    lone_user(tmp_path / "home", monkeypatch)
    lpmx = Lpmx(tmp_path / "store")
    lpmx("galaxy", "init", tmp_path / "site")
    path = f"{tmp_path}/site/bin:{workflow_programs}:/usr/bin:/bin"
    return {"PATH": path, "HOME": str(tmp_path), **lpmx.environment()}


def assert_each_blob_came_once(proxy: FaultProxy) -> None:
    blobs = proxy.blobs()
    assert blobs
    assert sorted(set(blobs)) == sorted(blobs)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "way", [[], ["--singularity"], ["--podman"], ["--user-space-docker-cmd=lpmx-docker"]]
)
def test_cwltool(
    environ: dict[str, str], name: str, proxy: FaultProxy, tmp_path: Path, way: list[str]
) -> None:
    document, job, _ = CASES["image"]
    (tmp_path / "tool.cwl").write_text(json.dumps(document).replace("IMAGE", name))
    (tmp_path / "job.json").write_text(json.dumps(job))
    words = ["nice", "cwltool", "--outdir", "out", *way, "tool.cwl", "job.json"]
    done = run(words, env=environ, cwd=tmp_path)
    assert Path(json.loads(done.stdout)["out"]["path"]).read_text() == "biocontainer\n"
    assert_each_blob_came_once(proxy)


@pytest.mark.timeout(600)
def test_snakemake(environ: dict[str, str], name: str, proxy: FaultProxy, tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE.replace("IMAGE", name))
    run(["nice", "snakemake", "--sdm", "apptainer", "-c", "1"], env=environ, cwd=tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "biocontainer\n"
    assert len(list((tmp_path / ".snakemake/singularity").glob("*.simg"))) == 1
    assert_each_blob_came_once(proxy)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", ["lpmx", "podman", "singularity"])
def test_miniwdl(
    environ: dict[str, str], name: str, proxy: FaultProxy, tmp_path: Path, backend: str
) -> None:
    (tmp_path / "letters.wdl").write_text(WDL.replace("IMAGE", name))
    plugin = tmp_path / "plugin/lpmx-0.dist-info"
    plugin.mkdir(parents=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: lpmx\nVersion: 0\n")
    group = "[miniwdl.plugin.container_backend]\n"
    (plugin / "entry_points.txt").write_text(f"{group}lpmx = lpmx_galaxy.miniwdl:LpmxContainer\n")
    env = {
        **environ,
        "MINIWDL__SCHEDULER__CONTAINER_BACKEND": backend,
        "MINIWDL__PODMAN__EXE": '["podman"]',
        "PYTHONPATH": f"{tmp_path}/plugin:{ROOT}/galaxy:{ROOT}/runtime",
    }
    done = run(["nice", "miniwdl", "run", "letters.wdl", "--dir", "out"], env=env, cwd=tmp_path)
    assert '"letters.said": "biocontainer"' in done.stdout
    assert_each_blob_came_once(proxy)


def test_lines_of_nextflow(
    environ: dict[str, str], name: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    """As its SingularityCache and SingularityBuilder write them; it is in no package."""
    script = NEXTFLOW.replace("IMAGE", name)
    done = run(["bash", "-c", script], env={**environ, "NAME": "lab-tool-1.img"}, cwd=tmp_path)
    assert done.stdout == "biocontainer\n"
    assert_each_blob_came_once(proxy)
    assert "lab-tool-1.img" in os.listdir(tmp_path)
