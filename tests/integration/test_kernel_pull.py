"""The image of a kernel that is missing: it comes before the start, and no notebook has it come."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from support.cluster import SBIN
from support.jupyter import READY, Jupyter, wait_until
from support.lpmx import Lpmx
from support.registry import Rule, lone_user
from support.slurm import Slurm

from lpmx_kernels.doctor import installed_kernels
from lpmx_kernels.errors import KernelStartError
from lpmx_kernels.life import readiness
from lpmx_kernels.start import notebook
from lpmx_runtime.doctor import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.jupyter import Session
    from support.registry import FaultProxy

NAME = "demo"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    """An empty store in place of the session's; what is missing is fetched."""
    lone_user(tmp_path / "home", monkeypatch)
    (tmp_path / "home").mkdir()
    return Lpmx(tmp_path / "store")


@pytest.fixture
def bare_jupyter(tmp_path: Path, store: Lpmx, monkeypatch: pytest.MonkeyPatch) -> Jupyter:
    own = Jupyter(tmp_path / "jupyter", store)
    for name, value in own.environment.items():
        monkeypatch.setenv(name, value)
    (own.folder / "runtime").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return own


@pytest.fixture
def box(box_registry: FaultProxy) -> str:
    box_registry.begin()
    return f"{box_registry.address}/lab/box:1"


@pytest.fixture
def missing(bare_jupyter: Jupyter, box: str, box_registry: FaultProxy) -> str:
    """The image of the installed shell kernel `demo`, removed again."""
    done = bare_jupyter.lpmx("kernel", "install", box, "--name", NAME)
    assert done.stderr.startswith(f"lpmx: {box}: not here, pulling it\n")
    bare_jupyter.store("rmi", box)
    bare_jupyter.store("gc")
    box_registry.begin()
    return box


def names(store: Lpmx) -> list[str]:
    return [one for row in json.loads(store("--json", "images").stdout) for one in row["names"]]


def log(jupyter: Jupyter) -> str:
    return jupyter.lpmx("kernel", "logs", NAME).stdout


def for_notebook(folder: Path, wishes: object) -> dict[str, str]:
    """The environment of a start for a notebook with these wishes."""
    path = folder / "n.ipynb"
    path.write_text(json.dumps({"metadata": {"lpmx": wishes}, "cells": [], "nbformat": 4}))
    return {**os.environ, notebook.VARIABLE: str(path)}


def test_install_fetches_and_never_does_not(
    bare_jupyter: Jupyter, box: str, box_registry: FaultProxy
) -> None:
    refused = bare_jupyter.lpmx("kernel", "install", "--pull", "never", box, check=False)
    assert (refused.returncode, box_registry.requests) == (1, [])
    assert f"{box}: no such image" in refused.stderr
    other = f"{box_registry.address}/lab/other:1"
    bare_jupyter.lpmx("kernel", "install", box, "--name", NAME, "-m", f"x=image:{other}:/bin/sh")
    assert sorted(names(bare_jupyter.store)) == [box, other]


def test_a_start_fetches_what_is_missing_and_the_log_says_so(
    bare_jupyter: Jupyter, missing: str, start: Callable[..., Session], caplog: Any
) -> None:
    session = start(NAME)
    assert session.run("echo $FROM_IMAGE") == "yes\n"
    lines = log(bare_jupyter).splitlines()
    assert lines[0] == f"lpmx: {missing}: not here, pulling it"
    assert sum(line.startswith("lpmx: layer ") for line in lines) == 2
    assert f"{missing}: not here, pulling it" in caplog.text


def test_a_start_whose_image_cannot_be_had_says_why(
    bare_jupyter: Jupyter, missing: str, start: Callable[..., Session]
) -> None:
    bare_jupyter.change_stanza(NAME, image="127.0.0.1:9/lab/x:1")
    with pytest.raises(KernelStartError) as error:
        start(NAME)
    said = str(error.value)
    assert "127.0.0.1:9/lab/x:1: no such image here, no archive of it in" in said
    assert "127.0.0.1:9 cannot be reached: connection refused" in said
    assert "What to do: `lpmx load FILE`" in said


