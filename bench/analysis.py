#!/usr/bin/env python3
"""Measure what the system is for: genome analysis, compiling its tools, packages; against chroot.

usage: analysis.py [--rounds N] [--write FILE] [--bases N] [--only WORD]...

As run.py, with simulated reads and the image `workbench`, which `tests/images/build.py workbench`
builds. The page is docs/benchmarks-analysis.md.
"""

from __future__ import annotations

# ruff: noqa: E402
import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "bench")]
from measure import Command, MeasureError, medians
from report import Table, page
from run import Bench
from support.packages import STATE, make_machine

SHARED = Path("/tmp/lpmx-bench-data")
COMPILE = """
set -e
rm -rf /srv/build
cp -r /opt/src /srv/build
cd /srv/build/htslib
./configure --with-external-htscodecs > /dev/null
make -s -j2 > /dev/null
cd ../samtools
./configure --without-curses > /dev/null
make -s -j2 > /dev/null
rm -rf /srv/build
"""
PACKAGES = ("ed", "bc", "rsync", "zip", "tcl8.6", "logrotate", "sqlite3", "gawk", "m4", "xz-utils")
INSTALL = f"""
exec apt-get install -y --no-install-recommends {SHARED}/debs/*.deb < /dev/null 2> /tmp/errors
"""
# Nothing is deleted: for a minute ext4 makes whoever creates files look at each deleted one.
FRESH_TREE = """
set -e
mkdir -p "$2"
[ ! -e "$2/now" ] || mv "$2/now" "$(mktemp -d "$2/XXXXXX")"
cp -al "$1" "$2/now"
for folder in etc tmp var; do
    mv "$2/now/$folder" "$(mktemp -d "$2/XXXXXX")"
    cp -a "$1/$folder" "$2/now/$folder"
done
"""


class Analysis(Bench):
    """Work on reads of a random genome, which lie outside the container."""

    def __init__(self, folder: Path, rounds: int, bases: int) -> None:
        super().__init__(folder, rounds, image="workbench")
        self.bases = bases
        places = [SHARED] + ([Path(f"{self.tree}{SHARED}")] if self.tree else [])
        for place in places:
            for kind in ("pairs", "long"):
                simulate = [sys.executable, str(ROOT / "examples/simulate.py"), kind]
                subprocess.run([*simulate, str(place), str(bases)], check=True)

    def bwa(self) -> Table:
        note = f"`bwa index` and `bwa mem` of 20x read pairs of {self.bases / 1e6:g} Mb."
        files = "ref.fa reads_1.fq reads_2.fq"
        return self._work("bwa", note, f"bwa index ref.fa && bwa mem {files} > out.sam")

    def minimap2(self) -> Table:
        note = "`minimap2 -a` of 25x long reads."
        return self._work("minimap2", note, "minimap2 -ax map-hifi ref.fa long.fq > long.sam")

    def samtools(self) -> Table:
        note = "`samtools sort`, `index` and `flagstat` of the aligned long reads."
        script = (
            "minimap2 -ax map-hifi ref.fa long.fq 2> /dev/null | samtools sort -o s.bam -"
            " && samtools index s.bam && samtools flagstat s.bam"
        )
        return self._work("samtools", note, script)

    def _work(self, title: str, note: str, script: str) -> Table:
        return self.compare(title, note, "sh", "-c", f"cd {SHARED} && {{ {script}; }} 2> log")

    def compile(self) -> Table:
        note = (
            "configure and make of htslib and samtools, sources and results in the container's "
            "own file system. (Compiling was the worst case of the paper's engine: 1.5.)"
        )
        commands, missing = self.peers("sh", "-c", COMPILE)
        few = [command for command in commands if command.name in FEW]  # it takes a minute each
        times = medians(few, min(self.rounds, 3), Path("/tmp"))
        return Table("Compiling samtools", note, "chroot", times, missing)

    def packages(self) -> Table:
        """As an emulated root against real root, each time into a tree as it was at first."""
        names = self._fetch_packages()
        plan, trees = self.folder / "fakeroot.plan", self.folder / "trees"
        work = ("sh", "-c", INSTALL)
        env = {**self.environment, "DEBIAN_FRONTEND": "noninteractive"}

        def create() -> None:
            self.lpmx("create", "--fakeroot", "--plan", plan, self.reference, "true")

        def copy() -> None:
            subprocess.run(["sh", "-c", FRESH_TREE, "copy", str(self.tree), trees], check=True)

        lpmx = [str(self.loader), "--plan", str(plan), "--", *work]
        chroot = ["chroot", str(trees / "now"), *work]
        commands = [
            Command("lpmx --fakeroot", lpmx, env, prepare=create),
            Command("chroot, as root", chroot, env, prepare=copy),
        ]
        note = f"`apt-get install` of {len(names)} packages: {', '.join(names)}."
        times = medians(commands, self.rounds, Path("/tmp"))
        return Table("Installing packages", note, "chroot, as root", times)

    def _fetch_packages(self) -> list[str]:
        """The packages, and what they need that the image has not, in SHARED/debs on both sides."""
        machine = make_machine(self.lpmx, self.reference, "apt", self.folder / "apt")
        machine(f"apt-get install -y --no-install-recommends -d {' '.join(PACKAGES)}")
        debs = SHARED / "debs"
        shutil.rmtree(debs, ignore_errors=True)
        debs.mkdir(parents=True)
        self.lpmx("cp", f"apt:{STATE}/archives/.", debs)
        names = sorted(deb.name.split("_")[0] for deb in debs.glob("*.deb"))
        if self.tree:
            shutil.copytree(debs, f"{self.tree}{debs}", dirs_exist_ok=True)
        return names


FEW = ("lpmx, compiled plan", "chroot")
TABLES = ("bwa", "minimap2", "samtools", "compile", "packages")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="measure genome analysis against chroot")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each comparison")
    parser.add_argument("--bases", type=int, default=500_000, help="length of the genome")
    parser.add_argument("--write", type=Path, help="the page to write; none: print it")
    parser.add_argument("--only", action="append", choices=TABLES, help="only this table")
    options = parser.parse_args(arguments)
    write = options.write.absolute() if options.write else None
    with tempfile.TemporaryDirectory(prefix="lpmx-bench-", dir="/var/tmp") as folder:
        try:
            bench = Analysis(Path(folder), options.rounds, options.bases)
            tables = [getattr(bench, name)() for name in options.only or TABLES]
        except MeasureError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
    text = page(tables, options.rounds, made_by="`bench/analysis.py --write`")
    if write:
        write.write_text(text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
