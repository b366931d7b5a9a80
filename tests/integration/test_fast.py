"""The fast path: what could go wrong where a call enters the engine by a jump instead of a signal.

The program is tests/images/programs/fastpath.c, one mode a hazard. Every mode also runs with
the engine that only traps, and with the one that rewrites each call site at once.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.lpmx import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.lpmx import Completed, Lpmx

SOURCE = Path(__file__).parents[1] / "images" / "programs" / "fastpath.c"
ENGINES = ("fast", "trap", "eager")
MODES = ("reentrant", "longjmps", "forks", "vforks", "cancels", "changes")
MEMORY = 1024  # KiB
SIGNALS = 60
# Other threads make calls without end, so that one of them is about to change its mask when the
# main one, asleep, is woken. Without care one signal of five goes to them and the sleep goes on.
SLEEPER = """
import os, signal, sys, threading, time
reader, writer = os.pipe()
main = os.getpid()
if not os.fork():
    os.close(writer)
    while os.read(reader, 1):
        time.sleep(0.01)
        os.kill(main, signal.SIGUSR1)
    os._exit(0)
os.close(reader)
open('/srv/file', 'w').close()
class Rung(Exception): pass
def ring(*_): raise Rung
signal.signal(signal.SIGUSR1, ring)
def work():
    while True: os.stat('/srv/file')
for _ in range(3): threading.Thread(target=work, daemon=True).start()
slept = 0
for _ in range(int(sys.argv[1])):
    begin = time.monotonic()
    try:
        os.write(writer, b'x')
        time.sleep(1)
    except Rung: pass
    slept += time.monotonic() - begin > 0.95
