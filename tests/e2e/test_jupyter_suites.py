"""The test suites of Jupyter's own projects, unchanged, with every kernel started by our
provisioner (JUPYTER_DEFAULT_PROVISIONER_NAME): whatever fails has to fail without it too.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.jupyter_venv import JupyterVenv, jupyter_venv, sdist
from support.lpmx import clean_environment

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOP_SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")
NO_ASYNCIO = ("-p", "no:asyncio")
DEADLINE = 1500


@dataclass(frozen=True)
class Suite:
    """What of a project's tests is run, and how many kernels that starts at least."""

    tests: tuple[str, ...]
    options: tuple[str, ...]
    kernels: int


SUITES = {
    "jupyter_client": Suite(
        tuple(
            f"tests/test_{name}.py"
            for name in (
                "kernelmanager", "restarter", "client", "multikernelmanager", "kernelapp", "runapp",
            )
        ),
        NO_ASYNCIO,
        100,
    ),
    "nbclient": Suite(("tests",), LOOP_SCOPE, 50),
    "jupyter_server": Suite(("tests/services/kernels", "tests/services/sessions"), NO_ASYNCIO, 80),
    "ipykernel": Suite(("tests",), LOOP_SCOPE, 40),
}  # fmt: skip


# They ask for tcp, and that a kernel's address is one of tcp.
OF_TCP = {
    "tests.test_multikernelmanager.TestKernelManager::test_tcp_cinfo",
    "tests.test_multikernelmanager.TestAsyncKernelManager::test_tcp_cinfo",
    "tests.test_curve::test_curve_unauthenticated_socket_messages_dropped",
    "tests.test_curve::test_curve_authenticated_socket_can_communicate",
}


@dataclass(frozen=True)
class Result:
    """How one run ended."""

    passed: int
    failed: frozenset[str]
    kernels: int
    text: str


@pytest.fixture(scope="module")
def lab() -> JupyterVenv:
    return jupyter_venv()


def run(lab: JupyterVenv, sources: Path, suite: Suite, folder: Path, **environment: str) -> Result:
    """Run a suite; @environment says which provisioner and which transport."""
    folder.mkdir()
    report, count = folder / "report.xml", folder / "count"
    env = {
        **clean_environment(),
        "PATH": f"{lab.folder}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parent),
        "COUNT_KERNELS_FILE": str(count),
        "HOME": str(folder),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        **environment,
    }
    command: Sequence[str | Path] = [
        lab.python, "-m", "pytest", "-q", "-p", "count_kernels", "-p", "no:cacheprovider",
        *suite.options, f"--junitxml={report}", "--timeout=120", *suite.tests,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=sources, env=env, capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    assert report.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    cases = list(ET.parse(report).iter("testcase"))
    bad = {c for c in cases if c.find("failure") is not None or c.find("error") is not None}
    skipped = [c for c in cases if c.find("skipped") is not None]
    return Result(
        len(cases) - len(bad) - len(skipped),
        frozenset(f"{c.get('classname')}::{c.get('name')}" for c in bad),
        int(count.read_text()),
        done.stdout[-6000:],
    )


@pytest.mark.timeout(2 * DEADLINE)
@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("project", SUITES)
def test_suite_fails_nowhere_where_plain_kernels_do_not(
    lab: JupyterVenv, tmp_path: Path, project: str, transport: str
) -> None:
    suite = SUITES[project]
    sources = sdist(lab, project, tmp_path)
    ours = run(
        lab, sources, suite, tmp_path / "ours",
        JUPYTER_DEFAULT_PROVISIONER_NAME="lpmx-provisioner", LPMX_KERNEL_TRANSPORT=transport,
    )  # fmt: skip
    print(f"{project} {transport}: {ours.passed} passed, {len(ours.failed)} failed,"
          f" {ours.kernels} kernels", file=sys.stderr)  # fmt: skip
    assert ours.kernels >= suite.kernels
    if transport == "ipc":
        ours = replace(ours, failed=ours.failed - OF_TCP)
    if ours.failed:  # one that passes when it is run again is not ours to blame
        again = run(
            lab, sources, suite, tmp_path / "again",
            JUPYTER_DEFAULT_PROVISIONER_NAME="lpmx-provisioner", LPMX_KERNEL_TRANSPORT=transport,
        )  # fmt: skip
        ours = replace(ours, failed=ours.failed & again.failed)
    if ours.failed:
        plain = run(lab, sources, suite, tmp_path / "plain")
        assert plain.kernels == 0
        assert ours.failed <= plain.failed, ours.text
