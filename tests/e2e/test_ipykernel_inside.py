"""ipykernel's own test suite, unchanged, inside a container: debugger, subshells, interrupts, io.

All that it reads, writes and starts is in the union. What passes in a plain chroot of the same tree
has to pass here. (test_jupyter_suites.py runs it outside, with its kernels in our provisioner.)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from images import build
from support.jupyter_venv import JupyterVenv, jupyter_venv, sdist
from support.plaintree import Chroot, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from support.lpmx import Completed, Lpmx

DEADLINE = 1500
BASE = "python-bookworm"
PLACE = "/suites"
RUN = f"""
mkdir -p /srv/home && cd {PLACE}/ipykernel && export HOME=/srv/home PYTHONPATH={PLACE}/site
python3 -m pytest -q -p no:cacheprovider -o asyncio_default_fixture_loop_scope=function \\
    --junitxml=/srv/report.xml --timeout=120 tests > /srv/log 2>&1 || tail -n 40 /srv/log >&2
cat /srv/report.xml
"""
AT_LEAST = 200
TOOLS = (
    "flaky", "ipyparallel", "pytest<10", "pytest-asyncio", "pytest-cov", "pytest-timeout", "trio",
)  # fmt: skip

pytestmark = [pytest.mark.long, pytest.mark.timeout(3 * DEADLINE), pytest.mark.needs_root]


@dataclass(frozen=True)
class Outcome:
    """What became of every test."""

    cases: Mapping[str, str]

    @classmethod
    def of(cls, done: Completed) -> Outcome:
        """Out of the report that a run prints."""
        assert done.stdout.lstrip().startswith("<?xml"), done.stderr[-3000:] + done.stdout[-1000:]
        cases = {}
        for case in ET.fromstring(done.stdout).iter("testcase"):
            kinds = {child.tag for child in case}
            name = f"{case.get('classname')}::{case.get('name')}"
            bad = "failed" if kinds & {"failure", "error"} else ""
            cases[name] = bad or ("skipped" if "skipped" in kinds else "passed")
        return cls(cases)

    def names(self, how: str) -> set[str]:
        return {name for name, became in self.cases.items() if became == how}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder with the suite, and in `site` all that it imports."""
    lab: JupyterVenv = jupyter_venv()
    folder = tmp_path / "suites"
    folder.mkdir()
    sdist(lab, "ipykernel", tmp_path).rename(folder / "ipykernel")
    version = lab.version("ipykernel")
    # The Python of the image is of the same minor version: the same wheels.
    command = [lab.python, "-m", "pip", "-q", "install", "--target", folder / "site",
               f"ipykernel=={version}", *TOOLS]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the image's Python is 3.11")
def test_suite_passes_inside_what_passes_in_a_plain_chroot(
    suite: Path, tmp_path: Path, store: Lpmx, image: Callable[[str], str]
) -> None:
    plain_folder = tmp_path / "plain"
    plain_folder.mkdir()
    tree = unpack(build.archive(BASE), plain_folder)
    shutil.copytree(suite, tree / "suites", symlinks=True)
    plain = Outcome.of(Chroot(tree, plain_folder)("sh", "-c", RUN, timeout=DEADLINE))
    shutil.rmtree(plain_folder)

    store("create", "--name", "suite", image(BASE), "true")
    store("cp", suite, f"suite:{PLACE}")
    store("commit", "suite", "lpmx-test/ipykernel-suite")
    store("rm", "suite")
    ours = Outcome.of(
        store("run", "lpmx-test/ipykernel-suite", "sh", "-c", RUN, check=False, timeout=DEADLINE)
    )
    for name, outcome in (("chroot", plain), ("container", ours)):
        counts = {how: len(outcome.names(how)) for how in ("passed", "failed", "skipped")}
        print(f"ipykernel in a {name}: {counts} {sorted(outcome.names('failed'))}", file=sys.stderr)
    assert len(ours.names("passed")) >= AT_LEAST
    assert plain.names("passed") - ours.names("passed") == set()
