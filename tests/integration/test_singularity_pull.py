"""`lpmx-singularity` and a real registry: docker:// and oras:// names, accounts."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.lpmx import Lpmx, clean_environment, run
from support.registry import (
    PASSWORD,
    USER,
    FaultProxy,
    Rule,
    docker_registry,
    lone_user,
    proxied_registry,
    push,
)
from support.sif import write_sif
from support.upload import push_artifact
from support.waiting import until

from lpmx_galaxy.singularity.oras import CONFIG_TYPE, LAYER_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = b"#!/usr/bin/env -S lpmx-singularity run\n"  # of a reference file


@pytest.fixture(scope="module")
def sif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sif(tmp_path_factory.mktemp("sif"))


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, sif: Path) -> Iterator[FaultProxy]:
    """Before a registry that has lab/x:1, and as artifacts lab/sif:1 and lab/chart:1."""
    folder = tmp_path_factory.mktemp("registry")
    archive = busybox.write_archive(folder / "x.tar", name="x:1")
    with proxied_registry(folder, archive, "lab/x:1") as proxy:
        address = proxy.upstream
        push_artifact(f"{address}/lab/sif", CONFIG_TYPE, [(LAYER_TYPE, sif.read_bytes())])
        helm = "application/vnd.cncf.helm"
        push_artifact(f"{address}/lab/chart", f"{helm}.config.v1+json", [(f"{helm}.tar", b"x")])
        yield proxy


@pytest.fixture
def place(proxy: FaultProxy) -> str:
    proxy.begin()
    return f"{proxy.address}/lab"


@pytest.fixture
def singularity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    """With an empty store, and a home without anybody's credentials."""
    lone_user(tmp_path / "home", monkeypatch)
    lpmx = Lpmx(tmp_path / "store")
    script = Path(lpmx.command[0]).with_name("lpmx-singularity")
    if not script.exists():
        pytest.skip(f"{script} is not installed: install the checkout again")
    return dataclasses.replace(lpmx, command=(str(script),))


@pytest.mark.parametrize(
    "words",
    [
        ["pull", "--name", "x.img.pulling.17", "docker://NAME"],  # Nextflow
        ["pull", "--no-https", "--name", "x.img.pulling.17", "docker://NAME"],
        ["pull", "--name", "1c2f.simg", "docker://NAME"],  # Snakemake
        ["pull", "--force", "--name", "x.sif", "docker://NAME"],  # cwltool
        ["pull", "x.sif", "docker://NAME"],  # miniwdl
        ["build", "x:1", "docker://NAME"],  # Galaxy
    ],
)
def test_what_clients_call_leaves_the_file_they_expect(
    singularity: Lpmx, place: str, tmp_path: Path, words: list[str]
) -> None:
    where = tmp_path / "cache"
    where.mkdir()
    done = singularity(*(word.replace("NAME", f"{place}/x:1") for word in words), cwd=where)
    assert (done.stdout, done.stderr) == ("", f"INFO:    {place}/x:1: not here, pulling it\n")
    (made,) = where.iterdir()
    assert made.name in words
    assert made.read_bytes().startswith(HEAD)
    moved = made.rename(tmp_path / "final.img")  # as Nextflow does when it is whole
    assert singularity("exec", moved, "cat", "/etc/marker").stdout == "upper\n"


def test_exec_of_a_name_pulls_once(singularity: Lpmx, place: str, proxy: FaultProxy) -> None:
    name = f"docker://{place}/x:1"
    first = singularity("exec", name, "cat", "/etc/marker")
    assert (first.stdout, first.stderr) == (
        "upper\n",
        f"INFO:    {place}/x:1: not here, pulling it\n",
    )
    proxy.begin()
    again = singularity("-s", "exec", name, "cat", "/etc/marker")
    assert (again.stdout, again.stderr) == ("upper\n", "")
    assert proxy.requests == []