print(slept, flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def programs(
    store: Lpmx, image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with fastpath, fastpath-static and fastpath.so, compiled in the container."""
    folder = tmp_path_factory.mktemp("fast")
    shutil.copy(SOURCE, folder)
    script = """cd "$0"
        gcc -O1 -pthread -o fastpath fastpath.c &&
        gcc -O1 -pthread -static -o fastpath-static fastpath.c &&
        gcc -O1 -pthread -shared -fPIC -DPRELOADED -o fastpath.so fastpath.c -ldl"""
    store("run", "-v", f"{folder}:{folder}", image("tools"), "sh", "-c", script, str(folder))
    return folder


@pytest.fixture
def fastpath(
    run_lpmx: Callable[..., Completed], image: Callable[[str], str], programs: Path
) -> Callable[..., Completed]:
    """fastpath(ENGINE, MODE, ...): one run of the program."""

    def call(engine: str, *words: str, name: str = "fastpath", preload: str = "") -> Completed:
        options = ["-v", f"{programs}:{programs}", "-e", f"LD_PRELOAD={preload}"]
        return run_lpmx(
            "run", *options, image("tools"), str(programs / name), *words,
            env={"LPMX_ENGINE": engine}, check=False,
        )  # fmt: skip

    return call


def test_a_signal_reaches_the_thread_that_sleeps_though_others_make_calls(
    image: Callable[[str], str], run_lpmx: Callable[..., Completed]
) -> None:
    words = ("python3", "-c", SLEEPER, str(SIGNALS))
    done = run_lpmx("run", image("tools"), *words, env={"LPMX_ENGINE": "fast"}, timeout=120)
    assert int(done.stdout) <= SIGNALS // 20, done


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mode", MODES)
def test_hazard(mode: str, engine: str, fastpath: Callable[..., Completed]) -> None:
    done = fastpath(engine, mode)
    assert (done.returncode, done.stdout) == (0, "ok\n"), (done.stdout, done.stderr)


@pytest.mark.parametrize("engine", ENGINES)
def test_hazards_with_a_newer_libc(
    engine: str, image: Callable[[str], str], run_lpmx: Callable[..., Completed], programs: Path
) -> None:
    """From glibc 2.41 on a cancellation looks at the instruction that it interrupted."""
    script = f"for mode in sites {' '.join(MODES)}; do {programs}/fastpath $mode; done"
    done = run_lpmx(
        "run", "-v", f"{programs}:{programs}", image("samtools-newer"), "sh", "-c", script,
        env={"LPMX_ENGINE": engine}, check=False,
    )  # fmt: skip
    wanted = [f"access {int(engine != 'trap')}", *["ok"] * (1 + len(MODES))]
    assert done.stdout.splitlines() == wanted, (done.stdout, done.stderr)


@pytest.mark.parametrize(("engine", "jumps"), [("fast", 1), ("trap", 0), ("eager", 1)])
def test_a_hot_call_site_becomes_a_jump_unless_the_engine_is_trap(
    engine: str, jumps: int, fastpath: Callable[..., Completed]
) -> None:
    assert fastpath(engine, "sites").stdout == f"access {jumps}\nok\n"


@pytest.mark.parametrize("engine", ["fast", "eager"])
@pytest.mark.parametrize("mode", MODES)
def test_hazard_of_a_static_program(
    mode: str, engine: str, fastpath: Callable[..., Completed]
) -> None:
    done = fastpath(engine, mode, name="fastpath-static")
    assert (done.returncode, done.stdout) == (0, "ok\n"), (done.stdout, done.stderr)


@pytest.mark.parametrize(("engine", "jumps"), [("fast", 0), ("eager", 1)])
def test_static_programs_are_left_alone_except_in_tests(
    engine: str, jumps: int, fastpath: Callable[..., Completed]
) -> None:
    done = fastpath(engine, "sites", name="fastpath-static")
    assert done.stdout == f"access {jumps}\nok\n"


@pytest.mark.parametrize("engine", ENGINES)
def test_constructors_and_other_preloads(
    engine: str, fastpath: Callable[..., Completed], programs: Path
) -> None:
    done = fastpath(engine, "forks", preload=str(programs / "fastpath.so"))
    assert (done.returncode, done.stdout) == (0, "ok\n"), (done.stdout, done.stderr)


@pytest.mark.parametrize("engine", ENGINES)
def test_private_memory_of_a_process_stays_under_a_mebibyte(
    engine: str, fastpath: Callable[..., Completed]
) -> None:
    words = fastpath(engine, "memory").stdout.split()
    assert words[0] == "dirty"
    assert 0 < int(words[1]) < MEMORY, words


@pytest.fixture
def count_traps(store: Lpmx, programs: Path, tmp_path: Path) -> Callable[[str, str], int]:
    """count_traps(IMAGE, MODE): the calls that trapped after the program's own mark."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed (tests/images/prepare.sh test)")

    def call(image: str, mode: str) -> int:
        command = [*store.command, "run", "-v", f"{programs}:{programs}", image]
        log = tmp_path / "trace"
        strace = ["strace", "-f", "-qq", "-e", "trace=fchmod", "-e", "signal=SIGSYS", "-o", log]
        run([*strace, *command, str(programs / "fastpath"), mode], env=store.environment())
        trace = log.read_text().splitlines()
        mark = max(index for index, line in enumerate(trace) if "fchmod(-77" in line)
        return sum("SIGSYS" in line for line in trace[mark:])

    return call


@pytest.mark.needs_ptrace
def test_handlers_left_by_longjmp_leave_the_fast_path_usable(
    image: Callable[[str], str], count_traps: Callable[[str, str], int]
) -> None:
    traps = count_traps(image("tools"), "longjmps")
    assert traps < 20, f"{traps} traps in 1000 calls after 500 handlers did not return"


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("name", ["tools", "samtools-newer"])
def test_opening_becomes_a_jump_where_the_number_is_in_the_code_and_where_on_the_stack(
    name: str, image: Callable[[str], str], count_traps: Callable[[str, str], int]
) -> None:
    assert count_traps(image(name), "opens") < 20


def test_an_unknown_engine_is_refused(
    run_lpmx: Callable[..., Completed], image: Callable[[str], str]
) -> None:
    done = run_lpmx("run", image("tools"), "true", env={"LPMX_ENGINE": "x"}, check=False)
    assert done.returncode == 125
    assert "LPMX_ENGINE=x: no such engine" in done.stderr
