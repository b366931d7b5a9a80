"""`lpmx-docker` and a real registry: pulls, accounts, manifests, in docker's words."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.lpmx import Lpmx, clean_environment
from support.registry import (
    PASSWORD,
    USER,
    FaultProxy,
    Rule,
    docker_registry,
    json_body,
    lone_user,
    proxied_registry,
    push,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    """Before a registry that has lab/x:1."""
    if not busybox.available():
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    folder = tmp_path_factory.mktemp("registry")
    archive = busybox.write_archive(folder / "x.tar", name="x:1")
    with proxied_registry(folder, archive, "lab/x:1") as proxy:
        yield proxy


@pytest.fixture
def name(proxy: FaultProxy) -> str:
    proxy.begin()
    return f"{proxy.address}/lab/x:1"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    """With an empty store, and a home without anybody's credentials."""
    lone_user(tmp_path / "home", monkeypatch)
    return front_end(Lpmx(tmp_path / "store"))


def front_end(lpmx: Lpmx) -> Lpmx:
    script = Path(lpmx.command[0]).with_name("lpmx-docker")
    if not script.exists():
        pytest.skip(f"{script} is not installed: install the checkout again")
    return dataclasses.replace(lpmx, command=(str(script),))


def test_pull_prints_dockers_lines(docker: Lpmx, name: str) -> None:
    lines = docker("pull", name).stdout.splitlines()
    assert lines[0] == "1: Pulling from lab/x"
    layers = [line.partition(": ")[2] for line in lines if re.match("[0-9a-f]{12}: ", line)]
    assert sorted(layers) == ["Pull complete"] * 2 + ["Pulling fs layer"] * 2
    digest = lines[-3].removeprefix("Digest: ")
    assert re.fullmatch("sha256:[0-9a-f]{64}", digest)
    assert lines[-2:] == [f"Status: Downloaded newer image for {name}", name]
    again = docker("pull", name).stdout.splitlines()
    assert again == [
        "1: Pulling from lab/x",
        f"Digest: {digest}",
        f"Status: Image is up to date for {name}",
        name,
    ]
    assert docker("pull", "-q", name).stdout == f"{name}\n"
    bare = name.removesuffix(":1")
    assert docker("pull", f"{bare}@{digest}").stdout.startswith(f"{bare}@{digest}: Pulling from ")


def test_all_tags_of_a_repository_come(docker: Lpmx, proxy: FaultProxy, tmp_path: Path) -> None:
    archive = busybox.write_archive(tmp_path / "y.tar", name="y:1")
    for tag in ("1", "2.0"):
        push(archive, f"{proxy.upstream}/lab/y:{tag}")
    proxy.begin()
    repository = f"{proxy.address}/lab/y"
    lines = docker("pull", "-a", repository).stdout.splitlines()
    assert [line for line in lines if line.endswith("Pulling from lab/y")] == [
        "1: Pulling from lab/y",
        "2.0: Pulling from lab/y",
    ]
    assert lines[-1] == repository
    tags = [line.split()[1] for line in docker("images").stdout.splitlines()[1:]]
    assert sorted(tags) == ["1", "2.0"]
    named = docker("pull", "-a", f"{repository}:1", check=False)
    assert (named.returncode, "tag can't be used with --all-tags/-a" in named.stderr) == (2, True)
    none = docker("pull", "-a", f"{proxy.address}/lab/none", check=False)
    assert (none.returncode, "Error response from daemon: " in none.stderr) == (1, True)


