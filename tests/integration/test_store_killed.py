"""`lpmx load` and `lpmx commit` killed at many moments: the store is whole each time, and the same
command then succeeds."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support import mkimage as mk
from support.lpmx import clean_environment
from support.storecheck import check_collected, check_store

if TYPE_CHECKING:
    from pathlib import Path

    from support.lpmx import Lpmx

MOMENTS = 6
SPEC = mk.Spec(
    "many:1",
    [mk.layer(*(mk.file(f"d{i % 20}/f{n}-{i}", b"x" * 3000) for i in range(800))) for n in range(3)]
    + [mk.layer(*(mk.hardlink(f"low/f{i}", f"d{i % 20}/f1-{i}") for i in range(400)))],
)


def run_killed(lpmx: Lpmx, arguments: list[str], seconds: float) -> bool:
    """Run lpmx and kill it after @seconds; False when it was done before."""
    process = subprocess.Popen(
        [*lpmx.command, *arguments],
        env=clean_environment(lpmx.environment()),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def duration(lpmx: Lpmx, *arguments: str) -> float:
    """Seconds that lpmx takes, undisturbed."""
    start = time.monotonic()
    lpmx(*arguments)
    return time.monotonic() - start


def kill_at_many_moments(lpmx: Lpmx, arguments: list[str], whole: float) -> int:
    """Kill it at moments spread over the time it takes; how often it was killed."""
    killed = 0
    for moment in range(MOMENTS):
        killed += run_killed(lpmx, arguments, whole * (moment + 0.5) / MOMENTS / 1.5)
        check_store(lpmx.home)
    return killed


@pytest.mark.timeout(300)
def test_a_killed_load_leaves_a_whole_store(tmp_path: Path, empty_store: Lpmx) -> None:
    archive = str(mk.docker_archive(tmp_path / "many.tar", [SPEC]))
    other = type(empty_store)(tmp_path / "other")
    whole = duration(other, "load", archive)
    assert kill_at_many_moments(empty_store, ["load", archive], whole) >= 2
    empty_store("load", archive)
    check_collected(empty_store.home)
    assert "many" in empty_store("images").stdout


@pytest.mark.timeout(300)
def test_a_killed_commit_leaves_a_whole_store(tmp_path: Path, empty_store: Lpmx) -> None:
    if not busybox.available():
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    empty_store("load", busybox.write_archive(tmp_path / "busybox.tar"))
    change = "mkdir /data; for i in $(seq 800); do echo $i > /data/f$i; done; rm /etc/marker"
    empty_store("run", "--name", "box", "busybox:test", "sh", "-c", change)
    whole = duration(empty_store, "commit", "box", "first:1")
    empty_store("rmi", "first:1")
    check_collected(empty_store.home)
    arguments = ["commit", "box", "changed:1"]
    assert kill_at_many_moments(empty_store, arguments, whole) >= 2
    empty_store(*arguments)
    check_collected(empty_store.home)
    seen = empty_store("run", "changed:1", "sh", "-c", "ls /data | wc -l; ls /etc/marker; true")
    assert seen.stdout.split() == ["800"]
    assert "No such file" in seen.stderr
