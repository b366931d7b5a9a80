"""Starts that fail leave nothing: no container, no name, no file, and the reason comes last."""

from __future__ import annotations

import dataclasses
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.lpmx import Completed, Lpmx

# By the kind of failure: options, command and status; {port} is one that is taken.
KINDS = {
    "no such GPU": (["--gpus", "device=99"], ["true"], 125),
    "no such program of the host": (["-m", "nosuch=host"], ["true"], 125),
    "no such image to map to": (["-m", "x=lab/nosuch:x"], ["true"], 125),
    "unknown user": (["-u", "nosuch"], ["true"], 125),
    "no such volume": (["-v", "/nonexistent/x:/y"], ["true"], 125),
    "relative directory": (["-w", "x"], ["true"], 125),
    "missing directory": (["-w", "/nonexistent"], ["true"], 126),
    "missing command": ([], ["nosuch"], 127),
    "command that cannot be executed": ([], ["/etc/passwd"], 126),
}
WAYS = {
    "plain": [],
    "kept": ["--name", "failing"],
    "detached": ["-d"],
    "detached and kept": ["-d", "--name", "failing"],
}
OF_CREATE = [kind for kind, row in KINDS.items() if row[2] == 125]
DOCKER = {
    "no such GPU": (["--gpus", "device=99"], ["true"], 125),
    "unknown user": (["--user", "nosuch"], ["true"], 125),
    "unknown limit": (["--ulimit", "nosuch=1"], ["true"], 125),
    "missing command": ([], ["nosuch"], 127),
    "identifier that cannot be written": (["--cidfile", "/nonexistent/id"], ["true"], 125),
}


@pytest.fixture
def place(tmp_path: Path, store: Lpmx, busybox_image: str) -> Callable[[], list[str]]:
    """All names where a start may leave something: the store's containers, the user's folders."""
    del busybox_image  # loaded before anything is looked at
    for name in ("cwd", "tmp"):
        (tmp_path / name).mkdir()

    def names() -> list[str]:
        containers = store.home / "containers"
        kept = containers / ".names"
        folders = [containers, kept, tmp_path / "cwd", tmp_path / "tmp"]
        found = [os.path.join(folder, name) for folder in folders if folder.is_dir()
                 for name in os.listdir(folder)]  # fmt: skip
        return sorted(name for name in found if name != str(kept))

    return names


@pytest.fixture
def call(store: Lpmx, tmp_path: Path) -> Callable[..., Completed]:
    def lpmx(*words: str, program: str = "lpmx", prefix: tuple[str, ...] = ()) -> Completed:
        command = (str(Path(store.command[0]).with_name(program)),)
        one = dataclasses.replace(store, command=command if program != "lpmx" else store.command)
        one = dataclasses.replace(one, command=(*prefix, *one.command))
        env = {"TMPDIR": str(tmp_path / "tmp")}
        return one(*words, check=False, cwd=tmp_path / "cwd", env=env)

    return lpmx


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_run_that_fails_leaves_nothing(call, place, busybox_image, kind, way):
    options, command, status = KINDS[kind]
    before = place()
    done = call("run", *WAYS[way], *options, busybox_image, *command)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("lpmx: ")
    assert "Traceback" not in done.stderr
    assert place() == before


@pytest.mark.parametrize("kind", OF_CREATE)
def test_create_that_fails_leaves_nothing(call, place, busybox_image, kind):
    options, command, status = KINDS[kind]
    before = place()
    done = call("create", "--name", "failing", *options, busybox_image, *command)
    assert (done.returncode, done.stdout) == (status, "")
    assert place() == before


def test_create_takes_the_container_back_when_its_plan_cannot_be_written(
    call, place, busybox_image
):
    before = place()
    done = call("create", "--name", "failing", "--plan", "/nonexistent/plan", busybox_image)
    assert (done.returncode, done.stdout) == (125, "")
    assert place() == before


@pytest.mark.parametrize("way", WAYS)
def test_start_on_a_disk_without_room_leaves_nothing(call, place, busybox_image, way):
    """No file may grow: what a full disk answers comes from another errno."""
    before = place()
    command = ("run", *WAYS[way], busybox_image, "true")
    done = call(*command, prefix=("prlimit", "--fsize=0"))
    assert (done.returncode, done.stdout) == (125, "")
    assert place() == before


def test_exec_that_fails_leaves_the_container_as_it_was(call, place, busybox_image):
    call("create", "--name", "kept", busybox_image)
    before = place()
    try:
        for options, command, status in (
            (["-u", "nosuch"], ["true"], 125),
            (["-w", "/nonexistent"], ["true"], 126),
            ([], ["nosuch"], 127),
        ):
            assert call("exec", *options, "kept", *command).returncode == status
            assert place() == before
        assert '"runs": []' in call("--json", "ps", "-a").stdout
    finally:
        call("rm", "-f", "kept")


def test_expose_that_fails_leaves_nothing(call, place, busybox_image, tmp_path):
    before = place()
    (tmp_path / "file").write_text("")
    for words in (["nosuch", "--to", "bin"], ["sh", "--to", str(tmp_path / "file" / "bin")]):
        done = call("expose", busybox_image, *words)
        assert done.returncode != 0
        assert place() == before


@pytest.mark.parametrize("way", [[], ["--rm"], ["-d"], ["--name", "failing"]], ids=" ".join)
@pytest.mark.parametrize("kind", DOCKER)
def test_docker_run_that_fails_leaves_nothing(call, place, busybox_image, kind, way):
    options, command, status = DOCKER[kind]
    before = place()
    done = call("run", *way, *options, busybox_image, *command, program="lpmx-docker")
    assert (done.returncode, done.stdout) == (status, "")
    assert place() == before


def test_docker_run_whose_port_is_taken_leaves_nothing(call, place, busybox_image):
    before = place()
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = call("run", "-p", f"{port}:80", busybox_image, "true", program="lpmx-docker")
    assert done.returncode == 125
    assert place() == before


@pytest.mark.parametrize(
    ("options", "command", "status"),
    [
        (["--pwd", "x"], ["true"], 255),
        ([], ["nosuch"], 127),
        (["--cpuset-cpus", "9999"], ["true"], 255),
    ],
    ids=["directory", "command", "processors"],
)
def test_singularity_exec_that_fails_leaves_nothing(
    call, place, busybox_image, options, command, status
):
    before = place()
    done = call("exec", *options, busybox_image, *command, program="lpmx-singularity")
    assert (done.returncode, done.stdout) == (status, "")
    assert place() == before