def test_what_was_pulled_is_known_by_its_digest(
    docker: Lpmx, name: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    digest = re.search("Digest: (.*)", docker("pull", name).stdout)[1]  # type: ignore[index]
    by_digest = f"{name.removesuffix(':1')}@{digest}"
    proxy.begin()
    (image,) = json.loads(docker("inspect", name).stdout)
    assert (image["RepoTags"], image["RepoDigests"]) == ([name], [by_digest])
    assert json.loads(docker("inspect", by_digest).stdout)[0]["Id"] == image["Id"]
    assert docker("images", "--digests").stdout.splitlines()[1].split()[1:3] == ["1", digest]
    record = tmp_path / "record.json"
    words = ("--lpmx-provenance", record, by_digest, "cat", "/etc/marker")
    assert docker("run", "--rm", *words).stdout == "upper\n"
    assert json.loads(record.read_text())["image"]["digests"] == [by_digest]
    assert proxy.requests == []


def test_run_pulls_what_is_missing_and_says_so(docker: Lpmx, name: str, proxy: FaultProxy) -> None:
    never = docker("run", "--rm", "--pull", "never", name, "true", check=False)
    assert never.returncode == 125
    assert f"Error response from daemon: No such image: {name}" in never.stderr
    assert proxy.requests == []
    first = docker("run", "--rm", name, "cat", "/etc/marker")
    assert first.stdout == "upper\n"
    said = first.stderr.splitlines()
    assert said[:2] == [f"Unable to find image '{name}' locally", "1: Pulling from lab/x"]
    assert said[-1] == f"Status: Downloaded newer image for {name}"
    proxy.begin()
    assert docker("run", "--rm", name, "true").stderr == ""
    assert proxy.requests == []
    again = docker("run", "--rm", "--pull=always", name, "true")
    assert f"Status: Image is up to date for {name}" in again.stderr
    assert [one.method for one in proxy.requests] == ["HEAD"]


def test_jobs_that_start_at_once_fetch_their_image_once(
    docker: Lpmx, name: str, proxy: FaultProxy
) -> None:
    proxy.begin(Rule("GET .*/blobs/", "slow", rate=1_500_000))
    words = [*docker.command, "run", "--rm", name, "cat", "/etc/marker"]
    env = clean_environment(docker.environment())
    jobs = [
        subprocess.Popen(words, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    said = [job.communicate(timeout=120) for job in jobs]
    assert [out for out, _ in said] == ["upper\n"] * 8, said
    assert [job.returncode for job in jobs] == [0] * 8
    assert Counter(proxy.blobs()).most_common(1)[0][1] == 1
    assert len([one for one in proxy.requests if "/manifests/" in one.path]) == 1


def test_quiet_run_says_nothing_of_a_pull(docker: Lpmx, name: str) -> None:
    done = docker("run", "--rm", "-q", name, "echo", "ran")
    assert (done.stdout, done.stderr) == ("ran\n", "")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            Rule("manifests", "status", code=404, body=json_body("MANIFEST_UNKNOWN", "unknown")),
            "manifest for NAME not found: manifest unknown: ",
        ),
        (
            Rule("manifests", "status", code=401, body=json_body("UNAUTHORIZED", "who?")),
            "pull access denied for REPOSITORY, repository does not exist or may require 'docker",
        ),
        (
            Rule("manifests", "status", code=429, headers={"Retry-After": "3000"}),
            "toomanyrequests: ",
        ),
    ],
)
def test_refusals_are_dockers(
    docker: Lpmx, name: str, proxy: FaultProxy, rule: Rule, words: str
) -> None:
    proxy.begin(rule)
    words = words.replace("NAME", name).replace("REPOSITORY", name.removesuffix(":1"))
    pulled = docker("pull", name, check=False)
    assert pulled.returncode == 1
    assert pulled.stderr.startswith(f"lpmx-docker: Error response from daemon: {words}")
    started = docker("run", "--rm", name, "true", check=False)
    assert (started.returncode, words in started.stderr) == (125, True)


def test_what_is_here_is_kept_where_its_registry_cannot_be_reached(
    docker: Lpmx, proxy: FaultProxy
) -> None:
    """A workflow that begins with a pull goes on, and says on what."""
    with FaultProxy(proxy.upstream) as other:
        name = f"{other.address}/lab/x:1"
        docker("pull", name)
    done = docker("pull", name)
    assert f"Status: Image is up to date for {name}" in done.stdout
    assert "cannot be reached" in done.stderr
    assert "the image that is here is taken" in done.stderr


