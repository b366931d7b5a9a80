"""Container type `lpmx` in a running Galaxy, with runners of its own: one process a job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import galaxy as stand

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("native_local", marks=pytest.mark.full),
        pytest.param("native_slurm", marks=pytest.mark.full),
        "native_sge",  # by DRMAA
        "native_pulsar",
    ],
)
def test_job_runs_with_its_secret_off_every_command_line(galaxy, jobs, name):
    if name == "native_sge" and not stand.DRMAA.exists():
        pytest.skip(f"no {stand.DRMAA} (tests/images/prepare.sh e2e)")
    job = jobs.wait(name)
    image, secret = jobs.text(name).splitlines()
    _, key, directory = job["tool_stdout"].split()
    assert image == "bioconda"
    assert (secret, len(key) > 20) == (f"secret of {len(key)}", True)
    folder = Path(directory).parent
    lines = [path.read_text() for path in folder.rglob("*.sh")]
    assert any(" -e API_KEY " in line for line in lines)
    provenance = json.loads((folder / "lpmx_provenance.json").read_text())
    assert provenance["image"]["name"] == "lpmx-test/bioconda:latest"
    assert "API_KEY" in provenance["variables"]
    assert key not in json.dumps(provenance)
    assert not [line for line in lines for word in line.split() if word == f"API_KEY={key}"]
    metrics = galaxy.call("GET", f"jobs/{job['id']}/metrics")
    assert ("Container Type", "lpmx") in [(one["title"], one["value"]) for one in metrics]
