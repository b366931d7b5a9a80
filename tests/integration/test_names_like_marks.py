"""Files whose names look like the union's marks (`.wh.NAME`): the commands show and copy them."""

from __future__ import annotations

import json
import os

import pytest

MAKE = """
set -e; mkdir -p /data/.wh.dir/sub; cd /data; echo one > .wh.one; echo two > .wh.dir/.wh+two
echo three > .wh.dir/sub/.wh..wh..opq; echo four > /etc/.wh.marker; rm /etc/passwd
"""
MADE = {"/data/.wh.dir/.wh+two", "/data/.wh.dir/sub/.wh..wh..opq", "/data/.wh.one"}


@pytest.fixture(scope="module")
def box(store, busybox_image, tmp_path_factory):
    """A container with such names."""
    folder = tmp_path_factory.mktemp("box")
    store("create", "--name", "box-of-marks", busybox_image, cwd=folder)
    store("exec", "box-of-marks", "sh", "-c", MAKE, cwd=folder)
    yield "box-of-marks"
    store("rm", "box-of-marks")


def test_they_are_listed_and_hide_nothing(run_lpmx, box):
    told = run_lpmx("exec", box, "sh", "-c", "cat /etc/marker /etc/.wh.marker; find /data -type f")
    first, second, *found = told.stdout.split()
    assert (first, second, set(found)) == ("upper", "four", MADE)


def test_diff_tells_their_names(run_lpmx, box):
    lines = set(run_lpmx("diff", box).stdout.splitlines())
    assert lines >= {f"A {path}" for path in MADE} | {"A /etc/.wh.marker", "D /etc/passwd"}


def test_why_finds_them(run_lpmx, box):
    told = run_lpmx("why", "--json", "-c", box, "/data/.wh.dir/.wh+two")
    assert os.path.basename(json.loads(told.stdout)["host"]) == ".wh=+two"


def test_they_are_copied_out_and_in(run_lpmx, box, tmp_path):
    run_lpmx("cp", f"{box}:/data", tmp_path / "out")
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")}
    assert names >= {path.removeprefix("/data/") for path in MADE}
    run_lpmx("cp", tmp_path / "out", f"{box}:/copy")
    told = run_lpmx("exec", box, "find", "/copy", "-type", "f")
    assert set(told.stdout.split()) == {path.replace("/data", "/copy", 1) for path in MADE}


def test_commit_names_what_no_image_can_hold(run_lpmx, store, box):
    told = run_lpmx("commit", box, "marks:1", check=False)
    assert told.returncode == 1
    assert "/.wh.dir: no image can hold a name that begins with .wh.\n" in told.stderr
    assert "rename or remove it" in told.stderr
    assert "marks:1" not in store("images").stdout
