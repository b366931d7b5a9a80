"""Tables of run.py about files that a container has written, and changes of what layers hold."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from measure import Command, medians
from report import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from run import Bench

LOWER = "usr/share/perl"
OWN = "srv/own"
LOOK = f"find /{OWN} -size +1 > /dev/null; du -s /{OWN} > /dev/null; grep -rq no.such.text /{OWN}"
# What is timed is the command, not the mount before it.
TIMED = """
import subprocess, sys, time
begin = time.perf_counter()
subprocess.run(sys.argv[1:], check=True)
print(time.perf_counter() - begin)
"""
OVERLAY = """
set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/u,workdir=$2/w" "$2/m"
cd /
mount=$2
shift 2
exec "$1" -c "$2" chroot "$mount/m" sh -c "$3"
"""
CHANGES = {
    "Removing a directory of the layers": f"rm -r /{LOWER}",
    "Changing the modes of a directory of the layers": f"chmod -R g+w /{LOWER}",
}


def own_files(bench: Bench) -> Table:
    """Looking at a tree that was made inside."""
    copy = f"test -e /{OWN} || cp -a /{LOWER} /{OWN}"
    subprocess.run(
        [bench.loader, "--plan", bench.plan, "--", "sh", "-c", copy],
        env=bench.environment, check=True,
    )  # fmt: skip
    if bench.tree and not (bench.tree / OWN).exists():
        subprocess.run(["cp", "-a", bench.tree / LOWER, bench.tree / OWN], check=True)
    commands, missing = bench.peers("sh", "-c", f"{{ {LOOK}; }} || true")
    times = medians(commands, bench.rounds, Path("/tmp"), again=True)
    note = (
        f"`find`, `du` and `grep -r` over a copy of /{LOWER} that was made inside. Each is timed "
        "right after a run of its own."
    )
    return Table("A tree of own files", note, "chroot", times, missing)


def changes(bench: Bench) -> Iterator[Table]:
    """What layers hold is changed: the kernel's own union is the measure."""
    for title, script in CHANGES.items():
        commands = list(_changing(bench, script))
        times = medians(commands, bench.rounds, Path("/tmp"))
        note = f"`{script}`, about 1,400 files, each time as they were at first."
        missing = {} if bench.tree else {"the kernel's overlayfs": bench.no_tree}
        yield Table(title, note, "the kernel's overlayfs", times, missing)


def _changing(bench: Bench, script: str) -> Iterator[Command]:
    plan, places = bench.folder / "changing.plan", bench.folder / "changing"
    places.mkdir(exist_ok=True)
    timed = (sys.executable, "-c", TIMED)

    def create() -> None:
        bench.lpmx("create", "--plan", plan, bench.reference, "true")

    inside = [*timed, str(bench.loader), "--plan", str(plan), "--", "sh", "-c", script]
    yield Command("lpmx, compiled plan", inside, bench.environment, reports=True, prepare=create)
    tree = bench.tree
    if not tree:
        return
    now = places / "now"

    def copy() -> None:
        folder, first = tree / LOWER, places / "first"
        if not first.exists():
            subprocess.run(["cp", "-a", folder, first], check=True)
        if folder.exists():
            folder.rename(tempfile.mkdtemp(dir=places) + "/gone")
        subprocess.run(["cp", "-a", first, folder], check=True)

    def layers() -> None:
        copy()
        if now.exists():
            now.rename(tempfile.mkdtemp(dir=places) + "/gone")  # deleted with the rest
        for name in ("u", "w", "m"):
            (now / name).mkdir(parents=True)

    mounted = ["unshare", "-m", "sh", "-c", OVERLAY, "overlay", str(tree), str(now)]
    mounted += [sys.executable, TIMED, script]
    yield Command(
        "the kernel's overlayfs", mounted, bench.environment, reports=True, prepare=layers
    )

    yield Command(
        "chroot, without layers", [*timed, "chroot", str(tree), "sh", "-c", script],
        bench.environment, reports=True, prepare=copy,
    )  # fmt: skip
