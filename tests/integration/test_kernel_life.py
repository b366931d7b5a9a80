"""Kernels and the end of their server: those that go with it, and those that outlive it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.jupyter import Jupyter, Session, containers, wait_until
from support.lpmx import clean_environment

from lpmx_kernels.life import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# A server's part in a kernel's life: starts the kernel of that id, says what it sees, waits.
SERVER = """
import asyncio, json, sys
from jupyter_client.multikernelmanager import AsyncMultiKernelManager
async def main(name, kernel_id, code):
    manager = AsyncMultiKernelManager()
    await manager.start_kernel(kernel_name=name, kernel_id=kernel_id)
    kernel = manager.get_kernel(kernel_id)
    client = kernel.client()
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    reply = await client.execute("", user_expressions={"x": code}, reply=True, timeout=60)
    value = reply["content"]["user_expressions"]["x"]
    shown = value["data"]["text/plain"] if value["status"] == "ok" else value["evalue"]
    print(json.dumps({"value": shown, "pid": kernel.provisioner.pid}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line == "restart\\n":
            await kernel.restart_kernel()
        if line == "shutdown\\n":
            await manager.shutdown_kernel(kernel_id)
        pid = kernel.provisioner.pid if kernel.has_kernel else None
        print(json.dumps({"pid": pid}), flush=True)
asyncio.run(main(*sys.argv[1:]))
"""
ID = "11111111-2222-3333-4444-555555555555"


class Server:
    """A process that starts a kernel, or finds it again."""

    def __init__(self, jupyter: Jupyter, name: str, code: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, name, ID, code],
            env=clean_environment(jupyter.store.environment(jupyter.environment)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.first = self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, "the server has ended"
        return dict(json.loads(line))

    def ask(self, command: str) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self.answer()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def server(
    bare_jupyter: Jupyter, image: Callable[[str], str]
) -> Iterator[Callable[[str, str], Server]]:
    """server(kernel, code): evaluates code in the kernel of a fixed id."""
    demo = image("demo")
    bare_jupyter.lpmx("kernel", "install", demo, "--name", "mortal")
    bare_jupyter.lpmx("kernel", "install", demo, "--name", "immortal", "--survive")
    servers: list[Server] = []

    def make(name: str, code: str) -> Server:
        servers.append(Server(bare_jupyter, name, code))
        return servers[-1]

    yield make
    for each in servers:
        each.kill()
    processes.end(ID, grace=0)


def test_background_jobs_of_a_killed_server_go_with_the_next_kernel(
    bare_jupyter: Jupyter, server: Callable[[str, str], Server]
) -> None:
    job = "__import__('subprocess').Popen(['sleep', '600'], start_new_session=True).pid"
    first = server("mortal", job)
    pid = int(first.first["value"])
    first.kill()
    wait_until(lambda: processes.start_time(first.first["pid"]) is None, "the kernel is gone")
    second = server("mortal", "1+1")
    second.ask("shutdown")
    assert processes.start_time(pid) is None
    assert containers(bare_jupyter) == []


def test_kernel_that_survives_is_found_again_with_its_variables(
    bare_jupyter: Jupyter, server: Callable[[str, str], Server]
) -> None:
    first = server("immortal", "globals().setdefault('x', 42)")
    first.kill()
    second = server("immortal", "globals().get('x')")
    assert second.first == {"value": "42", "pid": first.first["pid"]}
    again = second.ask("restart")
    assert again["pid"] not in (None, first.first["pid"])
    second.kill()
    third = server("immortal", "globals().get('x')")
    assert third.first == {"value": "None", "pid": again["pid"]}
    third.ask("shutdown")
    assert processes.find(ID) == []
    assert containers(bare_jupyter) == []
    assert not list((bare_jupyter.store.home / "kernels" / "running").glob("*.json"))


def test_dead_survivor_is_started_anew(
    bare_jupyter: Jupyter, server: Callable[[str, str], Server]
) -> None:
    first = server("immortal", "globals().setdefault('x', 42)")
    first.kill()
    processes.end(ID, grace=0)
    second = server("immortal", "globals().get('x')")
    assert second.first["value"] == "None"
    second.ask("shutdown")


def test_notebook_names_its_image_and_is_told_where_it_is_wrong(
    bare_jupyter: Jupyter,
    start: Callable[..., Session],
    image: Callable[[str], str],
    tmp_path: Path,
) -> None:
    image("musl")
    bare_jupyter.lpmx("kernel", "install", image("biocontainer"), "--name", "bio")
    path = tmp_path / "work" / "mine.ipynb"

    def open_with(name: str) -> Session:
        path.write_text(json.dumps({"metadata": {"lpmx": {"image": name}}, "cells": []}))
        return start("bio", env={**clean_environment(), "JPY_SESSION_NAME": str(path)})

    kernel = open_with("lpmx-test/musl:latest")
    assert kernel.run("cat /etc/lpmx-image") == "musl\n"
    path.write_text("{}")
    kernel.restart()
    assert kernel.run("cat /etc/lpmx-image") == "biocontainer\n"
    kernel.end()
    assert containers(bare_jupyter) == []
    with pytest.raises(Exception, match=r"(?s)lab/gone:1: no such image.*lpmx load"):
        open_with("lab/gone:1")


def test_pip_in_a_cell_writes_to_the_container(
    bare_jupyter: Jupyter,
    start: Callable[..., Session],
    image: Callable[[str], str],
    tmp_path: Path,
) -> None:
    """As a distribution says (PEP 668) that pip must not, and the user may not write there."""
    package = tmp_path / "work" / "tiny"
    package.mkdir()
    (package / "pyproject.toml").write_text('[project]\nname = "tiny"\nversion = "1"\n')
    (package / "tiny.py").write_text("value = 7\n")
    bare_jupyter.lpmx("kernel", "install", image("demo"))
    kernel = start()
    assert kernel.value("__import__('os').environ['PIP_BREAK_SYSTEM_PACKAGES']") == "1"
    kernel.run("""
import os, sysconfig
place = sysconfig.get_path("purelib")
os.makedirs(place, exist_ok=True)
open(os.path.join(place, "tiny.py"), "w").write("value = 7")
""")
    kernel.restart()
    assert kernel.value("__import__('tiny').value") == 7


def test_magics_run_a_cell_in_another_image(
    bare_jupyter: Jupyter, image: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a plain kernel of the Python that lpmx is installed in."""
    from jupyter_client.manager import start_new_kernel

    name = image("musl")
    monkeypatch.setenv("LPMX_HOME", str(bare_jupyter.store.home))
    manager, client = start_new_kernel(kernel_name="python3")
    client.stop_channels()
    kernel = Session(manager)
    try:
        assert kernel.run("%load_ext lpmx_kernels") == ""
        assert kernel.run(f"%%lpmx {name}\ncat /etc/lpmx-image\necho $((1+1))") == "musl\n2\n"
        assert kernel.run(f"%%lpmx -e A=b {name} sed s/x//\nxyz") == "yz\n"
        assert name in kernel.run("%lpmx list")
        assert "CalledProcessError" in kernel.run(f"%%lpmx {name}\nexit 3")
        assert "no such image" in kernel.run("%%lpmx lab/gone\ntrue")
        request = kernel.start_busy(f"get_ipython().run_cell_magic('lpmx', '{name}', 'sleep 600')")
        manager.interrupt_kernel()
        assert kernel.reply(request)["ename"] == "KeyboardInterrupt"
    finally:
        kernel.end(now=True)
