"""Kernels of real clients leave no process, folder or container, however the client ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.jupyter import containers, wait_until
from support.lpmx import clean_environment

from lpmx_kernels.life import sockets
from lpmx_runtime.container import owned
from lpmx_runtime.process import scan as processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.jupyter import Jupyter

# A session of its own, and a child of init in one of its own whose environment is empty.
SHELL = """\
setsid sleep 4321 >/dev/null 2>&1 &
(setsid env -i /bin/sleep 4322 >/dev/null 2>&1 &)
"""
PYTHON = f"__import__('subprocess').run(['sh', '-c', {SHELL!r}]); print(1)"
# Not `python`: Jupyter takes that for its own.
CELLS = {"lpmx-python": PYTHON, "lpmx-shell": f"{SHELL}echo 1"}
WAIT = {
    "lpmx-python": "\nopen('ready', 'w'); __import__('time').sleep(600)",
    "lpmx-shell": "\n: > ready; sleep 600",
}
LANGUAGES = list(CELLS)


@pytest.fixture
def place(bare_jupyter: Jupyter, image: Callable[[str], str]) -> Jupyter:
    """A Jupyter with two kernels, and a notebook and a script for each."""
    bare_jupyter.lpmx("kernel", "install", image("demo"), "--name", "lpmx-python")
    bare_jupyter.lpmx("kernel", "install", image("musl"), "--name", "lpmx-shell")
    for name, code in CELLS.items():
        write(name, code)
    return bare_jupyter


def write(name: str, code: str) -> None:
    Path(f"{name}.txt").write_text(code)
    cell = {"cell_type": "code", "source": code, "metadata": {}, "outputs": [],
            "execution_count": None, "id": "a"}  # fmt: skip
    kernel = {"name": name, "display_name": name}
    book = {"nbformat": 4, "nbformat_minor": 5, "cells": [cell], "metadata": {"kernelspec": kernel}}
    Path(f"{name}.ipynb").write_text(json.dumps(book))


def command(client: str, kernel: str) -> list[str]:
    jupyter, book = [sys.executable, "-m", "jupyter"], f"{kernel}.ipynb"
    return {
        "run": [*jupyter, "run", "--kernel", kernel, f"{kernel}.txt"],
        "console": [*jupyter, "console", "--kernel", kernel, "--simple-prompt"],
        "execute": [*jupyter, "execute", book],
        "nbconvert": [*jupyter, "nbconvert", "--execute", "--to", "notebook", "--stdout", book],
        "papermill": [sys.executable, "-m", "papermill", "-k", kernel, book, "out.ipynb"],
    }[client]


def start(place: Jupyter, client: str, kernel: str, **options: Any) -> subprocess.Popen[str]:
    env = clean_environment(place.store.environment(place.environment))
    return subprocess.Popen(
        command(client, kernel), env=env, text=True, start_new_session=True,
        **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT,
           **options},
    )  # fmt: skip


def folders() -> set[str]:
    """Those of this user's kernels: others test at the same time."""
    found = set()
    for name in os.listdir(sockets.PLACE):
        with contextlib.suppress(FileNotFoundError):
            own = os.stat(os.path.join(sockets.PLACE, name)).st_uid == os.geteuid()
            found |= {name} if own and name.startswith(sockets.PREFIX) else set()
    return found


def ids(place: Jupyter) -> list[str]:
    return [row["id"] for row in containers(place)]


def sleeping() -> set[int]:
    found = set()
    for entry in os.listdir("/proc"):
        try:
            words = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
            if entry.isdigit() and os.stat(f"/proc/{entry}").st_uid == os.geteuid():
                found |= {int(entry)} if {b"4321", b"4322"} & set(words[-2:-1]) else set()
        except OSError:
            continue
    return found


@pytest.mark.parametrize("kernel", LANGUAGES)
@pytest.mark.parametrize("client", ["run", "console", "execute", "nbconvert", "papermill"])
def test_client_that_ends_leaves_nothing_and_says_nothing_of_it(
    place: Jupyter, client: str, kernel: str
) -> None:
    before = folders(), sleeping()
    program = start(place, client, kernel)
    typed = f"{CELLS['lpmx-python'] if kernel == 'lpmx-python' else 'echo 1'}\nexit\n"
    said, _ = program.communicate(typed if client == "console" else "", timeout=120)
    assert program.returncode == 0, said
    assert "Traceback" not in said
    # The console does not wait for its kernel manager: then the guard clears up a moment later.
    wait_until(lambda: (folders(), sleeping()) == before, "the end of what the kernel had")
    wait_until(lambda: ids(place) == [], "the end of its container")
    wait_until(lambda: not list((place.store.home / owned.FOLDER).iterdir()), "no record")


@pytest.mark.parametrize("kernel", LANGUAGES)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_killed_client_leaves_nothing(place: Jupyter, kernel: str, number: signal.Signals) -> None:
    before = folders(), sleeping()
    write(kernel, CELLS[kernel] + WAIT[kernel])
    program = start(place, "run", kernel, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(Path("ready").exists, "the cell runs", 60)
    os.killpg(program.pid, number)  # its whole group, as of a terminal or a batch system
    program.communicate()
    wait_until(lambda: (folders(), sleeping()) == before, "the end of the kernel")
    wait_until(lambda: ids(place) == [], "the end of its container")


@pytest.mark.parametrize("how", ["gc", "the next kernel"])
def test_what_a_killed_client_and_its_guard_leave_is_found(place: Jupyter, how: str) -> None:
    before = folders(), sleeping()
    write("lpmx-shell", CELLS["lpmx-shell"] + WAIT["lpmx-shell"])
    program = start(
        place, "run", "lpmx-shell", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(Path("ready").exists, "the cell runs", 60)
    for pid in (*children(program.pid, b"lpmx-guard"), program.pid):
        os.kill(pid, signal.SIGKILL)
    program.communicate()
    assert (folders(), sleeping()) != before
    if how == "gc":
        place.lpmx("gc")
    else:
        write("lpmx-python", "1")
        start(place, "run", "lpmx-python").communicate(timeout=60)
    assert (folders(), sleeping()) == before
    assert ids(place) == []


def children(parent: int, word: bytes) -> list[int]:
    """The child processes of @parent that have @word in their command line."""
    pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in pids if word in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize("client", ["run", "execute", "nbconvert"])
def test_start_that_fails_leaves_nothing_and_its_reason_comes_last(
    place: Jupyter, client: str
) -> None:
    before = folders()
    place.change_stanza("lpmx-shell", image="lab/gone:1")
    program = start(place, client, "lpmx-shell")
    said, _ = program.communicate("", timeout=60)
    assert program.returncode != 0
    assert "lab/gone:1: no such image" in "\n".join(said.strip().splitlines()[-4:]), said
    assert folders() == before
    assert ids(place) == []
    assert processes.with_variable("LPMX_KERNEL") == []
