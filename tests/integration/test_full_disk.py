"""A store whose disk is full, or must not be executed from: words, no signals and no leftovers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.lpmx import Lpmx, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Lpmx]]:
    """mounted(OPTIONS): lpmx with a store on a tmpfs of its own, and the tiny image in it."""
    place = tmp_path / "small"
    place.mkdir()

    def mount(options: str) -> Lpmx:
        assert busybox.available()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no tmpfs can be mounted here")
        lpmx = Lpmx(place / "store")
        lpmx("load", busybox.write_archive(tmp_path / "busybox.tar"))
        return lpmx

    yield mount
    subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), open(folder / "fill", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.mark.needs_root
def test_full_disk_is_an_error_and_no_signal(mounted: Callable[[str], Lpmx]) -> None:
    lpmx = mounted("size=24m")
    script = """
        echo ready; read line
        for i in $(seq 300); do
            mkdir /etc/d$i /bin/e$i 2>/dev/null; status=$?; [ $status -le 1 ] || exit $status
        done
        dd if=/dev/zero of=/etc/new bs=4k count=1
    """
    command = [*lpmx.command, "run", "--name", "full", "busybox:test", "sh", "-c", script]
    env = clean_environment(lpmx.environment())
    with subprocess.Popen(command, stdin=-1, stderr=-1, stdout=-1, text=True, env=env) as program:
        assert program.stdout
        assert program.stdout.readline() == "ready\n"
        fill(lpmx.home.parent)
        _, errors = program.communicate("go\n", timeout=60)
    assert "No space left on device" in errors
    assert program.returncode == 1, f"{program.returncode}, SIGBUS is {-signal.SIGBUS}: {errors}"


@pytest.mark.needs_root
def test_container_that_finds_no_room_is_not_made(mounted: Callable[[str], Lpmx]) -> None:
    lpmx = mounted("size=24m")
    lpmx("run", "busybox:test", "true")
    fill(lpmx.home.parent)
    before = sorted(os.listdir(lpmx.home / "containers"))
    done = lpmx("run", "busybox:test", "true", check=False)
    assert done.returncode == 125
    assert "no space left" in done.stderr
    assert sorted(os.listdir(lpmx.home / "containers")) == before


@pytest.mark.needs_root
def test_store_that_must_not_be_executed_from_is_told(
    mounted: Callable[[str], Lpmx], tmp_path: Path
) -> None:
    lpmx = mounted("size=24m,noexec")
    assert "is mounted noexec" in lpmx("load", tmp_path / "busybox.tar").stderr
    told = (
        "lpmx: the store's file system is mounted noexec: no program runs from there\n"
        "  (put the store on another file system: LPMX_HOME=/some/local/folder)\n"
    )
    for options in ((), ("-d",), ("--name", "kept"), ("-d", "--name", "kept")):
        done = lpmx("run", *options, "busybox:test", "true", check=False)
        assert (done.returncode, done.stderr) == (125, told), options
    assert not lpmx("ps", "-a", "-q").stdout
    examined = lpmx("doctor", check=False).stdout
    assert "is mounted noexec" in examined
    assert "programs: operation not permitted: those of images cannot be run" in examined


@pytest.mark.needs_root
def test_layers_that_must_not_be_executed_from_are_told(
    mounted: Callable[[str], Lpmx], tmp_path: Path
) -> None:
    layers = mounted("size=24m,noexec").home / "layers"
    lpmx = Lpmx(tmp_path / "elsewhere")
    lpmx("load", tmp_path / "busybox.tar")
    (lpmx.home / "layers").rename(lpmx.home / "unused")
    (lpmx.home / "layers").symlink_to(layers)
    done = lpmx("run", "busybox:test", "true", check=False)
    assert done.returncode == 126
    assert done.stderr.startswith("lpmx: /bin/busybox: its file system is mounted noexec")
    assert "LPMX_HOME" in done.stderr
