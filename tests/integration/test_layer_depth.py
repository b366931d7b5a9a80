"""A lookup costs the same however many layers an image has: nothing is searched."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from images.archive import write_archive
from images.layertar import write_layer
from support.lpmx import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.lpmx import Lpmx

pytestmark = pytest.mark.needs_ptrace
DEPTHS = (1, 10, 120)
ROUNDS = 40
CHECKS = ("rt_sigprocmask",)  # of the engine: masks, pointers
LOOK = (
    "i=0; while [ $i -lt %d ]; do test -e /srv/deep/bottom; test -e /srv/deep/none; "
    "test -L /srv/deep/link; i=$((i+1)); done"
)


def layers(work: Path, base: list[Path], depth: int) -> list[Path]:
    """@base under @depth layers, the lowest of which holds what is looked for."""
    made = list(base)
    for number in range(depth):
        tree = work / f"{depth}-{number}"
        (tree / "srv/deep").mkdir(parents=True)
        if number == 0:
            (tree / "srv/deep/bottom").write_text("here")
            (tree / "srv/deep/link").symlink_to("bottom")
        (tree / f"srv/deep/layer{number}").write_text(str(number))
        out = work / f"{depth}-{number}.tar"
        write_layer(tree, out)
        made.append(out)
    return made


@pytest.fixture
def flat_probes(store: Lpmx, image: Callable[[str], str], tmp_path: Path) -> Path:
    """A shell and its libraries as one layer."""
    tree = tmp_path / "flat"
    tree.mkdir()
    copy = "cp -a /bin /usr /lib* /etc /out/ || true"
    store("run", "-v", f"{tree}:/out", image("c-probes"), "sh", "-c", copy)
    out = tmp_path / "flat.tar"
    write_layer(tree, out)
    return out


def calls_after_the_last_exec(trace: str) -> int:
    """The shell's own calls: past the loader's first life, and not of the Python beside it.

    What checks a pointer is called once for each page that a buffer touches: how often is a matter
    of where the kernel happened to put the stack.
    """
    calls = [line.split(maxsplit=1) for line in trace.splitlines()]
    last = max(index for index, (_, call) in enumerate(calls) if call.startswith("execve("))
    names = [call.partition("(")[0] for pid, call in calls[last:] if pid == calls[last][0]]
    return sum(name.isidentifier() and name not in CHECKS for name in names)


def calls_of_lookups(store: Lpmx, name: str, work: Path, engine: str) -> int:
    """How many system calls ROUNDS of the shell's lookups took, once it has done as many: then
    call sites that are worth it are rewritten."""
    counts = []
    for command in (LOOK % ROUNDS, LOOK % (2 * ROUNDS)):
        log = work / "trace"
        words = [*store.command, "run", name, "sh", "-c", command]
        run(
            ["strace", "-f", "-qq", "-o", log, *words],
            env=store.environment({"LPMX_ENGINE": engine}),
            cwd=work,
        )
        counts.append(calls_after_the_last_exec(log.read_text(errors="replace")))
    return counts[1] - counts[0]


def test_lookups_cost_the_same_number_of_calls_with_1_10_and_120_layers(
    store: Lpmx, flat_probes: Path, tmp_path: Path
) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed (tests/images/prepare.sh test)")
    by_trap, fast = {}, {}
    for depth in DEPTHS:
        name = f"test/depth-{depth}:1"
        archive = tmp_path / f"{depth}.tar"
        write_archive(archive, name, layers(tmp_path, [flat_probes], depth), {"Cmd": ["sh"]})
        store("load", archive)
        by_trap[depth] = calls_of_lookups(store, name, tmp_path, "trap")
        fast[depth] = calls_of_lookups(store, name, tmp_path, "fast")
    assert by_trap[1] >= 3 * ROUNDS, by_trap
    assert set(by_trap.values()) == {by_trap[1]}, by_trap
    assert fast[1] < ROUNDS, f"{fast}: none for a lookup"
    assert set(fast.values()) == {fast[1]}, fast
