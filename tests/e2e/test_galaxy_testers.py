"""The programs that test Galaxy tools are content with tools that run in lpmx containers."""

from __future__ import annotations

import json
import os

import pytest
from support import galaxy as stand
from support.lpmx import run

pytestmark = pytest.mark.timeout(1800)
PLANEMO = "planemo==0.75.47"


def test_galaxys_own_tool_tester_is_content(galaxy, tmp_path):
    program = stand.environment() / "bin" / "galaxy-tool-test"
    report = tmp_path / "report.json"
    done = run(
        ["nice", program, "-u", galaxy.url, "-k", galaxy.key, "-a", stand.BOOTSTRAP, "-t", "tested",
         "-j", report],
        cwd=tmp_path, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads(report.read_text())["tests"][0]["data"]["status"] == "success"


def test_planemo_is_content(galaxy, tmp_path):
    program = stand.pip_environment(PLANEMO.replace("==", "-"), (PLANEMO,)) / "bin" / "planemo"
    tool = tmp_path / "tested.xml"
    tool.write_text((galaxy.data / "tools" / "tested.xml").read_text())
    (tmp_path / "test-data").mkdir()
    report = tmp_path / "report.json"
    done = run(
        ["nice", program, "--directory", tmp_path / "planemo", "test",
         "--engine", "external_galaxy", "--galaxy_url", galaxy.url,
         "--galaxy_admin_key", galaxy.key, "--galaxy_user_key",
         galaxy.key, "--test_output_json", report, "--test_output", tmp_path / "report.html", tool],
        cwd=tmp_path, check=False, timeout=900, env={"HOME": os.fspath(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (test,) = json.loads(report.read_text())["tests"]
    assert (test["id"].partition("-")[0], test["data"]["status"]) == ("tested", "success")
