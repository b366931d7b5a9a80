#!/usr/bin/env python3
"""Measure starts, system calls and work against chroot, other container tools and tar.

usage: run.py [--rounds N] [--write FILE] [--only WORD]...

Needs the test images (make images), bubblewrap (tests/images/prepare.sh bench) and, for chroot,
root. A peer that cannot run is named in the table with the reason. The page it writes is
docs/benchmarks.md.
"""

from __future__ import annotations

# ruff: noqa: E402
import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "bench")]
from dataclasses import replace
from typing import TYPE_CHECKING

from images import build
from images.all import RECIPES
from images.archive import write_archive
from measure import Command, MeasureError, medians, medians_of, time_once
from report import Table, page
from support.lpmx import Lpmx

from lpmx_runtime.plans.plan import compile_plan, parse_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOWER_FILE = "/usr/share/perl/5.36.0/unicore/lib/Age/V110.pl"
# The best of ten, since other programs of the machine only ever make one slower.
STAT_LOOP = f"""
import os, time
path = "{LOWER_FILE}"
best = 1
for _ in range(10):
    begin = time.perf_counter()
    for _ in range(2000):
        os.stat(path)
    best = min(best, (time.perf_counter() - begin) / 2000)
print(best)
"""
MISS_LOOP = STAT_LOOP.replace("os.stat(path)", 'os.path.exists("/usr/lib/python3/no/such/file")')
ACCESS_LOOP = STAT_LOOP.replace("os.stat(path)", "os.access(path, os.R_OK)")
LINK_LOOP = STAT_LOOP.replace("os.stat(path)", 'os.readlink("/usr/bin/awk")')
AT_LOOP = STAT_LOOP.replace(
    "best =", "path, folder = os.path.basename(path), os.open(os.path.dirname(path), 0)\nbest =", 1
).replace("os.stat(path)", "os.stat(path, dir_fd=folder)")
OPEN_LOOP = STAT_LOOP.replace("os.stat(path)", "os.close(os.open(path, os.O_RDONLY))")
CALL_LOOP = """
import os, sys, time
program, environment = sys.argv[1], dict(os.environ)
begin = time.perf_counter()
for _ in range(300):
    os.waitpid(os.posix_spawn(program, [program], environment), 0)
print((time.perf_counter() - begin) / 300)
"""
IMPORTS = "import sys; sys.path.insert(0, '/opt/bench/modules'); import bench_all"


# With the runtime and the limits that also work where the kernel's cgroups are version 1 and root
# lacks CAP_SYS_RESOURCE.
PODMAN = (
    "podman", "run", "--rm", "--network=none", "--runtime=runc", "--cgroup-manager=cgroupfs",
    "--ulimit=nofile=1024:4096", "--ulimit=nproc=4096:4096", "--rootfs",
)  # fmt: skip


