"""A kernel for every Python and R that Debian has, and for a Python on musl."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from images.kernels import PYTHONS
from support.jupyter import Jupyter, Session, containers, start_session, wait_until
from support.kernel_suite import PythonKernel, RKernel, describe, run_suite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.lpmx import Lpmx

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

VERSIONS = {
    "bullseye": r"3\.9\.", "bookworm": r"3\.11\.", "trixie": r"3\.13\.", "sid": r"3\.1[3-9]\.",
}  # fmt: skip
SUITE = 12  # tests that jupyter_kernel_test has


@pytest.fixture
def jupyter(tmp_path: Path, store: Lpmx, monkeypatch: pytest.MonkeyPatch) -> Jupyter:
    """A Jupyter without kernels."""
    own = Jupyter(tmp_path / "jupyter", store)
    for name, value in own.environment.items():
        monkeypatch.setenv(name, value)
    (own.folder / "runtime").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return own


@pytest.fixture
def start(jupyter: Jupyter) -> Iterator[Callable[[str], Session]]:
    """start(name): a session with a new kernel of that name."""
    sessions: list[Session] = []

    def make(name: str) -> Session:
        sessions.append(start_session(jupyter, name))
        return sessions[-1]

    yield make
    for session in sessions:
        session.end(now=True)


@pytest.mark.parametrize("own", [True, False], ids=["own", "payload"])
@pytest.mark.parametrize("release", PYTHONS)
def test_pythons_of_debian(
    jupyter: Jupyter,
    start: Callable[[str], Session],
    image: Callable[[str], str],
    release: str,
    own: bool,
) -> None:
    name = image(f"ipykernel-{release}" if own else f"python-{release}")
    if not own:
        jupyter.store("kernel", "payload", "build", name)
    done = jupyter.lpmx("kernel", "install", name, "--name", "k")
    assert f"kernel     {'ipykernel' if own else 'payload'}: " in done.stdout, done.stdout
    kernel = start("k")
    assert re.match(VERSIONS[release], kernel.value("__import__('platform').python_version()"))
    where = kernel.value("__import__('ipykernel').__file__")
    assert where.startswith("/usr/lib/python3/" if own else "/run/lpmx-kernel/site/")
    interrupt_and_restart(kernel)
    kernel.end()
    result = run_suite(PythonKernel, "k")
    assert result.wasSuccessful(), describe(result)
    assert (result.testsRun, result.skipped) == (SUITE, [])
    assert containers(jupyter) == []


def interrupt_and_restart(kernel: Session) -> None:
    """Interrupt a cell and a program of a cell, and restart."""
    request = kernel.start_busy("import time; time.sleep(600)")
    kernel.manager.interrupt_kernel()
    assert kernel.reply(request)["ename"] == "KeyboardInterrupt"
    request = kernel.start_busy("__import__('subprocess').call(['sleep', '600'])")
    kernel.manager.interrupt_kernel()
    assert kernel.reply(request)["ename"] == "KeyboardInterrupt"
    kernel.restart()
    assert kernel.value("6 * 7") == 42


class MuslKernel(PythonKernel):
    """Its image has no Debian's files."""

    completion_samples: ClassVar[list[dict[str, Any]]] = [
        {"text": "zi", "matches": {"zip"}},
        {"text": "open('/etc/lpmx-im", "matches": {"/etc/lpmx-image"}},
    ]


FILES = "sorted({line.split()[-1] for line in open('/proc/self/maps') if '.so' in line})"


