#!/usr/bin/env python3
"""Measure what grows with what exists: an image of many files, a store of many images.

usage: scale.py [--names N] [--images N] [--rounds N] [--write FILE]

Half of the names lie in folders of ten files, half in folders of 100,000. The same names as a
plain tree on the same disk, unpacked by tar, are the measure; as root the kernel's overlayfs is a
peer. Needs the test image demo (make images) and room for the files twice. Prints the page, or
writes it to FILE.
"""

from __future__ import annotations

# ruff: noqa: E402
import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "bench")]
from typing import TYPE_CHECKING

from images import build
from measure import Command, medians
from report import Table, page
from support.lpmx import Lpmx
from support.mkimage import file, folder

if TYPE_CHECKING:
    from collections.abc import Iterator

HUGE = 100_000  # files in one directory
STAT = """
import os, random, sys, time
names = [os.path.join(top, name) for top, _, found in os.walk(sys.argv[1]) for name in found]
random.seed(1)
names = random.sample(names, min(50000, len(names)))
begin = time.perf_counter()
for name in names:
    os.stat(name)
print(time.perf_counter() - begin)
"""
UNLINK = """
import os, sys, time
names = os.listdir(sys.argv[1])
begin = time.perf_counter()
for name in names:
    os.unlink(f"{sys.argv[1]}/{name}")
print(time.perf_counter() - begin)
"""
REMOVE = """
import subprocess, sys, time
begin = time.perf_counter()
subprocess.run(["rm", "-r", sys.argv[1]], check=True)
print(time.perf_counter() - begin)
"""
# Without the start of a command in a container, which benchmarks.md has.
FIND = """
import subprocess, sys, time
begin = time.perf_counter()
subprocess.run(["find", sys.argv[1], "-size", "+9"], stdout=subprocess.DEVNULL, check=True)
print(time.perf_counter() - begin)
"""
NOTES = {
    "find -size": "`find` with a look at each file.",
    "50,000 stats": "`os.stat` of files in random order.",
}
WRITE = 'for d in /small/*/*/*; do echo > "$d/new"; done'
OVERLAY = """
set -e
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/u,workdir=$2/w" "$2/m"
exec "$3" -c "$4" "$2/m/huge/0"
"""


