"""Programs with habits that few have (images/programs/odd.c), with each libc: what is under them
must not show."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from support.lpmx import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.lpmx import Completed, Lpmx

HABITS = (
    "block-all", "least-signal-stack", "signal-stacks-of-threads", "longjmp",
    "longjmp-signal-stack", "storm", "vfork-in-threads", "cancel-open", "least-thread-stacks",
    "coroutines", "registers", "entry", "own-trap-filter", "close-all", "no-descriptor-left",
    "empty-environment", "small-stack",
    "removed-directory",
)  # fmt: skip
LIBCS = {"glibc": "", "static": "-static", "musl": "-musl"}
# musl looks whether the interrupted instruction is its own: see docs/limits.md, Signals; it has no
# makecontext
NOT_WITH_MUSL = {"cancel-open", "coroutines"}
CASES = [(habit, libc) for habit in HABITS for libc in LIBCS]


@pytest.mark.parametrize(
    ("habit", "libc"),
    [case for case in CASES if case[1] != "musl" or case[0] not in NOT_WITH_MUSL],
)
def test_habit_is_served(
    habit: str, libc: str, image: Callable[[str], str], run_lpmx: Callable[..., Completed]
) -> None:
    program = f"/probes/odd{LIBCS[libc]}"
    done = run_lpmx("run", "-w", "/srv", image("c-probes"), program, habit, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ok\n")


@pytest.mark.parametrize("libc", LIBCS)
@pytest.mark.parametrize(
    "edge",
    ["bad-pointers", "listings", pytest.param("traced-vfork", marks=pytest.mark.needs_ptrace)],
)
def test_edge_is_as_the_kernels(
    edge: str, libc: str, image: Callable[[str], str], run_lpmx: Callable[..., Completed]
) -> None:
    program = f"/probes/edges{LIBCS[libc]}"
    done = run_lpmx("run", "-w", "/srv", image("c-probes"), program, edge, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ok\n")


def test_listing_does_not_tell_the_type_of_what_a_bind_covers(
    image: Callable[[str], str], run_lpmx: Callable[..., Completed], tmp_path: Path
) -> None:
    """A file bound over a symlink of the image: `cp -a` and shutil believed the listing."""
    (tmp_path / "file").write_text("bound")
    bind = f"{tmp_path}/file:/etc/os-release"
    find = "find /etc -maxdepth 1 -name os-release -type f"
    script = f"{find}; cp -a /etc /srv/copy; cat /srv/copy/os-release"
    done = run_lpmx("run", "-v", bind, image("c-probes"), "sh", "-c", script)
    assert done.stdout == "/etc/os-release\nbound"


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("habit", ["longjmp", "vfork-in-threads", "close-all"])
def test_habit_is_served_under_strace(
    habit: str, image: Callable[[str], str], store: Lpmx, tmp_path: Path
) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed (tests/images/prepare.sh test)")
    words = ["strace", "-f", "-qq", "-o", tmp_path / "trace", *store.command, "run", "-w", "/srv"]
    done = run(
        [*words, image("c-probes"), "/probes/odd", habit], env=store.environment(), check=False
    )
    assert (done.returncode, done.stdout) == (0, "ok\n")
    assert "SIGSYS" in (tmp_path / "trace").read_text(errors="replace")


@pytest.mark.long
@pytest.mark.needs_ptrace
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "command",
    [
        "strace -f -o /tmp/trace /bin/sh -c 'ls /usr > /dev/null; echo ok'",
        # gdb starts its shell by vfork: the child is traced from its execve on
        (
            "gdb -q -batch -ex 'handle SIGSYS nostop noprint pass' -ex run"
            " --args /bin/sh -c 'ls /usr > /dev/null; echo ok'"
        ),
    ],
    ids=["strace", "gdb"],
)
def test_tracer_runs_inside(
    command: str, image: Callable[[str], str], run_lpmx: Callable[..., Completed]
) -> None:
    done = run_lpmx("run", image("suites"), "bash", "-c", command)
    assert "ok" in done.stdout.splitlines(), done.stdout + done.stderr
