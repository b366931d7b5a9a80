"""Kernels of environments: cells that call programs of other images and of the host."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.jupyter import Jupyter, Session, containers, wait_until

from lpmx_kernels.life import processes

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENT = """
image: {demo}
env: {{FROM_FILE: "yes"}}
commands:
  greet: {{image: {bio}, path: /usr/local/bin/greet}}
  hostname: host
  naptime: host:{sleep}
kernel:
  name: composed
  display_name: Composed
  env: {{OF_KERNEL: "1"}}
"""


@pytest.fixture
def environment(tmp_path: Path, image: Callable[[str], str]) -> Path:
    sleep = tmp_path / "naptime"
    sleep.write_text("#!/bin/sh\necho dozing; exec sleep 600\n")
    sleep.chmod(0o755)
    file = tmp_path / "lab.yaml"
    file.write_text(ENVIRONMENT.format(demo=image("demo"), bio=image("biocontainer"), sleep=sleep))
    return file


@pytest.fixture
def kernel(bare_jupyter: Jupyter, start: Callable[..., Session], environment: Path) -> Session:
    done = bare_jupyter.lpmx("kernel", "install", str(environment))
    assert "kernel composed installed" in done.stdout
    assert "shown as   Composed" in done.stdout
    return start("composed")


def test_cells_call_other_images_and_the_host(kernel: Session) -> None:
    assert kernel.value("open('/etc/lpmx-image').read()") == "demo\n"
    assert kernel.value("__import__('os').environ['FROM_FILE']") == "yes"
    assert kernel.value("__import__('os').environ['OF_KERNEL']") == "1"
    run = "__import__('subprocess').run({}, capture_output=True, text=True).stdout"
    assert "biocontainer" in kernel.value(run.format(["greet"]))
    assert kernel.value(run.format(["hostname"])).strip() == os.uname().nodename
    assert "biocontainer" in kernel.run("!greet | cat")


def test_interrupt_stops_a_command_of_the_host(kernel: Session) -> None:
    request = kernel.start_busy("import subprocess; subprocess.run(['naptime'])")
    wait_until(_is_asleep, "the host's command runs")
    kernel.manager.interrupt_kernel()
    assert kernel.reply(request)["ename"] == "KeyboardInterrupt"
    wait_until(lambda: not _is_asleep(), "the host's command is gone")
    assert kernel.value("1+1") == 2


def test_end_of_the_kernel_ends_the_hosts_commands_too(
    bare_jupyter: Jupyter, kernel: Session
) -> None:
    kernel.run("import subprocess; p = subprocess.Popen(['naptime'])")
    wait_until(_is_asleep, "the host's command runs")
    kernel.end()
    wait_until(lambda: not _is_asleep(), "the host's command is gone")
    assert processes.find(kernel.marker) == []
    assert containers(bare_jupyter) == []


def test_map_of_the_command_line_and_a_shell_kernel(
    bare_jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str]
) -> None:
    words = ("-m", f"py=host:{sys.executable}", "-m", f"demo-cat=image:{image('demo')}:/bin/cat")
    bare_jupyter.lpmx("kernel", "install", image("musl"), "--name", "musl", *words)
    kernel = start("musl")
    assert kernel.run("py -c 'print(6 * 7)'") == "42\n"
    assert kernel.run("demo-cat /etc/lpmx-image; cat /etc/lpmx-image") == "demo\nmusl\n"
    refused = bare_jupyter.lpmx(
        "kernel", "install", image("musl"), "--name", "x", "-m", "nonsense", check=False
    )
    assert refused.returncode == 2
    assert "nonsense" in refused.stderr


@pytest.mark.parametrize("own", [True, False], ids=["own ipykernel", "payload"])
def test_magics_reach_the_hosts_lpmx(
    bare_jupyter: Jupyter,
    start: Callable[..., Session],
    image: Callable[[str], str],
    payload_image: str,
    monkeypatch: pytest.MonkeyPatch,
    own: bool,
) -> None:
    monkeypatch.setenv("LPMX_HOME", str(bare_jupyter.store.home))
    mapping = f"lpmx=host:{bare_jupyter.store.command[0]}"
    name, kernels = image("musl"), image("demo") if own else payload_image
    bare_jupyter.lpmx("kernel", "install", kernels, "--name", "tools", "-m", mapping)
    kernel = start("tools")
    assert kernel.run("%load_ext lpmx_kernels") == ""
    assert kernel.run(f"%%lpmx {name}\ncat /etc/lpmx-image") == "musl\n"
    assert kernel.value("open('/etc/lpmx-image').read()") == ("demo\n" if own else "tools\n")


def test_magics_are_on_the_path_of_the_kernel_alone(
    bare_jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str]
) -> None:
    bare_jupyter.lpmx("kernel", "install", image("demo"), "--name", "demo")
    kernel = start("demo")
    assert kernel.value("__import__('sys').path")[-1].startswith("/run/lpmx-kernel/")
    assert kernel.value("__import__('ipykernel').__file__").startswith("/usr/lib/python3/")
    child = "__import__('subprocess').run(['python3', '-c', 'import lpmx_kernels'], "
    found = kernel.value(child + "capture_output=True, text=True).stderr")
    assert "No module named 'lpmx_kernels'" in found
    assert "Read-only file system" in kernel.run("open('/run/lpmx-kernel/own.py', 'w')")
    assert kernel.value("__import__('sys').argv[0]").endswith(".py")


def test_doctor_and_list_know_environments(bare_jupyter: Jupyter, environment: Path) -> None:
    bare_jupyter.lpmx("kernel", "install", str(environment), "--name", "other")
    assert "1+1 = 2" in bare_jupyter.lpmx("kernel", "doctor", "other").stdout
    assert str(environment) in bare_jupyter.lpmx("kernel", "list").stdout
    environment.write_text("image: lab/gone:1\n")
    examined = bare_jupyter.lpmx("kernel", "doctor", "other", check=False)
    assert "(x) image" in examined.stdout
    assert "lab/gone:1" in examined.stdout


def _is_asleep() -> bool:
    """Does a `sleep 600` of this test run? By where it stands."""
    me = os.getuid()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            own = os.stat(f"/proc/{pid}").st_uid == me
            cwd = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if own and words[:2] == [b"sleep", b"600"] and cwd == os.getcwd():
            return True
    return False
