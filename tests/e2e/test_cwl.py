"""cwltool runs CWL documents in lpmx containers, by each of the three ways it knows.

LPMX_CWL_SUITE=FOLDER names a checkout of common-workflow-language/cwl-v1.2, whose conformance tests
are in no package: then they are run too, as an ordinary user.
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from cwl_tools import CASES
from support.lpmx import run

WAYS = {
    "docker": [],
    "singularity": ["--singularity"],
    "user-space": ["--user-space-docker-cmd=lpmx-docker"],
}


@pytest.fixture(scope="session")
def cwl(workflow_environ, image):
    """cwl(folder, way, case): what cwltool says of the outputs of a case of cwl_tools.py."""
    names = {"IMAGE": image("demo"), "ENTRY": image("bioconda")}

    def call(folder, way, case):
        document, job, _ = CASES[case]
        text = json.dumps(document)
        for word, name in names.items():
            text = text.replace(word, name)
        (folder / "tool.cwl").write_text(text)
        (folder / "job.json").write_text(json.dumps(job))
        (folder / "letters.txt").write_text("c\na\nb\n")
        (folder / "letters.txt.idx").write_text("index\n")
        (folder / "folder").mkdir()
        for name in ("one", "two"):
            (folder / "folder" / name).write_text(f"{name}\n")
        words = ["nice", "cwltool", "--outdir", "out", *WAYS[way], "tool.cwl", "job.json"]
        done = run(
            words, env={**workflow_environ, "ONLY_OF_THE_HOST": "x"}, cwd=folder, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)["out"]

    return call


# cwltool tells a user-space docker command nothing of what is to be read-only.
UNSAID = ("user-space", "staged file is read-only")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("way", "case"), [(way, case) for way in WAYS for case in CASES if (way, case) != UNSAID]
)
def test_document_gives_what_it_must(cwl, tmp_path, way, case):
    out = cwl(tmp_path, way, case)
    assert Path(out["path"]).read_text() == CASES[case][2]


SUITE = os.environ.get("LPMX_CWL_SUITE", "")
IN_SUITE = 378  # tests of CWL 1.2.1
# With an image for all that names none, no tool runs outside a container.
EVERYWHERE = "--default-container=docker.io/python:3-slim"
MAY_FAIL = {"networkaccess"}  # reads a page of the internet


@pytest.mark.skipif(not SUITE, reason="LPMX_CWL_SUITE names no checkout of the suite of CWL 1.2")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("which", ["as written", "all in containers"])
def test_conformance_suite(which, ordinary_user, user_workflow_environ, galaxy_home, tmp_path):
    options = ["--relax-path-checks", "--user-space-docker-cmd=lpmx-docker"]
    options += [EVERYWHERE] if which == "all in containers" else []
    results = galaxy_home / "cwl.xml"
    results.unlink(missing_ok=True)
    given = [f"{name}={value}" for name, value in user_workflow_environ.items()]
    words = [
        *ordinary_user.prefix, "env", *given, "nice", "cwltest", f"-j{os.cpu_count()}",
        "--test", f"{SUITE}/conformance_tests.yaml", "--junit-xml", results,
        "--tool", "cwltool", "--", *options,
    ]  # fmt: skip
    done = run(words, cwd=tmp_path, check=False, timeout=7000)
    assert results.exists(), done.stderr[-3000:]
    cases = {case.get("file"): case for case in ET.parse(results).iter("testcase")}
    assert len(cases) == IN_SUITE, done.stderr[-3000:]
    failed = {name for name, case in cases.items() if case.find("failure") is not None}
    assert failed <= MAY_FAIL, done.stderr[-6000:]