def test_silent_is_silent(singularity: Lpmx, place: str) -> None:
    done = singularity("-s", "exec", f"docker://{place}/x:1", "echo", "ran")
    assert (done.stdout, done.stderr) == ("ran\n", "")


def test_pull_of_an_image_of_the_store_asks_whether_there_is_a_newer_one(
    singularity: Lpmx, place: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    singularity("pull", tmp_path / "a.sif", f"docker://{place}/x:1")
    proxy.begin()
    singularity("pull", tmp_path / "b.sif", f"docker://{place}/x:1")
    assert [one.method for one in proxy.requests] == ["HEAD"]
    assert (tmp_path / "a.sif").read_bytes() == (tmp_path / "b.sif").read_bytes()


def test_sif_of_a_registry_is_the_file_that_was_put_there(
    singularity: Lpmx, place: str, sif: Path, proxy: FaultProxy, tmp_path: Path
) -> None:
    proxy.begin(Rule("GET .*/blobs/", "cut", times=1, after=200_000))
    done = singularity("pull", f"oras://{place}/sif:1", cwd=tmp_path)
    assert done.stderr == f"INFO:    oras://{place}/sif:1: pulling it\n"
    pulled = tmp_path / "sif_1.sif"
    assert pulled.read_bytes() == sif.read_bytes()
    assert os.access(pulled, os.X_OK)
    assert [one.range for one in proxy.requests if one.range] == ["bytes=200000-"]
    assert list((singularity.home / "downloads").iterdir()) == []
    refused = singularity("pull", f"oras://{place}/sif:1", cwd=tmp_path, check=False)
    assert (refused.returncode, "--force replaces it" in refused.stderr) == (255, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_pull_that_is_ended_leaves_no_file_and_is_gone_on_with(
    number: signal.Signals,
    singularity: Lpmx,
    place: str,
    sif: Path,
    proxy: FaultProxy,
    tmp_path: Path,
) -> None:
    """Nextflow ends a pull that takes too long, and starts it again."""
    where, half = tmp_path / "cache", sif.stat().st_size // 2
    where.mkdir()
    proxy.begin(Rule("GET .*/blobs/", "slow", rate=300_000))
    words = [*singularity.command, "pull", where / "x.img.pulling.1", f"oras://{place}/sif:1"]
    process = subprocess.Popen(
        words, env=clean_environment(singularity.environment()), stderr=subprocess.DEVNULL
    )
    downloads = singularity.home / "downloads"
    until(
        lambda: sum(path.stat().st_size for path in downloads.glob("sha256-*")) >= half,
        what="half of it is here",
    )
    process.send_signal(number)
    assert process.wait(30) != 0
    assert list(where.iterdir()) == []
    proxy.begin()
    singularity("pull", where / "x.img.pulling.2", f"oras://{place}/sif:1")
    (asked,) = [one.range for one in proxy.requests if "/blobs/" in one.path]
    assert int(asked.removeprefix("bytes=").removesuffix("-")) >= half
    assert (where / "x.img.pulling.2").read_bytes() == sif.read_bytes()


def test_sif_of_a_registry_runs_and_is_fetched_once(
    singularity: Lpmx, place: str, proxy: FaultProxy
) -> None:
    name = f"oras://{place}/sif:1"
    assert singularity("run", "--cleanenv", name, "a").stdout == "from a SIF\nby the image a\n"
    proxy.begin()
    again = singularity("exec", name, "/bin/busybox", "cat", "/etc/marker")
    assert (again.stdout, again.stderr) == ("from a SIF\n", "")
    assert proxy.requests == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("oras://PLACE/x:1", "an image of layers, not a SIF image\n  (docker://PLACE/x:1)"),
        ("oras://PLACE/chart:1", "an artifact of type application/vnd.cncf.helm.config.v1+json"),
        ("docker://PLACE/chart:1", "a Helm chart"),
        ("docker://PLACE/none:1", "not found, or not for you"),
        ("oras://PLACE/none:1", "not found, or not for you"),
    ],
)
def test_what_is_no_image_is_refused_in_a_line(
    singularity: Lpmx, place: str, tmp_path: Path, name: str, message: str
) -> None:
    done = singularity("pull", "x.sif", name.replace("PLACE", place), cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (255, "")
    assert message.replace("PLACE", place) in done.stderr
    assert len([line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]) <= 2
    assert not (tmp_path / "x.sif").exists()


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A registry with TLS of its own CA and one user; it has lab/x:1."""
    folder = tmp_path_factory.mktemp("secured")
    archive = busybox.write_archive(folder / "x.tar", name="x:1")
    with docker_registry(folder / "registry", secured=True) as address:
        push(archive, f"{address}/lab/x:1", "--dest-creds", f"{USER}:{PASSWORD}")
        yield address, folder / "registry" / "ca.crt"


@pytest.fixture
def private(secured: tuple[str, Path], tmp_path: Path, singularity: Lpmx) -> str:
    """Its address, trusted by the user of this test."""
    address, ca = secured
    trusted = tmp_path / "home" / ".config/containers/certs.d" / address
    trusted.mkdir(parents=True)
    shutil.copy(ca, trusted / "ca.crt")
    return address


@pytest.mark.parametrize("prefix", ["APPTAINER", "SINGULARITY"])
def test_user_and_password_of_variables_pull_and_stay_out_of_containers(
    singularity: Lpmx, private: str, prefix: str
) -> None:
    env = {f"{prefix}_DOCKER_USERNAME": USER, f"{prefix}_DOCKER_PASSWORD": PASSWORD}
    name = f"docker://{private}/lab/x:1"
    assert singularity("exec", name, "true", check=False).returncode == 255
    assert PASSWORD not in singularity("exec", name, "env", env=env).stdout


@pytest.mark.parametrize("group", ["registry", "remote"])
def test_registry_login_lets_one_pull(
    singularity: Lpmx, private: str, tmp_path: Path, group: str
) -> None:
    uri, file = f"docker://{private}", tmp_path / "auth.json"
    words = (group, "login", "-u", USER, "--password-stdin", "--authfile", file, uri)
    wrong = singularity(*words, text="wrong\n", check=False)
    assert (wrong.returncode, "refuses this user and password" in wrong.stderr) == (255, True)
    assert not file.exists()
    assert singularity(*words, text=f"{PASSWORD}\n").stderr == f"INFO:    Token stored in {file}\n"
    pull = ("pull", "--authfile", file, tmp_path / "x.sif", f"{uri}/lab/x:1")
    assert singularity(*pull).returncode == 0
    listed = singularity(group, "list", env={"APPTAINER_AUTHFILE": str(file)}).stdout
    assert listed.splitlines()[1].split() == [uri, "✓"]
    logout = (group, "logout", "--authfile", file, uri)
    assert singularity(*logout).stderr == "INFO:    Logout succeeded\n"
    assert json.loads(file.read_text())["auths"] == {}
    assert singularity(*logout, check=False).returncode == 255


def test_nextflow_pulls_with_nothing_but_a_path(
    singularity: Lpmx, place: str, tmp_path: Path
) -> None:
    """No HOME and no variable: who one is, is found by passwd."""
    wrapper = tmp_path / "bin" / "singularity"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f"#!/bin/sh\nexport LPMX_HOME={singularity.home} LPMX_PULL=missing\n"
        f'exec {singularity.command[0]} "$@"\n'
    )
    wrapper.chmod(0o755)
    line = f'env - PATH="$PATH" singularity pull --name x.img docker://{place}/x:1 > /dev/null'
    path = f"{wrapper.parent}:{os.environ['PATH']}"
    run(["sh", "-c", line], env={"PATH": path}, cwd=tmp_path)
    assert (tmp_path / "x.img").read_bytes().startswith(HEAD)
