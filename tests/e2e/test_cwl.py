"""cwltool runs CWL documents in lpmx containers, by each of the three ways it knows."""

from __future__ import annotations

import json
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
