"""One Galaxy for all tests of a session: it takes a minute to start, and has a Slurm beside it.

And the environment in which other workflow systems find lpmx where they look for an engine.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from images import build
from support import galaxy as stand
from support import galaxy_site, users
from support.galaxy_tools import PACKAGES, tools
from support.registry import docker_registry, push
from support.sge import GridEngine
from support.slurm import Slurm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.lpmx import Lpmx

IMAGES = ("biocontainer", "bioconda", "demo", "samtools")
WORKFLOW_SYSTEMS = ("cwltool cwltest miniwdl snakemake pytest",)
# What CWL's and cwltool's tests and miniwdl ask for: Debian with Python, which they call `python`
NAMES = (
    "debian:stable-slim", "debian:latest", "debian:8", "python:3", "alpine:latest", "alpine:3",
    "busybox:latest", "ubuntu:16.04", "ubuntu:latest",
)  # fmt: skip
# As that of the image `bash`: words that begin with an option are bash's
BASH_ENTRY = """\
printf '%s\n' '#!/bin/sh' 'case $1 in -*) exec bash "$@" ;; esac' 'exec "$@"' > /usr/bin/entry
chmod 755 /usr/bin/entry
"""
PROJECT = ("lpmx_galaxy", "lpmx_runtime")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs Galaxy comes last: until then it is installed, and no idle server slows others."""
    items.sort(key=_needs_galaxy)


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Install Galaxy, which on a fresh machine takes minutes, beside the other tests."""
    wanted = any(map(_needs_galaxy, session.items)) and not session.config.option.collectonly
    with stand.preparing() if wanted else contextlib.nullcontext():
        return (yield)


def _needs_galaxy(item: pytest.Item) -> bool:
    return "galaxy" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def galaxy_home() -> Path:
    """The home of the user that Galaxy runs as."""
    home = Path(users.ensure_user().pw_dir) if os.geteuid() == 0 else Path.home()
    return home.resolve()


@pytest.fixture(scope="session")
def user_slurm(galaxy_home: Path) -> Iterator[Slurm]:
    """A Slurm of that user."""
    folder = stand.fresh_folder(galaxy_home, "lpmx-test-slurm")
    prefix = users.user_command([]) if os.geteuid() == 0 else []
    user = users.USER if os.geteuid() == 0 else ""
    with Slurm(folder, user=user, prefix=prefix) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def user_sge(galaxy_home: Path, request: pytest.FixtureRequest) -> Iterator[GridEngine | None]:
    """A Grid Engine of that user in the long tier, which alone needs it."""
    if request.config.getoption("tier") != "long":
        yield None
        return
    folder = stand.fresh_folder(galaxy_home, "lpmx-test-sge")
    prefix = users.user_command([]) if os.geteuid() == 0 else []
    user = users.USER if os.geteuid() == 0 else ""
    with GridEngine(folder, user=user, prefix=prefix) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def site_registry(
    tmp_path_factory: pytest.TempPathFactory, archive: Callable[[str], Path]
) -> Iterator[str]:
    """A registry with lab/tool:1 and lab/other:1."""
    with docker_registry(tmp_path_factory.mktemp("registry") / "data") as address:
        for name, image in (("tool", "biocontainer"), ("other", "bioconda")):
            push(archive(image), f"{address}/lab/{name}:1")
        yield address


@pytest.fixture(scope="session")
def galaxy(
    ordinary_user: Lpmx,
    user_archive: Callable[[str], Path],
    galaxy_home: Path,
    user_slurm: Slurm,
    user_sge: GridEngine | None,
    site_registry: str,
) -> Iterator[stand.Galaxy]:
    """The server, with images loaded and the files that `lpmx galaxy init` wrote."""
    stand.environment()  # before anything is started that would have to wait for it
    data = stand.fresh_folder(galaxy_home, "lpmx-test-galaxy")
    site = stand.fresh_folder(galaxy_home, "lpmx-test-site")
    for name in IMAGES:
        ordinary_user("load", user_archive(name))
    for package, image in PACKAGES.items():
        ordinary_user("tag", image, package)
    references, cache = data / "references", data / "container-cache"
    references.mkdir(parents=True)
    made = tools(str(references), site_registry)
    ordinary_user("galaxy", "init", site, "--cache", cache)
    (references / "genome.txt").write_text("genome\n")
    drmaa = str(stand.DRMAA) if user_sge and stand.DRMAA.exists() else ""
    galaxy_site.adapt(site, references, batch=user_slurm.variables, drmaa=drmaa)
    prefix = users.user_command([]) if os.geteuid() == 0 else []
    batch = user_slurm.variables | (user_sge.variables if user_sge else {})
    environ = {**batch, "PYTHONPATH": str(_project(site))}
    if drmaa:
        environ["LD_PRELOAD"] = stand.DRMAA_PRELOAD
    stand.write(data, made)
    ordinary_user("galaxy", "prefetch", data / "tools/package_cached.xml", "--cache", cache)
    server = stand.start(data, site, prefix=prefix, environ=environ)
    yield server
    stand.stop(server)


def _project(site: Path) -> Path:
    """A folder with the project's packages, as if it were installed into Galaxy's environment."""
    folder = site / "python"
    folder.mkdir()
    if os.geteuid() == 0:
        library = users.stage(build.cache_folder()).venv
        found = [next(library.glob(f"lib/python3*/site-packages/{name}")) for name in PROJECT]
    else:
        import lpmx_galaxy
        import lpmx_runtime

        found = [Path(module.__file__).parent for module in (lpmx_galaxy, lpmx_runtime)]
    for path in found:
        (folder / path.name).symlink_to(path)
    return folder


@dataclass
class Jobs:
    """Jobs of the tests' tools. Their ends take Galaxy long: start all before waiting for one."""

    galaxy: stand.Galaxy
    dataset: str
    started: dict[str, Any] = field(default_factory=dict)

    def start(self, *names: str) -> None:
        """Start what is not started yet."""
        data = {"values": [{"src": "hda", "id": self.dataset}]}
        for name in names:
            if name not in self.started:
                inputs = {"input": data} if name.startswith("look_") else {}
                self.started[name] = self.galaxy.start(name, **inputs)

    def wait(self, name: str, *states: str) -> dict[str, Any]:
        """What Galaxy says of the job of tool @name, which ended in one of @states."""
        self.start(name)
        return self.galaxy.wait(self.started[name]["jobs"][0]["id"], states=states or ("ok",))

    def stderr(self, name: str) -> str:
        """What the failed tool @name wrote there: Galaxy may tell the state first."""
        job = self.wait(name, "error")["id"]
        self.galaxy.until(lambda: self.galaxy.job(job)["tool_stderr"], f"stderr of {name}")
        found: str = self.galaxy.job(job)["tool_stderr"]
        return found

    def text(self, name: str) -> str:
        """What the tool @name wrote, once it has succeeded."""
        self.wait(name)
        return self.galaxy.text(self.started[name]["outputs"][0]["id"])


