"""An environment file where an image can stand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.lpmx import Completed, Lpmx

FILE = """
image: busybox:test
binds: ["./reads:/data:ro"]
env: {WORD: 1.10, HOSTS: , GONE: }
cwd: /data
command: [sh, -c, "echo default $WORD"]
"""


@pytest.fixture
def place(busybox_image: str, tmp_path: Path) -> Path:
    """A folder with an environment file beside the data it binds."""
    assert busybox_image == "busybox:test"
    (tmp_path / "reads").mkdir()
    (tmp_path / "reads" / "a.fq").write_text("@read\n")
    (tmp_path / "e.yaml").write_text(FILE)
    return tmp_path


def test_run_takes_image_binds_variables_and_directory_from_the_file(
    run_lpmx: Callable[..., Completed], place: Path
) -> None:
    script = 'pwd; cat a.fq; echo "$WORD $HOSTS ${GONE-unset}"; touch x 2>/dev/null || echo refused'
    done = run_lpmx("run", str(place / "e.yaml"), "sh", "-c", script, env={"HOSTS": "here"})
    assert done.stdout.splitlines() == ["/data", "@read", "1.10 here unset", "refused"]


def test_the_command_line_wins_over_the_file(
    run_lpmx: Callable[..., Completed], place: Path
) -> None:
    assert run_lpmx("run", str(place / "e.yaml")).stdout == "default 1.10\n"
    done = run_lpmx("run", "-e", "WORD=mine", "-w", "/", str(place / "e.yaml"), "sh", "-c",
                    "pwd; echo $WORD")  # fmt: skip
    assert done.stdout == "/\nmine\n"


def test_create_and_start_use_the_file(run_lpmx: Callable[..., Completed], place: Path) -> None:
    run_lpmx("create", "--name", "of-a-file", str(place / "e.yaml"))
    try:
        assert run_lpmx("exec", "of-a-file", "cat", "a.fq").stdout == "@read\n"
    finally:
        run_lpmx("rm", "of-a-file")


def test_a_lock_decides_what_runs(
    store: Lpmx, run_lpmx: Callable[..., Completed], place: Path
) -> None:
    store("tag", "busybox:test", "moving:1")
    (place / "e.yaml").write_text("image: moving:1\n")
    store("env", "lock", str(place / "e.yaml"))
    store("rmi", "moving:1")
    assert run_lpmx("run", str(place / "e.yaml"), "echo", "locked").stdout == "locked\n"
    lock = place / "e.lock.json"
    pins = json.loads(lock.read_text())
    pins["images"]["other:1"] = pins["images"].pop("moving:1")
    lock.write_text(json.dumps(pins))
    done = run_lpmx("run", str(place / "e.yaml"), "echo", "no", check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert "stale" in done.stderr


def test_a_mistake_in_the_file_starts_nothing(
    run_lpmx: Callable[..., Completed], place: Path
) -> None:
    (place / "e.yaml").write_text("image: busybox:test\nenvv: {A: b}\n")
    done = run_lpmx("run", str(place / "e.yaml"), "echo", "no", check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.splitlines() == [
        f"lpmx: {place}/e.yaml:2:1: unknown key 'envv'",
        "  (did you mean 'env'?)",
    ]