def test_an_image_that_was_loaded_is_not_replaced_from_its_registry(
    docker: Lpmx, name: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    config = {"Cmd": ["true"], "Labels": {"made": "here"}}
    docker("load", "-i", busybox.write_archive(tmp_path / "own.tar", name=name, config=config))
    assert f"Status: Image is up to date for {name}" in docker("pull", name).stdout
    assert proxy.requests == []
    assert json.loads(docker("inspect", name).stdout)[0]["RepoDigests"] == []


def test_archives_come_before_the_registry(
    docker: Lpmx, name: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    supply = tmp_path / "supply"
    supply.mkdir()
    busybox.write_archive(supply / "x.tar", name=name)
    done = docker("run", "--rm", name, "cat", "/etc/marker", env={"LPMX_SUPPLY": str(supply)})
    assert done.stdout == "upper\n"
    assert proxy.requests == []


def test_manifest_is_shown_and_nothing_pulled(docker: Lpmx, name: str) -> None:
    manifest = json.loads(docker("manifest", "inspect", name).stdout)
    assert (manifest["schemaVersion"], len(manifest["layers"])) == (2, 2)
    described = json.loads(docker("manifest", "inspect", "-v", name).stdout)
    assert described["Ref"] == name
    assert described["SchemaV2Manifest"] == manifest
    assert described["Descriptor"]["mediaType"] == manifest["mediaType"]
    assert docker("images", "-q").stdout == ""
    done = docker("manifest", "inspect", f"{name}0", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no such manifest: " in done.stderr


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A registry with TLS of its own CA and one user; it has lab/x:1."""
    folder = tmp_path_factory.mktemp("secured")
    archive = busybox.write_archive(folder / "x.tar", name="x:1")
    with docker_registry(folder / "registry", secured=True) as address:
        push(archive, f"{address}/lab/x:1", "--dest-creds", f"{USER}:{PASSWORD}")
        yield address, folder / "registry" / "ca.crt"


def test_login_is_dockers_and_lets_one_pull(
    docker: Lpmx, secured: tuple[str, Path], tmp_path: Path
) -> None:
    address, ca = secured
    trusted = tmp_path / "home" / ".config/containers/certs.d" / address
    trusted.mkdir(parents=True)
    shutil.copy(ca, trusted / "ca.crt")
    place, config = f"{address}/lab/x:1", tmp_path / "cfg"
    refused = docker("pull", place, check=False)
    assert (refused.returncode, "pull access denied for" in refused.stderr) == (1, True)
    login = ("--config", config, "login", "-u", USER, "--password-stdin", f"https://{address}/v2/")
    wrong = docker(*login, text="wrong\n", check=False)
    assert (wrong.returncode, config.exists()) == (1, False)
    assert "failed with status: 401 Unauthorized" in wrong.stderr
    done = docker(*login, text=f"{PASSWORD}\n")
    assert done.stdout == "Login Succeeded\n"
    assert f"stored unencrypted in '{config}/config.json'" in done.stderr
    assert list(json.loads((config / "config.json").read_text())["auths"]) == [address]
    docker("--config", config, "pull", "-q", place)
    known = docker("--config", config, "login", address).stdout.splitlines()
    assert known == [
        f"Authenticating with existing credentials... [Username: {USER}]",
        "Login Succeeded",
    ]
    out = docker("--config", config, "logout", address)
    assert out.stdout == f"Removing login credentials for {address}\n"
    again = docker("--config", config, "logout", address)
    assert again.stdout == f"Not logged in to {address}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--password-stdin"], "Must provide --username with --password-stdin"),
        (["-u", "x"], "Cannot perform an interactive login from a non TTY device"),
        (["-u", "x", "-p", "y", "--password-stdin"], "--password and --password-stdin"),
    ],
)
def test_login_that_cannot_be(docker: Lpmx, words: list[str], message: str) -> None:
    done = docker("login", *words, "127.0.0.1:9", text="secret\n", check=False)
    assert done.returncode != 0
    assert message in done.stderr
