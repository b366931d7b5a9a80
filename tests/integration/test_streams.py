"""Input, output and locale of the caller: closed, full, broken or not set at all."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.lpmx import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.lpmx import Completed, Lpmx

# Everything that prints, and needs no container that runs
VERBS = (
    ("--help",),
    ("--version",),
    ("images",),
    ("inspect", "busybox:test"),
    ("ps", "-a"),
    ("run", "--print-plan", "busybox:test", "true"),
    ("why", "-c", "streams", "/etc/marker"),
    ("diff", "streams"),
    ("cp", "streams:/etc", "-"),
    ("kernel", "list", "--json"),
)


@pytest.fixture
def shell(store: Lpmx, busybox_image: str) -> Callable[[str], Completed]:
    """shell(SCRIPT): a shell script of the host in which $LPMX is lpmx."""
    assert busybox_image
    names = store("ps", "-a").stdout
    if "streams" not in names:
        store("create", "--name", "streams", busybox_image, "true")
        store("exec", "streams", "touch", "/new")

    def run(script: str, env: dict[str, str] | None = None) -> Completed:
        env = clean_environment(store.environment(env))
        env.pop("PYTHONUNBUFFERED", None)
        env["LPMX"] = " ".join(store.command)
        return subprocess.run(
            ["bash", "-c", script], env=env, capture_output=True, text=True, check=False
        )

    return run


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_output_that_cannot_be_written_is_one_line(
    shell: Callable[[str], Completed], words: tuple[str, ...]
) -> None:
    line = " ".join(words)
    closed = shell(f"$LPMX {line} >&-")
    assert (closed.returncode, closed.stderr) == (1, "lpmx: write error: Bad file descriptor\n")
    full = shell(f"$LPMX {line} >/dev/full")
    assert (full.returncode, full.stderr) == (1, "lpmx: write error: No space left on device\n")
    broken = shell(f"$LPMX {line} | true")
    assert (broken.returncode, broken.stderr) == (0, "")


def test_archive_that_cannot_be_written_is_one_line(shell: Callable[[str], Completed]) -> None:
    for where, reason in ((">&-", "Bad file descriptor"), (">/dev/full", "no space left")):
        done = shell(f"$LPMX save busybox:test {where}")
        assert done.returncode == 1
        assert done.stderr.startswith(f"lpmx: the archive: {reason}\n")
        assert not [line for line in done.stderr.splitlines()[1:] if not line.startswith("  (")]


def test_output_that_python_does_not_buffer_is_minded_too(
    shell: Callable[[str], Completed],
) -> None:
    full = shell("PYTHONUNBUFFERED=1 $LPMX images >/dev/full")
    assert (full.returncode, full.stderr) == (1, "lpmx: write error: No space left on device\n")


def test_program_finds_its_streams_closed_as_they_were(
    shell: Callable[[str], Completed],
) -> None:
    show = "'for n in 0 1 2; do test -e /proc/self/fd/$n && echo $n >&9; done; true'"
    for closed, rest in (
        ("<&-", "1\n2\n"),
        (">&-", "0\n2\n"),
        ("2>&-", "0\n1\n"),
        ("<&- >&-", "2\n"),
    ):
        for how in ("run busybox:test", "exec streams"):
            done = shell(f"$LPMX {how} sh -c {show} 9>&1 {closed}")
            assert (done.stdout, done.returncode) == (rest, 0), (how, closed, done.stderr)


def test_error_goes_nowhere_else_where_stderr_is_closed(shell: Callable[[str], Completed]) -> None:
    done = shell("$LPMX inspect nothing 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_input_that_is_closed_is_told(shell: Callable[[str], Completed]) -> None:
    done = shell("$LPMX load - <&-")
    assert done.returncode == 1
    assert done.stderr.startswith("lpmx: ")
    assert "Bad file descriptor" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("given", [{}, {"LANG": "C"}, {"LC_CTYPE": "C.UTF-8"}])
def test_locale_is_the_caller_s_and_not_python_s_own(
    store: Lpmx, busybox_image: str, given: dict[str, str]
) -> None:
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))
    }
    done = subprocess.run(
        [*store.command, "run", busybox_image, "env"],
        env=env | store.environment() | given,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("LC_", "LANG"))]
    assert lines == [f"{name}={value}" for name, value in given.items()]
