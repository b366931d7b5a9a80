"""A kernel for every Python and R that Debian has: its own ipykernel, a payload, IRkernel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

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
    request = kernel.start_busy("import time; time.sleep(600)")
    kernel.manager.interrupt_kernel()
    assert kernel.reply(request)["ename"] == "KeyboardInterrupt"
    request = kernel.start_busy("__import__('subprocess').call(['sleep', '600'])")
    kernel.manager.interrupt_kernel()
    assert kernel.reply(request)["ename"] == "KeyboardInterrupt"
    kernel.restart()
    assert kernel.value("6 * 7") == 42
    kernel.end()
    result = run_suite(PythonKernel, "k")
    assert result.wasSuccessful(), describe(result)
    assert (result.testsRun, result.skipped) == (SUITE, [])
    assert containers(jupyter) == []


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