def test_a_kernel_that_fetches_never_fetches_never(
    bare_jupyter: Jupyter, missing: str, start: Callable[..., Session], box_registry: FaultProxy
) -> None:
    bare_jupyter.change_stanza(NAME, pull="never")
    with pytest.raises(KernelStartError, match="no such image"):
        start(NAME)
    assert box_registry.requests == []


def test_always_looks_at_the_registry_at_each_start_but_not_at_a_restart(
    bare_jupyter: Jupyter, missing: str, start: Callable[..., Session], box_registry: FaultProxy
) -> None:
    bare_jupyter.change_stanza(NAME, pull="always")
    session = start(NAME)
    box_registry.begin()
    session.restart()
    assert box_registry.requests == []
    start(NAME)
    assert [one.method for one in box_registry.requests] == ["HEAD"]
    assert missing in names(bare_jupyter.store)


@pytest.mark.parametrize("policy", ["missing", "always"])
def test_a_notebook_has_nothing_fetched(
    bare_jupyter: Jupyter,
    missing: str,
    start: Callable[..., Session],
    box_registry: FaultProxy,
    tmp_path: Path,
    policy: str,
) -> None:
    """Neither its own image, which has to be in the store, nor the kernel's in passing."""
    bare_jupyter.change_stanza(NAME, pull=policy)
    other = f"{box_registry.address}/lab/other:1"
    for image in (other, f"{other[:-2]}@sha256:{'1' * 64}", "docker://evil/x"):
        with pytest.raises(KernelStartError, match=r"metadata\.lpmx"):
            start(NAME, env=for_notebook(tmp_path, {"image": image}))
    assert box_registry.requests == []
    assert names(bare_jupyter.store) == []
    bare_jupyter.store("pull", other)
    box_registry.begin()
    session = start(NAME, env=for_notebook(tmp_path, {"image": other}))
    assert session.run("echo $FROM_IMAGE") == "yes\n"
    assert box_registry.requests == []
    assert names(bare_jupyter.store) == [other]


def test_an_environment_of_a_kernel_brings_its_images(
    bare_jupyter: Jupyter,
    box: str,
    start: Callable[..., Session],
    box_registry: FaultProxy,
    tmp_path: Path,
) -> None:
    other = f"{box_registry.address}/lab/other:1"
    file = tmp_path / "e.yaml"
    file.write_text(
        f"image: {box}\ncommands: {{there: {{image: '{other}', path: /bin/busybox}}}}\n"
    )
    bare_jupyter.lpmx("kernel", "install", str(file), "--name", NAME)
    bare_jupyter.lpmx("rmi", other)
    box_registry.begin()
    assert start(NAME).run("there echo composed") == "composed\n"
    assert f"lpmx: {other}: not here, pulling it" in log(bare_jupyter)
    assert not any(f"/lab/box/{kind}" in one.path for one in box_registry.requests
                   for kind in ("manifests", "blobs"))  # fmt: skip


def test_a_client_without_provisioners_gets_the_image_too(
    bare_jupyter: Jupyter, missing: str, tmp_path: Path
) -> None:
    file, info = write_connection_file(str(tmp_path / "connection.json"))
    argv = [word.replace("{connection_file}", file) for word in bare_jupyter.spec(NAME)["argv"]]
    with (tmp_path / "err").open("w") as err:
        kernel = subprocess.Popen(argv, stderr=err)
        client = BlockingKernelClient()
        client.load_connection_info(info)
        try:
            # A client that asks before takes the silence for a death.
            wait_until(lambda: readiness.accepts(info), "the kernel's ports", READY)
            client.start_channels()
            client.wait_for_ready(timeout=READY)
        finally:
            client.stop_channels()
            kernel.terminate()
            kernel.wait(timeout=20)
    said = (tmp_path / "err").read_text()
    assert said.startswith(f"lpmx: {missing}: not here, pulling it\n")


