"""gdb inside a container: its breakpoints stop the program, however it came to be traced."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from support.lpmx import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.lpmx import Completed

pytestmark = pytest.mark.needs_ptrace

PROGRAM = r"""
#include <stdio.h>
#include <unistd.h>
static int counter = 40;
__attribute__((noinline)) int take_step(int by) { counter += by; return counter; }
int main(int argc, char **argv)
{
    puts("ready");
    fflush(stdout);
    while (argc > 1 && counter < 1000000)
        usleep(10000), take_step(1);
    return take_step(2) == 42 && argv[0] ? 7 : 8;
}
"""
KINDS = {"pie": ("-pie", "-fPIE"), "fixed": ("-no-pie",), "static": ("-static",)}
GDB = "gdb -q -batch -nx -ex 'handle SIGSYS nostop noprint pass'"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the program, linked in each way of KINDS."""
    compiler = shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler (Debian: gcc, libc6-dev)")
    folder = tmp_path_factory.mktemp("debugged")
    (folder / "step.c").write_text(PROGRAM)
    for name, options in KINDS.items():
        run([compiler, "-g", "-O0", *options, "-o", folder / name, folder / "step.c"])
    return folder


@pytest.fixture
def inside(
    programs: Path, image: Callable[[str], str], run_lpmx: Callable[..., Completed]
) -> Callable[..., str]:
    """inside(SCRIPT, options): what a shell in a container with gdb and the programs prints."""

    def call(script: str, *options: str) -> str:
        where = ("--rm", *options, "-v", f"{programs}:/programs:ro", "-w", "/programs")
        done = run_lpmx("run", *where, image("suites"), "bash", "-c", script, check=False)
        return done.stdout + done.stderr

    return call


@pytest.mark.parametrize("kind", KINDS)
def test_breakpoint_stops_a_program_that_gdb_starts(kind: str, inside: Callable[..., str]) -> None:
    told = inside(
        f"{GDB} -ex 'break take_step' -ex run -ex bt -ex 'print counter' -ex cont ./{kind}"
    )
    lines = told.splitlines()
    assert [line for line in lines if line.startswith("Breakpoint 1, take_step (by=2)")], told
    assert "$1 = 40" in lines, told
    assert "ready" in lines, told
    assert [line for line in lines if line.endswith("exited with code 07]")], told


def test_breakpoint_stops_a_program_of_an_emulated_root(inside: Callable[..., str]) -> None:
    told = inside(f"{GDB} -ex 'break take_step' -ex run ./pie", "--fakeroot")
    assert "Breakpoint 1, take_step (by=2)" in told


def test_first_stop_is_the_programs_first_instruction(inside: Callable[..., str]) -> None:
    told = inside(f"{GDB} -ex starti -ex 'print $pc == (long)&_start' -ex kill ./static")
    assert "$1 = 1" in told.splitlines(), told


@pytest.mark.parametrize("kind", KINDS)
def test_breakpoint_stops_a_program_that_gdb_attaches_to(
    kind: str, inside: Callable[..., str]
) -> None:
    attach = f"{GDB} -p $! -ex 'break take_step' -ex cont -ex bt"
    told = inside(f"coproc ./{kind} loop; read -ru ${{COPROC[0]}}; {attach}; kill $!")
    assert "Breakpoint 1, take_step (by=1)" in told
    assert " in main (" in told