class Bench:
    """What is compared: a loaded store, a container's plan, and the same tree for the peers."""

    def __init__(self, folder: Path, rounds: int, image: str = "tools") -> None:
        self.image = image
        self.folder = folder
        self.rounds = rounds
        self.lpmx = Lpmx(folder / "store")
        self.reference = build.reference(image)
        self.lpmx("load", build.archive(image))
        self.plan = self._compile_plan()
        self.trap_plan = folder / "trap-plan"
        self.trap_plan.write_bytes(
            compile_plan(replace(parse_plan(self.plan.read_bytes()), engine="trap"))
        )
        self.tree, self.no_tree = self._merged_tree()
        path = "/usr/bin:/bin:/usr/sbin:/sbin"
        self.environment = {"PATH": path, "HOME": "/", "LC_ALL": "C", "USER": "root"}

    def _compile_plan(self) -> Path:
        self.lpmx("create", "--name", "bench", self.reference)
        self.lpmx("exec", "bench", "/bin/true")
        (plan,) = (self.folder / "store").glob("containers/*/plan*")
        return plan

    def _merged_tree(self) -> tuple[Path | None, str]:
        """The image's layers as one plain tree, by the kernel's overlayfs; None and why not."""
        if os.geteuid() != 0:
            return None, "needs root"
        tree = self.folder / "tree"
        script = """set -e
            mkdir "$1" "$1.m"
            cd "$2"
            mount -t overlay overlay -o "lowerdir=$3" "$1.m"
            cp -a "$1.m/." "$1/"
            umount "$1.m"
            mknod -m 666 "$1/dev/null" c 1 3
            mknod -m 444 "$1/dev/urandom" c 1 9
            chmod 1777 "$1/tmp"
        """
        lower = ":".join(layer.key for layer in reversed(RECIPES[self.image].top.chain()))
        trees = build.cache_folder() / "trees"
        subprocess.run(
            ["unshare", "-m", "bash", "-c", script, "merge", tree, trees, lower], check=True
        )
        return tree, ""

    def peers(
        self, *argv: str, reports: bool = False, plain: bool = False
    ) -> tuple[list[Command], dict[str, str]]:
        """The same command in the container, under chroot, in bubblewrap; and who is missing."""
        commands, missing = [], {}

        def add(name: str, *prefix: str) -> None:
            commands.append(Command(name, [*prefix, *argv], self.environment, reports))

        if plain:
            add("plain exec on the host")
        add("lpmx, compiled plan", str(self.loader), "--plan", str(self.plan), "--")
        add("lpmx, LPMX_ENGINE=trap", str(self.loader), "--plan", str(self.trap_plan), "--")
        if self.tree:
            add("chroot", "chroot", str(self.tree))
        else:
            missing["chroot"] = self.no_tree
        if self.tree and shutil.which("bwrap"):
            binds = ["--bind", str(self.tree), "/", "--proc", "/proc", "--dev", "/dev"]
            add("bubblewrap", "bwrap", *binds)
        else:
            missing["bubblewrap"] = self.no_tree or "not installed"
        if self.tree:
            self._add_emulators(add, commands, missing)
        return commands, missing

    def _add_emulators(
        self, add: Callable[..., None], commands: list[Command], missing: dict[str, str]
    ) -> None:
        """Charliecloud, podman, PRoot and fakechroot, where they can run this command."""
        tree = str(self.tree)
        for name, prefix in (
            ("charliecloud", ("ch-run", "--unset-env=*", "-c", "/", tree, "--")),
            ("podman", (*PODMAN, tree)),
            ("PRoot", ("proot", "-r", tree, "-b", "/proc", "-b", "/dev", "-w", "/")),
            ("fakechroot", ("fakechroot", "chroot", tree)),
        ):
            if not shutil.which(prefix[0]):
                missing[name] = "not installed"
                continue
            add(name, *prefix)
            try:
                time_once(commands[-1], Path("/tmp"))
            except (MeasureError, ValueError):
                commands.pop()
                missing[name] = "does not run this"

    @property
    def loader(self) -> Path:
        """The engine's executable of the installed package."""
        from lpmx_runtime import native

        return Path(native.loader_path())

    def compare(
        self, title: str, note: str, *argv: str, reports: bool = False, again: bool = False
    ) -> Table:
        """A table of the same work inside and in the same tree under chroot."""
        commands, missing = self.peers(*argv, reports=reports)
        times = medians(commands, self.rounds, Path("/tmp"), again=again)
        if again:
            note += " Each is timed right after a run of its own."
        return Table(title, note, "chroot", times, missing)

    # -- the tables

    def start(self) -> Table:
        commands, missing = self.peers("/bin/true", plain=True)
        note = (
            "`/bin/true` from start to end, started by `lpmx-exec --plan`, chroot(1) and bwrap. "
            "The plan is compiled once; its start needs no Python."
        )
        times = medians(commands, self.rounds * 10, Path("/tmp"))
        return Table("Start of a container", note, "chroot", times, missing)

    def exposed(self) -> Table:
        """A command that `lpmx expose` put on the host's PATH."""
        folder = self.folder / "exposed"
        self.lpmx("expose", self.reference, "true=/bin/true", "--to", str(folder))
        commands = [
            Command("plain exec on the host", ["/bin/true"]),
            Command("a shell that executes it", ["/bin/sh", "-c", "exec /bin/true"]),
            Command("exposed command", [str(folder / "true")]),
        ]
        times = medians(commands, self.rounds * 5, Path("/tmp"))
        note = (
            "`/bin/true` of the image as a program of the host: a script of /bin/sh that becomes"
            " `lpmx-exec`. No Python runs."
        )
        return Table("Start of an exposed command", note, commands[0].name, times)

    def start_by_command(self) -> Table:
        env = {**os.environ, **self.lpmx.environment()}
        run = [*self.lpmx.command, "run", self.reference, "/bin/true"]
        execute = [*self.lpmx.command, "exec", "bench", "/bin/true"]
        commands = [
            Command("bare Python start (`python -c pass`)", [sys.executable, "-c", "pass"], env),
            Command("`lpmx run IMAGE /bin/true`", run, env),
            Command("`lpmx exec NAME /bin/true`", execute, env),
        ]  # fmt: skip
        times = medians(commands, self.rounds, Path("/tmp"))
        extra = times[commands[1].name] - times[commands[0].name]
        note = (
            "With Python, the command line, a new container and its removal. "
            f"`lpmx run` takes {extra * 1e3:.0f} ms more than a bare Python start."
        )
        return Table("Start by the command line", note, commands[0].name, times)

    def front_ends(self) -> Table:
        env = {**os.environ, **self.lpmx.environment()}
        docker = str(Path(self.lpmx.command[0]).with_name("lpmx-docker"))
        singularity = str(Path(self.lpmx.command[0]).with_name("lpmx-singularity"))
        name = "ce1f10e8fa784fd0b4b1d4da5dbb97f5"  # of a container that has ended, as in Galaxy
        run = [docker, "run", "--rm", self.reference, "/bin/true"]
        execute = [singularity, "exec", "--contain", self.reference, "/bin/true"]
        commands = [
            Command("bare Python start (`python -c pass`)", [sys.executable, "-c", "pass"], env),
            Command("`lpmx-docker inspect IMAGE`", [docker, "inspect", self.reference], env),
            Command("`lpmx-docker kill NAME`", [docker, "kill", name], env, status=1),
            Command("`lpmx-docker run --rm IMAGE /bin/true`", run, env),
            Command("`lpmx-singularity exec IMAGE /bin/true`", execute, env),
        ]
        commands = [replace(command, processor=True) for command in commands]
        times = medians(commands, self.rounds, Path("/tmp"))
        bare, *ours = (times[command.name] * 1e3 for command in commands)
        more = [f"{each - bare:.0f}" for each in ours]
        note = (
            "What Galaxy calls for each job: a question for the image, the run, and a kill of what "
            f"has ended. They take {more[0]}, {more[2]} and {more[1]} ms more than a bare Python "
            "start. These are processor times: a start waits for nothing."
        )
        return Table("Docker's and Singularity's command lines", note, commands[0].name, times)

    def stat(self) -> Table:
        note = "One `os.stat` of a file in a lower layer: the best of ten loops of 2,000 in Python."
        return self.compare("stat", note, "python3", "-c", STAT_LOOP, reports=True)

    def miss(self) -> Table:
        note = "The same for a path that does not exist."
        return self.compare("stat of nothing", note, "python3", "-c", MISS_LOOP, reports=True)

    def access(self) -> Table:
        note = "One `os.access` of the same file."
        return self.compare("access", note, "python3", "-c", ACCESS_LOOP, reports=True)

    def readlink(self) -> Table:
        note = "One `os.readlink` of a symlink in a lower layer."
        return self.compare("readlink", note, "python3", "-c", LINK_LOOP, reports=True)

    def stat_at(self) -> Table:
        note = "One `os.stat` of a name below a directory's descriptor, as find and du make it."
        return self.compare("stat below a descriptor", note, "python3", "-c", AT_LOOP, reports=True)

    def open(self) -> Table:
        """With a line for what the kernel alone takes for the longer path that lpmx opens."""
        note = (
            "One `os.open` and `os.close` of a file of a lower layer, in the same loop. The path of"
            " a file in the store is longer than in the image: the kernel needs more to follow it."
        )
        commands, missing = self.peers("python3", "-c", OPEN_LOOP, reports=True)
        if self.tree:
            (stored,) = (self.folder / "store" / "layers").glob(f"*/fs{LOWER_FILE}")
            copy = self.tree / str(stored).lstrip("/")
            copy.parent.mkdir(parents=True)
            shutil.copy(stored, copy)
            chroot = next(command for command in commands if command.name == "chroot")
            argv = [*chroot.argv[:-1], OPEN_LOOP.replace(LOWER_FILE, str(stored))]
            commands.append(replace(chroot, name="chroot, by a path like the store's", argv=argv))
        times = medians(commands, self.rounds, Path("/tmp"))
        return Table("open", note, "chroot", times, missing)

    def find(self) -> Table:
        note = "The whole of /usr, which lies in three layers."
        return self.compare("find /usr", note, "find", "/usr", again=True)

    def du(self) -> Table:
        note = "The same tree, every file's size."
        return self.compare("du /usr", note, "du", "-s", "/usr", again=True)

    def compile(self) -> Table:
        note = "`gcc -O2 -c` of a program of 600 lines."
        argv = ("gcc", "-O2", "-c", "-o", "/tmp/bench.o", "/opt/bench/program.c")
        return self.compare("C compilation", note, *argv)

    def imports(self) -> Table:
        note = "A Python start that imports 500 compiled modules."
        return self.compare(
            "Python start with 500 imports", note, "python3", "-c", IMPORTS, again=True
        )

    def shell(self) -> Table:
        note = "200 starts of `/bin/true` by one bash."
        script = "for i in {1..200}; do /bin/true; done"
        return self.compare("A shell loop", note, "bash", "-c", script, again=True)

    def own_files(self) -> Table:
        import writing

        return writing.own_files(self)

    def changes(self) -> list[Table]:
        import writing

        return list(writing.changes(self))

    def calls(self) -> Table:
        plan = self.folder / "calls.plan"
        other = f"image:{self.reference}:/bin/true"
        maps = ["-m", f"other={other}", "-m", "host=host:/bin/true"]
        self.lpmx("create", "--plan", plan, *maps, self.reference, "true")
        inside = [str(self.loader), "--plan", str(plan), "--", "python3", "-c", CALL_LOOP]

        def call(name: str, *argv: str) -> Command:
            return Command(name, argv, reports=True)

        commands = [
            call("host: no container at all", sys.executable, "-c", CALL_LOOP, "/bin/true"),
            call("container: its own", *inside, "/bin/true"),
            call("container: another container's", *inside, "/.lpmx/bin/other"),
            call("container: the host's, by the agent", *inside, "/.lpmx/bin/host"),
        ]
        note = "One call of `/bin/true` from start to end, in a loop of 300 in Python."
        times = medians(commands, self.rounds, Path("/tmp"))
        return Table("Commands that are called", note, commands[0].name, times)

    def load(self) -> Table:
        if os.geteuid() != 0:  # the layers by themselves are root's
            return Table("Load", "", "tar", {}, {"`lpmx load`": "needs root"})
        layers = self._big_layers()
        size = sum(layer.stat().st_size for layer in layers)
        archive = self.folder / "big.tar"
        write_archive(archive, "bench/big:latest", layers, {}, style="oci")
        actions: Mapping[str, Callable[[], None]] = {
            "`lpmx load`": lambda: self._load(archive),
            "`tar -x` of the same layers": lambda: self._untar(layers),
        }
        times = medians_of(actions, 3)
        note = (
            f"An archive of {size / 1e9:.2f} GB in {len(layers)} uncompressed layers; 3 rounds. "
            "`lpmx load` also checks every digest and builds the index."
        )
        return Table("Load of an image", note, "`tar -x` of the same layers", times)

    def pull(self) -> list[Table]:
        import pulling

        return list(pulling.pulls(build.archive(self.image), self.folder))

    def kernel(self) -> list[Table]:
        import kernel  # it needs a package index for the payload

        return list(kernel.prepare(self.lpmx, self.reference, self.folder, self.rounds).tables())

    def _big_layers(self) -> list[Path]:
        chains = (RECIPES["tools"].top.chain(), RECIPES["demo"].top.chain()[1:])
        folder = build.cache_folder() / "layers"
        layers = [folder / f"{layer.name}-{layer.key}.tar" for chain in chains for layer in chain]
        data, generator = self.folder / "data", random.Random(1)
        (data / "srv").mkdir(parents=True)
        for number in range(300):
            (data / "srv" / f"file{number}").write_bytes(generator.randbytes(1 << 20))
        subprocess.run(["tar", "-C", data, "-cf", self.folder / "data.tar", "srv"], check=True)
        return [*layers, self.folder / "data.tar"]

    def _load(self, archive: Path) -> None:
        home = self.folder / "load-store"
        Lpmx(home)("load", archive)
        self._discard(home)

    def _untar(self, layers: list[Path]) -> None:
        home = self.folder / "load-tar"
        for number, layer in enumerate(layers):
            target = home / str(number)
            target.mkdir(parents=True)
            subprocess.run(["tar", "-C", target, "-xf", layer], check=True)
        self._discard(home)

    def _discard(self, home: Path) -> None:
        """Move away what was made; it is deleted with all the rest, outside the timing."""
        home.rename(tempfile.mkdtemp(dir=self.folder) + "/gone")


TABLES = (
    "start",
    "exposed",
    "start_by_command",
    "front_ends",
    "stat",
    "miss",
    "access",
    "readlink",
    "stat_at",
    "open",
    "find",
    "du",
    "compile",
    "imports",
    "shell",
    "own_files",
    "changes",
    "calls",
    "load",
    "pull",
    "kernel",
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="measure against chroot and its kin")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each comparison")
    parser.add_argument("--write", type=Path, help="the page to write; none: print it")
    parser.add_argument("--only", action="append", choices=TABLES, help="only this table")
    options = parser.parse_args(arguments)
    write = options.write.absolute() if options.write else None
    with tempfile.TemporaryDirectory(prefix="lpmx-bench-", dir="/var/tmp") as folder:
        try:
            bench = Bench(Path(folder), options.rounds)
            found = [getattr(bench, name)() for name in options.only or TABLES]
            tables = [each for one in found for each in (one if isinstance(one, list) else [one])]
        except MeasureError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    text = page(tables, options.rounds)
    if write:
        write.write_text(text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