def members(names: int) -> Iterator[bytes]:
    """The layer's members."""
    yield folder("small")
    for number in range(names // 20):
        path = f"small/{number // 250:04}/{number // 10 % 25:02}/{number % 10}"
        if number % 250 == 0:
            yield folder(f"small/{number // 250:04}")
        if number % 10 == 0:
            yield folder(os.path.dirname(path))
        yield folder(path)
        for one in range(10):
            yield file(f"{path}/module{one}.py", b"")
    yield folder("huge")
    for number in range(names // 2):
        if number % HUGE == 0:
            yield folder(f"huge/{number // HUGE}")
        yield file(f"huge/{number // HUGE}/sample-{number % HUGE:06}.dat", b"")
    yield bytes(1024)


class Scale:
    """A store with the large image, and the plain tree."""

    def __init__(self, top: Path, names: int, rounds: int) -> None:
        self.top = top
        self.rounds = rounds
        self.lpmx = Lpmx(top / "store")
        self.layer = top / "layer.tar"
        self.tree = top / "tree"
        digest = hashlib.sha256()
        with open(self.layer, "wb", buffering=1 << 20) as out:
            for member in members(names):
                digest.update(member)
                out.write(member)
        self.diff_id = digest.hexdigest()
        self.archive = top / "image.tar"
        self._write_archive()

    def _write_archive(self) -> None:
        """The image demo with the layer on top, as docker saves it."""
        with tarfile.open(build.archive("demo")) as source, tarfile.open(self.archive, "w") as out:
            (manifest,) = json.load(source.extractfile("manifest.json") or io.BytesIO())
            config = json.load(source.extractfile(manifest["Config"]) or io.BytesIO())
            config["rootfs"]["diff_ids"].append(f"sha256:{self.diff_id}")
            config.pop("history", None)
            for name in manifest["Layers"]:
                out.addfile(source.getmember(name), source.extractfile(name))
            out.add(self.layer, "many.tar")
            raw = json.dumps(config).encode()
            image = hashlib.sha256(raw).hexdigest()
            layers = [*manifest["Layers"], "many.tar"]
            listed = {"Config": f"{image}.json", "RepoTags": ["scale:1"], "Layers": layers}
            files = {f"{image}.json": raw, "manifest.json": json.dumps([listed]).encode()}
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                out.addfile(member, io.BytesIO(content))

    def inside(self, name: str, box: str, program: str, place: str) -> Command:
        """A Python program in the container @box, which says itself how long it took."""
        command = [*self.lpmx.command, "exec", box, "python3", "-c", program, place]
        return Command(name, command, self.lpmx.environment(), reports=True)

    def unpacking(self) -> Table:
        """The base is there already; what is timed is the layer."""
        self.lpmx("load", build.archive("demo"))
        seconds, memory = timed([*self.lpmx.command, "load", str(self.archive)], self.lpmx)
        self.tree.mkdir()
        plain, _ = timed(["tar", "-C", str(self.tree), "-xf", str(self.layer)], self.lpmx)
        note = f"Once. `lpmx load` had {memory / 1e6:.0f} MB of memory at most."
        return Table("Unpacking", note, "tar -x", {"lpmx load": seconds, "tar -x": plain})

    def looking(self) -> Iterator[Table]:
        """In a container that has written nothing, and in one that has, in each small directory."""
        for box in ("clean", "written"):
            self.lpmx("create", "--name", box, "scale:1")
        self.lpmx("exec", "written", "sh", "-c", WRITE)
        for what, place in (("ten files", "small"), (f"{HUGE:,} files", "huge")):
            plain = str(self.tree / place)
            for title, program in (("find -size", FIND), ("50,000 stats", STAT)):
                commands = [
                    Command("plain tree", [sys.executable, "-c", program, plain], reports=True),
                    self.inside("lpmx", "clean", program, f"/{place}"),
                ]
                if place == "small":
                    into = "lpmx, a file written in each directory"
                    commands.append(self.inside(into, "written", program, "/small"))
                times = medians(commands, self.rounds, Path("/tmp"))
                yield Table(f"{title}, directories of {what}", NOTES[title], "plain tree", times)

    def removing(self) -> Iterator[Table]:
        """One directory of many files, once each."""
        for title, program in (("os.unlink of each", UNLINK), ("rm -r", REMOVE)):
            place = self.tree / "huge" / "0"
            kept = self.top / "kept"
            if not kept.exists():
                shutil.copytree(place, kept / "huge" / "0")
            times = {}
            python = sys.executable
            self.lpmx("create", "--name", "removing", "scale:1")
            argv = ("exec", "removing", "python3", "-c", program, "/huge/0")
            times["lpmx"] = float(self.lpmx(*argv).stdout)
            self.lpmx("rm", "removing")
            missing = {} if os.geteuid() == 0 else {"the kernel's overlayfs": "needs root"}
            if not missing:
                times["the kernel's overlayfs"] = self._in_overlay(kept, python, program)
            done = subprocess.run(
                [python, "-c", program, place], capture_output=True, text=True, check=True
            )
            times["plain tree"] = float(done.stdout)
            if program == UNLINK:
                shutil.copytree(kept / "huge" / "0", place, dirs_exist_ok=True)
            note = (
                f"A directory of {len(os.listdir(kept / 'huge' / '0')):,} files of a layer. Once."
            )
            yield Table(f"Removing: {title}", note, "plain tree", times, missing)

    def _in_overlay(self, lower: Path, python: str, program: str) -> float:
        with tempfile.TemporaryDirectory(dir=self.top) as work:
            for name in "uwm":
                Path(work, name).mkdir()
            where = [str(lower), work, python, program]
            argv = ["unshare", "-m", "bash", "-c", OVERLAY, "-", *where]
            return float(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)

    def store_of(self, count: int) -> Iterator[Table]:
        """The same commands before and after there are @count images more."""
        commands = {
            "run": ["run", "--rm", "lpmx-test/demo", "true"],
            "images": ["images", "-q"],
            "gc": ["gc"],
        }

        def measured(number: str) -> dict[str, float]:
            listed = [
                Command(f"lpmx {name}, {number}", [*self.lpmx.command, *argv],
                        self.lpmx.environment())
                for name, argv in commands.items()
            ]  # fmt: skip
            return medians(listed, self.rounds, Path("/tmp"))

        few = measured("2 images")
        self._make_images(count)
        many = measured(f"{count:,} images")
        for (before, seconds), (after, later) in zip(few.items(), many.items(), strict=True):
            title = f"A store of many images: {before.split(',')[0]}"
            note = f"`lpmx {before.split(',')[0].removeprefix('lpmx ')}`, with its start."
            yield Table(title, note, before, {before: seconds, after: later})

    def _make_images(self, count: int) -> None:
        """Records of images of the same layers: what loading them would leave."""
        store = self.lpmx.home
        one = next(store.glob("images/*/image.json")).parent
        record = json.loads((one / "image.json").read_text())
        config = json.loads((one / "config.json").read_text())
        for number in range(count):
            config["comment"] = str(number)
            raw = json.dumps(config).encode()
            record["id"] = hashlib.sha256(raw).hexdigest()
            place = store / "images" / record["id"]
            place.mkdir()
            (place / "config.json").write_bytes(raw)
            (place / "image.json").write_text(json.dumps(record))
            (store / "refs" / f"many%3A{number}").write_text(record["id"] + "\n")


def timed(argv: list[str], lpmx: Lpmx) -> tuple[float, int]:
    """Seconds of one run, and the memory it had at most, in bytes."""
    begin = time.perf_counter()
    pid = os.posix_spawnp(argv[0], argv, {**os.environ, **lpmx.environment()})
    _, status, used = os.wait4(pid, 0)
    if status:
        sys.exit(f"{argv[0]}: status {status}")
    return time.perf_counter() - begin, used.ru_maxrss * 1024


def main() -> int:
    """Measure and print, or write, the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--names", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", type=lambda name: Path(name).absolute())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as top:
        scale = Scale(Path(top), args.names, args.rounds)
        tables = [
            scale.unpacking(),
            *scale.looking(),
            *scale.removing(),
            *scale.store_of(args.images),
        ]
        text = page(tables, args.rounds, made_by=f"`bench/scale.py --names {args.names} --write`")
        subprocess.run(["rm", "-rf", f"{top}/store/layers", f"{top}/tree"], check=True)
    if args.write:
        args.write.write_text(text)
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