def fetch_wheels(folder: Path, version: str, *packages: str) -> None:
    """Bring wheels for a Python on musl, as somebody with a network does for one without."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--dest", str(folder)]
    command += ["--only-binary", ":all:", "--python-version", version]
    command += ["--platform", "musllinux_1_2_x86_64", "--platform", "musllinux_1_1_x86_64"]
    subprocess.run([*command, *packages], check=True)


def try_musl_kernel(
    jupyter: Jupyter, start: Callable[[str], Session], image: str, python: str, payload: str
) -> None:
    """Install what a payload has been built for, and use it."""
    done = jupyter.lpmx("kernel", "install", image, "--name", "k")
    assert f" of payload {payload}-" in done.stdout, done.stdout
    assert f": /usr/local/bin/python3 (Python {python}, musl 1.2." in done.stdout, done.stdout
    kernel = start("k")
    files = kernel.value(FILES)
    libc = [each for each in files if "/ld-" in each or "/libc." in each]
    assert libc == ["/lib/ld-musl-x86_64.so.1"]
    assert [each for each in files if each.startswith("/run/lpmx-kernel/site/zmq/")], files
    assert kernel.value("__import__('ctypes').CDLL(None).abs(-42)") == 42
    interrupt_and_restart(kernel)
    kernel.end()
    result = run_suite(MuslKernel, "k")
    assert result.wasSuccessful(), describe(result)
    assert (result.testsRun, result.skipped) == (SUITE, [])
    assert containers(jupyter) == []


def test_python_on_musl(
    jupyter: Jupyter,
    start: Callable[[str], Session],
    image: Callable[[str], str],
    tmp_path: Path,
) -> None:
    """It has no ssl, so the wheels come from a folder, as at a site without network."""
    name = image("python3.11-musl")
    fetch_wheels(tmp_path / "wheels", "3.11", "pip", "ipykernel>=6")
    jupyter.store("kernel", "payload", "build", name, "--wheels", str(tmp_path / "wheels"))
    try_musl_kernel(jupyter, start, name, "3.11.2", "cp311-musl1.2.4-x86_64")


def test_python_on_a_musl_that_knows_no_packed_relocations(
    jupyter: Jupyter,
    start: Callable[[str], Session],
    image: Callable[[str], str],
    tmp_path: Path,
) -> None:
    """Newer wheels of pyzmq have them whatever their tag says; older ones do."""
    name = image("python3.9-musl")
    wheels = tmp_path / "wheels"
    build = ["kernel", "payload", "build", name]
    # pip asks the Python that it runs in what `python_version < "3.10"` is
    fetch_wheels(
        wheels, "3.9", "pip", "ipykernel>=6", "typing-extensions", "exceptiongroup",
        "importlib-metadata",
    )  # fmt: skip
    refused = jupyter.store(*build, "--wheels", str(wheels), check=False)
    assert refused.returncode != 0
    assert "payload for cp39, musl 1.2.3, x86_64: its wheels need musl 1.2.4" in refused.stderr
    assert f"build {name} 'pyzmq<26' --wheels {wheels}`" in refused.stderr
    fetch_wheels(wheels, "3.9", "ipykernel>=6", "pyzmq<26")
    jupyter.store(*build, "pyzmq<26", "--wheels", str(wheels))
    try_musl_kernel(jupyter, start, name, "3.9.2", "cp39-musl1.2-x86_64")


def test_irkernel_of_debian(
    jupyter: Jupyter, start: Callable[[str], Session], image: Callable[[str], str]
) -> None:
    done = jupyter.lpmx("kernel", "install", image("irkernel"), "--name", "k", "--kernel", "ir")
    assert "kernel     ir: its own IRkernel" in done.stdout, done.stdout
    kernel = start("k")
    assert kernel.run("cat(readLines('/etc/lpmx-image'))") == "tools"
    request = kernel.client.execute("cat('it runs'); flush.console(); Sys.sleep(600)")
    while kernel.client.get_iopub_msg(timeout=60)["msg_type"] != "stream":
        pass
    kernel.manager.interrupt_kernel()
    assert kernel.reply(request)["status"] == "abort"
    # IRkernel drops the requests that come while it aborts.
    wait_until(lambda: is_answered(kernel), "the next cell")
    assert kernel.run("cat(system('echo from a program', intern = TRUE))") == "from a program"
    kernel.restart()
    assert kernel.run("cat(6 * 7)") == "42"
    kernel.end()
    result = run_suite(RKernel, "k")
    assert result.wasSuccessful(), describe(result)
    assert result.testsRun == SUITE
    assert containers(jupyter) == []


def is_answered(kernel: Session) -> bool:
    reply = kernel.client.execute("1", silent=True, reply=True, timeout=60)
    return bool(reply["content"]["status"] == "ok")
