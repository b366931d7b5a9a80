"""Environment files and archives of strangers are looked at, locked and loaded: nothing runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support import busybox

if TYPE_CHECKING:
    from pathlib import Path

    from support.lpmx import Lpmx

# Everything in a file that leads to the host, or to programs of the host being asked
ENVIRONMENT = """
image: busybox:test
include: [other.yaml]
binds: ["{folder}:/host", "~:/home/me"]
env: {{LD_PRELOAD: "{folder}/evil.so", SECRET: }}
entrypoint: ["{folder}/evil"]
command: ["{folder}/evil"]
batch: auto
commands:
  evil: host:{folder}/evil
  evil2: {{host: evil, pass: ["SECRET"], paths: true}}
  /bin/ls: host:{folder}/evil
  inner: {{environment: other.yaml, command: evil}}
kernel: {{language: python, argv: ["{folder}/evil", "{{connection_file}}"]}}
"""
OTHER = "image: busybox:test\ncommands: {{evil: 'host:{folder}/evil'}}\n"
PROGRAMS = (
    "evil", "qsub", "sbatch", "bsub", "sinfo", "qstat", "nvidia-smi", "rocm-smi", "tar", "gzip",
    "zstd", "skopeo", "unsquashfs", "git", "sh", "python3", "nvidia-container-cli",
)  # fmt: skip


@pytest.fixture
def clone(tmp_path: Path, empty_store: Lpmx, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from anywhere, with the store beside it; what is run leaves a proof."""
    if not busybox.available():
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    folder = tmp_path / "clone"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\necho $0 >> {tmp_path}/PROOF\n")
        (folder / name).chmod(0o755)
    (folder / "lab.yaml").write_text(ENVIRONMENT.format(folder=folder))
    (folder / "other.yaml").write_text(OTHER.format(folder=folder))
    busybox.write_archive(
        folder / "image.tar",
        config={
            "Entrypoint": [f"{folder}/evil"],
            "Env": [f"PATH={folder}:/bin", f"LD_PRELOAD={folder}/evil.so", "ENV=/evil"],
            "OnBuild": [f"RUN {folder}/evil"],
            "Healthcheck": {"Test": ["CMD", f"{folder}/evil"], "Interval": 1},
        },
    )
    monkeypatch.chdir(folder)
    # Where one stands is on the PATH of some; that is their choice, so only its programs are here
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{folder}")
    monkeypatch.setenv("SECRET", "of-the-user")
    return folder


def test_loading_and_looking_at_an_image_runs_nothing(
    clone: Path, empty_store: Lpmx, tmp_path: Path
) -> None:
    empty_store("load", clone / "image.tar")
    for words in (
        ("images",),
        ("inspect", "busybox:test"),
        ("run", "--print-plan", "busybox:test"),
    ):
        empty_store(*words)
    empty_store("save", "-o", tmp_path / "again.tar", "busybox:test")
    assert not (tmp_path / "PROOF").exists()


def test_checking_and_locking_an_environment_runs_nothing(
    clone: Path, empty_store: Lpmx, tmp_path: Path
) -> None:
    empty_store("load", "-q", clone / "image.tar")
    before = sorted(os.listdir(clone))
    said = ""
    for action in ("check", "show"):
        done = empty_store("env", action, "lab.yaml")
        said += done.stdout + done.stderr
    assert f"{clone}/evil" in said  # what it would run is to be seen
    assert sorted(os.listdir(clone)) == before
    for action in ("lock", "build"):
        empty_store("env", action, "lab.yaml")
    assert sorted(set(os.listdir(clone)) - set(before)) == ["lab.lock.json"]
    assert not (tmp_path / "PROOF").exists()
    assert empty_store("ps", "-aq").stdout == ""
    # Agreed: now the file counts
    empty_store("run", "--entrypoint", "", "lab.yaml", "/bin/ls", check=False)
    assert (tmp_path / "PROOF").exists()