@pytest.fixture(scope="session")
def jobs(galaxy: stand.Galaxy) -> Jobs:
    """The tools of the full tier, started at once: what takes time in Galaxy overlaps."""
    found = Jobs(galaxy, galaxy.upload("uploaded\n"))
    found.start(
        "look_docker", "look_singularity", "fails", "missing", "package_old", "package_new",
        "package_cached", "pulled_docker", "pulled_singularity", "composed", "submits",
        "native_local", "native_slurm",
    )  # fmt: skip
    return found


@pytest.fixture(scope="session")
def workflow_programs() -> Path:
    """The folder of cwltool, miniwdl and Snakemake."""
    return stand.pip_environment("workflow-systems", WORKFLOW_SYSTEMS) / "bin"


def make_stand_ins(lpmx: Lpmx, debian: str) -> None:
    """Give the store the images by whose names workflow systems' tests call."""
    lpmx("run", "--name", "python", debian, "ln", "-s", "python3", "/usr/bin/python")
    lpmx("commit", "python", "python:3-slim")
    for name in NAMES:
        lpmx("tag", "python:3-slim", name)
    lpmx("run", "--name", "bash", debian, "sh", "-c", BASH_ENTRY)
    lpmx("commit", "-c", 'ENTRYPOINT ["/usr/bin/entry"]', "bash", "bash:4.4")


@pytest.fixture(scope="session")
def workflow_environ(
    store: Lpmx,
    image: Callable[[str], str],
    workflow_programs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """The environment in which docker, podman, apptainer and singularity are lpmx."""
    site = tmp_path_factory.mktemp("site")
    make_stand_ins(store, image("demo"))
    store("galaxy", "init", site, "--force")
    return {"PATH": f"{site}/bin:{workflow_programs}:/usr/bin:/bin", **store.environment()}


@pytest.fixture(scope="session")
def user_workflow_environ(
    ordinary_user: Lpmx,
    user_archive: Callable[[str], Path],
    galaxy_home: Path,
    workflow_programs: Path,
) -> dict[str, str]:
    """The same with the store of `ordinary_user`."""
    site = stand.fresh_folder(galaxy_home, "lpmx-test-workflows")
    ordinary_user("load", user_archive("demo"))
    make_stand_ins(ordinary_user, build.reference("demo"))
    ordinary_user("galaxy", "init", site, "--force")
    return {"PATH": f"{site}/bin:{workflow_programs}:/usr/bin:/bin", **ordinary_user.environment()}
