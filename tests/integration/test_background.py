"""What programs leave running in a container: listed, in the way of a removal, stopped, killed.

Whatever a process did to hide: a session of its own, a parent that has gone, an environment that
was replaced, a container that another one calls, a store on a network.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.lpmx import run
from support.waiting import until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from support.lpmx import Lpmx

# What a program does to be found by nothing but the container it is in.
WAYS = {
    "a_session_of_its_own": "setsid sleep {seconds} & sleep 0.1",
    "without_a_parent": "(sleep {seconds} &) & sleep 0.1",
    "forked_twice": "setsid sh -c '(setsid sleep {seconds} &) &'; sleep 0.2",
    "another_environment": "env -i setsid /bin/sleep {seconds} & sleep 0.1",
    "a_program_that_executes_again": "setsid sh -c 'exec env -i /bin/sleep {seconds}' & sleep 0.2",
}
_numbers = iter(range(5000 + os.getpid() % 1000 * 100, 10**9))


def sleepers(seconds: int) -> int:
    """How many processes of this machine sleep for @seconds."""
    wanted, count = [b"sleep", str(seconds).encode()], 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")[:-1]
        except OSError:
            continue
        count += [words[0].rpartition(b"/")[2], *words[1:]] == wanted if words else 0
    return count


@dataclasses.dataclass
class Box:
    """A container in which a program has ended and a process of it goes on."""

    name: str
    seconds: int
    lpmx: Callable[..., subprocess.CompletedProcess[str]]

    def begin(self, way: str, *options: str) -> None:
        script = WAYS[way].format(seconds=self.seconds)
        words = ("sh", "-c", f"{{ {script}; }} >/dev/null 2>&1 </dev/null")
        self.lpmx("exec", *options, self.name, *words)
        until(lambda: sleepers(self.seconds) == 1, what="the process that was left")

    def row(self) -> dict[str, object]:
        rows = json.loads(self.lpmx("ps", "-a", "--json").stdout)
        return next(row for row in rows if row["name"] == self.name)

    def has_ended(self) -> bool:
        return sleepers(self.seconds) == 0


@pytest.fixture
def box(
    run_lpmx: Callable[..., subprocess.CompletedProcess[str]], busybox_image: str, tmp_path: Path
) -> Iterator[Box]:
    made = Box(f"left.{os.urandom(4).hex()}", next(_numbers), run_lpmx)
    run_lpmx("create", "--name", made.name, "-v", str(tmp_path), busybox_image, "true")
    yield made
    run_lpmx("rm", "-f", made.name, check=False)
    assert made.has_ended()


@pytest.mark.parametrize("way", WAYS)
def test_what_is_left_is_listed_and_stopped(box: Box, way: str) -> None:
    box.begin(way)
    row = box.row()
    assert row["state"] == "running"
    assert len(row["background"]) == 1, row
    assert f"running (background: {row['background'][0]})" in box.lpmx("ps").stdout
    refused = box.lpmx("rm", box.name, check=False)
    assert refused.returncode != 0
    assert f"process {row['background'][0]} in the background" in refused.stderr
    assert "lpmx stop" in refused.stderr
    box.lpmx("stop", "-t", "5", box.name)
    assert box.has_ended()
    assert box.row()["state"] != "running"
    box.lpmx("rm", box.name)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_left_is_killed_with_its_container(box: Box, way: str) -> None:
    box.begin(way)
    box.lpmx("rm", "-f", box.name)
    assert box.has_ended()


@pytest.mark.parametrize("way", ["forked_twice", "another_environment"])
def test_the_docker_front_end_finds_the_same(box: Box, store: Lpmx, way: str) -> None:
    script = Path(store.command[0]).with_name("lpmx-docker")
    docker = dataclasses.replace(store, command=(str(script),))
    box.begin(way)
    assert run([*docker.prefix, script, "kill", box.name], env=docker.environment()).stdout
    assert box.has_ended()
    box.begin(way)
    run([*docker.prefix, script, "stop", "-t", "5", box.name], env=docker.environment())
    assert box.has_ended()
    box.begin(way)
    run([*docker.prefix, script, "rm", "-f", box.name], env=docker.environment())
    assert box.has_ended()


def test_a_daemon_is_asked_before_it_is_killed(box: Box, tmp_path: Path) -> None:
    box.lpmx(
        "exec", box.name, "sh", "-c",
        f"cd {tmp_path}; setsid sh -c 'trap \"echo asked > asked; exit\" TERM; touch up;"
        " while :; do sleep 0.05; done' >/dev/null 2>&1 </dev/null &",
    )  # fmt: skip
    until((tmp_path / "up").exists, what="the daemon")
    begun = time.monotonic()
    box.lpmx("stop", "-t", "10", box.name)
    assert time.monotonic() - begun < 8
    assert (tmp_path / "asked").exists()


def test_a_daemon_that_does_not_listen_is_killed(box: Box, tmp_path: Path) -> None:
    box.lpmx(
        "exec", box.name, "sh", "-c",
        f"cd {tmp_path}; setsid sh -c 'trap \"\" TERM; touch up; exec sleep {box.seconds}'"
        " >/dev/null 2>&1 </dev/null &",
    )  # fmt: skip
    until((tmp_path / "up").exists, what="the daemon")
    box.lpmx("stop", "-t", "0.3", box.name)
    assert box.has_ended()


def test_a_process_of_a_called_container_belongs_to_its_caller(
    box: Box, busybox_image: str, image: Callable[[str], str]
) -> None:
    probes = image("c-probes")
    box.lpmx("rm", box.name)
    box.lpmx(
        "create", "--name", box.name, "-m", f"other=image:{probes}:/bin/sh", busybox_image, "true"
    )
    script = f"other -c 'setsid sleep {box.seconds} >/dev/null 2>&1 </dev/null & sleep 0.1'"
    box.lpmx("exec", box.name, "sh", "-c", script)
    until(lambda: sleepers(box.seconds) == 1, what="the daemon of the called container")
    assert len(box.row()["background"]) == 1
    box.lpmx("stop", "-t", "5", box.name)
    assert box.has_ended()


@pytest.mark.needs_root
def test_in_a_store_on_a_network_the_plan_leads_to_the_container(
    store: Lpmx, busybox_image: str, tmp_path: Path
) -> None:
    """There no record of changed names is mapped. The network is FUSE."""
    if not shutil.which("bindfs"):
        pytest.skip("no bindfs on this machine (Debian: bindfs)")
    shown = tmp_path / "shown"
    shown.mkdir()
    run(["bindfs", store.home, shown])
    try:
        far = dataclasses.replace(store, home=shown)

        def lpmx(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
            return run([*far.command, *words], env=far.environment(), check=check)

        box = Box(f"far.{os.urandom(4).hex()}", next(_numbers), lpmx)
        lpmx("create", "--name", box.name, busybox_image, "true")
        box.begin("forked_twice")
        assert len(box.row()["background"]) == 1
        lpmx("stop", "-t", "5", box.name)
        assert box.has_ended()
        box.begin("a_session_of_its_own")
        lpmx("rm", "-f", box.name)
        assert box.has_ended()
    finally:
        run(["umount", "-l", shown])