def test_a_start_that_is_cancelled_ends_its_fetch(
    bare_jupyter: Jupyter, missing: str, box_registry: FaultProxy
) -> None:
    box_registry.begin(Rule("GET .*/blobs/", "slow", rate=300_000))
    downloads = bare_jupyter.store.home / "downloads"

    def fetches() -> list[str]:
        done = subprocess.run(["ps", "-ewwo", "args="], capture_output=True, text=True, check=True)
        return [line for line in done.stdout.splitlines() if "fetch" in line and missing in line]

    async def begin_and_cancel() -> None:
        specs = KernelSpecManager(kernel_dirs=[str(bare_jupyter.kernels)])
        manager = AsyncKernelManager(kernel_name=NAME, kernel_spec_manager=specs)
        start = asyncio.ensure_future(manager.start_kernel())
        while not any(path.stat().st_size for path in downloads.glob("*.partial")):
            assert not start.done(), start
            await asyncio.sleep(0.02)
        assert len(fetches()) == 1
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start

    asyncio.run(asyncio.wait_for(begin_and_cancel(), 60))
    wait_until(lambda: fetches() == [], "the end of the fetch")
    assert list((bare_jupyter.store.home / "tmp").iterdir()) == []
    assert names(bare_jupyter.store) == []


def test_the_doctors_know_that_it_comes(
    bare_jupyter: Jupyter, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(bare_jupyter.store.home)
    (finding,) = installed_kernels(site)
    assert (finding.verdict, finding.detail) == (
        "note",
        f"their images are fetched when they start: {NAME} ({missing}: no such image)",
    )
    monkeypatch.setenv("LPMX_PULL", "never")
    (finding,) = installed_kernels(site)
    assert finding.verdict == "problem"
    monkeypatch.setenv("LPMX_PULL", "missing")
    done = bare_jupyter.lpmx("kernel", "doctor", NAME)
    assert f"lpmx: {missing}: not here, pulling it" in done.stderr


# ---- in jobs


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with Slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def test_a_job_fetches_on_its_node_and_says_so_on_its_stderr(
    slurm: Slurm, store: Lpmx, box: str, tmp_path: Path
) -> None:
    job = ["sbatch", f"--output={tmp_path}/out", f"--error={tmp_path}/err"]
    words = " ".join([*store.command, "run", box, "echo", "in-a-job"])
    env = {**slurm.env, **store.environment(), "LPMX_PULL": "missing"}
    subprocess.run([*job, "--wrap", words], env=env, cwd=tmp_path, check=True)
    out = tmp_path / "out"
    wait_until(lambda: out.exists() and out.read_text() == "in-a-job\n", "the job's output")
    assert (tmp_path / "err").read_text().startswith(f"lpmx: {box}: not here, pulling it\n")


def test_a_kernel_on_a_node_has_its_image_fetched_before_it_waits(
    slurm: Slurm,
    bare_jupyter: Jupyter,
    missing: str,
    start: Callable[..., Session],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in slurm.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{SBIN}")
    bare_jupyter.change_stanza(NAME, launcher="slurm", transport="tcp")
    session = start(NAME)
    assert session.run("echo $FROM_IMAGE") == "yes\n"
    assert session.run("echo ${SLURM_JOB_ID:+a job}") == "a job\n"
    assert log(bare_jupyter).startswith(f"lpmx: {missing}: not here, pulling it\n")


def test_the_fetch_for_a_server_imports_nothing_of_the_notebooks_folder(
    bare_jupyter: Jupyter, missing: str, start: Callable[..., Session], tmp_path: Path
) -> None:
    for module in ("json", "urllib3", "asyncio"):
        (tmp_path / "work" / f"{module}.py").write_text("open('PROOF', 'w')\n")
    assert missing
    assert sys.path[0] != str(tmp_path / "work")
    assert start(NAME).run("echo here") == "here\n"
    assert not (tmp_path / "work" / "PROOF").exists()
