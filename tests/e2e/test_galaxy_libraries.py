"""Container type `lpmx` with the libraries of three Galaxy releases: the line is made, and runs."""

from __future__ import annotations

import json
import os
import site
import subprocess
from pathlib import Path

import pytest
from images import build
from support import users
from support.lpmx import Lpmx, run
from support.registry import lone_user, proxied_registry

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("24.2.4", "25.1.3", "26.1.1")
# What Galaxy does with a job, from its own modules: find the container, make the command line.
SCRIPT = """
import json, sys
from lpmx_galaxy.native import register
register(); register()
from galaxy.tool_util.deps.containers import ContainerFinder
from galaxy.tool_util.deps.container_resolvers import __path__ as searched
from galaxy.tool_util.deps.dependencies import AppInfo, JobInfo, ToolInfo
from galaxy.tool_util.deps.requirements import ContainerDescription, ToolRequirement
job, image, command, resolver = sys.argv[1:]
named = [ContainerDescription(image, type="docker")] if resolver == "explicit_lpmx" else []
packages = [] if named else [ToolRequirement(name=image, type="package", version="1.17")]
tool = ToolInfo(named, packages, False, ["GALAXY_SLOTS", "SECRET"],
                guest_ports=["8888"], tool_id="t", tool_version="1", profile=23.0)
info = JobInfo(job + "/working", job, job, job + "/tmp", job + "/home", "galaxy")
app = AppInfo(galaxy_root_dir=job, default_file_path=job, library_import_dir=None,
              enable_mulled_containers=False, container_resolvers_config_file=None)
params = {"lpmx_enabled": True, "lpmx_cmd": command, "lpmx_env_GIVEN": "it's here",
          "lpmx_run_extra_arguments": "--memory 1g",
          "container_resolvers": [{"type": resolver}]}
found = ContainerFinder(app).find_container(tool, params, info)
print(json.dumps([found.container_type, found.containerize_command("/bin/sh $JOB/tool_script.sh")]))
"""


@pytest.fixture(scope="session", params=VERSIONS)
def python(request):
    """A Python with galaxy-tool-util of one release, kept in the test cache."""
    folder = build.cache_folder() / "galaxy" / f"tool-util-{request.param}"
    ready = folder / ".ready"
    if not ready.exists():
        subprocess.run([users.SYSTEM_PYTHON, "-m", "venv", "--clear", folder], check=True)
        # Its own requirements are looser than what works together.
        parts = ["util", "tool-util", *(["tool-util-models"] if request.param > "25" else [])]
        names = [f"galaxy-{part}=={request.param}" for part in parts]
        pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(["nice", *pip, *names, "setuptools<80"], check=True)
        ready.touch()
    return folder / "bin" / "python"


@pytest.mark.timeout(900)
def test_job_runs_by_one_command_with_no_secret_on_it(python, store, image, tmp_path):
    for name in ("working", "tmp", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "tool_script.sh").write_text("cat /etc/lpmx-image; echo $SECRET $GIVEN; pwd\n")
    docker = Path(store.command[0]).with_name("lpmx-docker")
    env = {"PYTHONPATH": f"{ROOT}/galaxy:{ROOT}/runtime"}
    done = run(["env", *(f"{k}={v}" for k, v in env.items()), python, "-c", SCRIPT, tmp_path,
                image("biocontainer"), docker, "explicit_lpmx"])  # fmt: skip
    kind, line = json.loads(done.stdout.splitlines()[-1])
    assert kind == "lpmx"
    assert "-p 8888" in line
    assert "hidden" not in line
    job = {"SECRET": "hidden", "JOB": str(tmp_path), "HOME": str(tmp_path / "home")}
    for name in ("TMPDIR", "TMP", "TEMP", "_GALAXY_JOB_TMP_DIR", "_GALAXY_JOB_HOME_DIR"):
        job[name] = str(tmp_path / "tmp")
    done = run(["sh", "-c", line], env=store.environment(job))
    assert done.stdout == f"biocontainer\nhidden it's here\n{tmp_path}/working\n"
    provenance = json.loads((tmp_path / "lpmx_provenance.json").read_text())
    assert provenance["image"]["name"] == image("biocontainer")
    assert "hidden" not in json.dumps(provenance)
    assert os.path.getsize(tmp_path / "lpmx_provenance.json") > 200


@pytest.fixture(scope="module")
def mirror(tmp_path_factory, archive):
    """Before a registry with two builds of samtools."""
    folder = tmp_path_factory.mktemp("registry")
    names = [f"biocontainers/samtools:1.17--h0_{build}" for build in (2, 10)]
    with proxied_registry(folder, archive("biocontainer"), *names) as proxy:
        yield proxy


@pytest.mark.timeout(900)
def test_latest_build_of_a_package_comes_from_the_registry(python, mirror, tmp_path, monkeypatch):
    lone_user(tmp_path / "home", monkeypatch)
    lpmx = Lpmx(tmp_path / "store")
    for name in ("working", "tmp", "home"):
        (tmp_path / name).mkdir()
    (tmp_path / "tool_script.sh").write_text("cat /etc/lpmx-image\n")
    libraries = site.getsitepackages()[0]  # urllib3, which lpmx-kernels needs
    env = lpmx.environment({
        "LPMX_MIRROR": f"quay.io={mirror.address}",
        "PYTHONPATH": f"{ROOT}/galaxy:{ROOT}/runtime:{libraries}",
    })  # fmt: skip
    docker = Path(lpmx.command[0]).with_name("lpmx-docker")
    words = ["env", *(f"{k}={v}" for k, v in env.items()), python, "-c", SCRIPT]
    arguments = (tmp_path, "samtools", docker, "mulled_lpmx")
    kind, line = json.loads(run([*words, *arguments]).stdout.splitlines()[-1])
    assert (kind, "quay.io/biocontainers/samtools:1.17--h0_10 " in line) == ("lpmx", True)
    job = {"JOB": str(tmp_path), "HOME": str(tmp_path / "home"), "SECRET": ""}
    for name in ("TMPDIR", "TMP", "TEMP", "_GALAXY_JOB_TMP_DIR", "_GALAXY_JOB_HOME_DIR"):
        job[name] = str(tmp_path / "tmp")
    del env["PYTHONPATH"]
    assert run(["sh", "-c", line], env={**env, **job}).stdout == "biocontainer\n"
