"""A container on a full disk, short of descriptors, with very long names, and with many writers at
once: clear errors, nothing lost, no layer touched."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from conformance.kit.case import Case, file_data

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conformance.conftest import Oracle
    from conformance.kit.unions import Bench

ENOSPC, EMFILE, ENAMETOOLONG = "E28", "E24", "E36"
MEGABYTE = 1 << 20


def content(answer: str) -> str:
    """The hash in an answer of `cat`."""
    return answer.split()[1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes. For root."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", place], check=True)
    yield place
    # lazily: whoever looks through /tmp at this moment must not fail the test
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.needs_root
def test_a_full_disk_is_told_and_loses_nothing(bench: Bench, small_disk: Path) -> None:
    size = MEGABYTE - 1
    names = [f"f{i}" for i in range(6)]
    files = "".join(f"file t/{name} 644 1000000000 {size} {i}\n" for i, name in enumerate(names))
    change = "".join(f"0 chmod -1 /t/{name} 384\n" for name in names)
    read = "".join(f"0 cat -1 /t/{name} 0\n" for name in names)
    case = Case.parse(f"layer\n{files}script\n{read}{change}{read}0 list -1 /t 4096\n")
    plan = bench.prepare(case, small_disk)
    answers = bench.follow(plan, case)
    before, changed, after = answers[:6], answers[6:12], answers[12:18]
    assert changed[:2] == ["0", "0"], changed
    assert set(changed) == {"0", ENOSPC}, changed
    assert [content(one) for one in before] == [content(one) for one in after]
    assert all(name in answers[18] for name in names)
    assert [name for name in os.listdir(small_disk / "work") if name.startswith("tmp")] == []
    # room again: what could not be done can be
    freed = Case.parse("script\n0 unlink -1 /t/f0 0\n0 unlink -1 /t/f1 0\n0 chmod -1 /t/f5 384\n")
    assert bench.follow(plan, freed) == ["0", "0", "0"]


@pytest.mark.parametrize("limit", range(3, 9))
def test_exhausted_descriptors_are_told_and_lose_nothing(bench: Bench, limit: int) -> None:
    case = Case.parse(
        f"""
        layer
        file t/f 644 1000000000 4096 1
        file t/d/g 644 1000000000 10 2
        script
        0 cat -1 /t/f 0
        0 fork 1
        1 nofile {limit} 1
        1 chmod -1 /t/f 384
        1 rename -1 /t/d/g -1 /t/d/h 0
        1 unlink -1 /t/d/g 0
        1 mkdir -1 /t/d/new 493
        0 cat -1 /t/f 0
        0 list -1 /t/d 4096
        """
    )
    answers = bench.engine(case)
    chmod, rename, unlink, mkdir = answers[3:7]
    assert content(answers[7]) == content(answers[0])
    assert {chmod, mkdir} <= {"0", EMFILE}
    assert rename in {"0", EMFILE}
    assert unlink in ({"E2"} if rename == "0" else {"0", EMFILE})
    assert ("h:-" in answers[8]) == (rename == "0")
    assert ("g:-" in answers[8]) == (rename != "0" and unlink != "0")
    if limit == 3:
        assert chmod == EMFILE
    if limit >= 6:
        assert [chmod, rename, mkdir] == ["0", "0", "0"], "three free descriptors are enough"


def test_a_copy_up_needs_no_descriptor_of_the_programs(oracle: Oracle) -> None:
    oracle.check(
        """
        layer
        file t/f 644 1000000000 4096 1
        file t/d/g 644 1000000000 10 2
        script
        0 fork 1
        1 nofile 3 0
        1 open 1 -1 /t/f 0 0
        1 chmod -1 /t/f 384
        1 rename -1 /t/d/g -1 /t/d/h 0
        1 mkdir -1 /t/d/new 493
        1 unlink -1 /t/f 0
        0 dump /t
        """
    )


def long_path(length: int) -> str:
    """A path of /t/f with @length bytes."""
    room = length - len("/t/f")
    return "/t" + "/." * (room // 2) + "/" * (room % 2) + "/f"


@pytest.mark.parametrize("length", [4094, 4095, 4096, 5000])
def test_paths_of_the_greatest_length(bench: Bench, length: int) -> None:
    path = long_path(length)
    case = Case.parse(
        f"""
        layer
        file t/f 644 1000000000 3 1
        script
        0 chmod -1 {path} 384
        0 cat -1 {path} 0
        0 rename -1 {path} -1 /t/g 0
        0 symlink {"x" * 4095} -1 /t/l
        0 readlink -1 /t/l 4096
        0 symlink {"x" * 4096} -1 /t/m
        """
    )
    answers = bench.engine(case)
    fits = length <= 4095  # PATH_MAX counts the final NUL
    assert [one.split()[0] for one in answers[:3]] == (
        ["0", "3", "0"] if fits else [ENAMETOOLONG] * 3
    )
    assert answers[3:] == ["0", f"4095 {'x' * 4095}", ENAMETOOLONG]
    if os.geteuid() == 0:
        assert bench.overlay(case) == answers


def test_folders_may_be_deeper_than_a_path(oracle: Oracle) -> None:
    name, depth = "d" * 100, 60
    down = f"0 mkdir -1 {name} 493\n0 chdir {name}\n" * depth
    up = f"0 chdir ..\n0 unlink -1 {name} 512\n" * depth
    script = f"0 chdir /t\n{down}0 getcwd\n{up}0 list -1 /t 4096"
    answers = oracle.check(f"layer\ndir t 755 1000000000\nscript\n{script}")
    assert answers[1 : 2 * depth + 1] == ["0"] * 2 * depth
    assert answers[2 * depth + 1] == ENAMETOOLONG
    assert answers[-1] == "0 .:d ..:d", answers[-1]


def test_many_processes_write_one_container(bench: Bench) -> None:
    writers, files = 64, 12
    data = [file_data(20_000, i) for i in range(files)]
    lines = "".join(f"file t/f{i} 644 1000000000 20000 {i}\n" for i in range(files))
    case = Case.parse(f"layer\n{lines}dir t/d 755 1000000000\nscript\n")
    plan = bench.prepare(case)

    def write(writer: int) -> list[str]:
        steps = "".join(
            f"0 chmod -1 /t/f{i} 420\n0 cat -1 /t/f{i} 0\n"
            f"0 put -1 /t/d/w{writer}-{i} 193 420 100 {writer}\n"
            f"0 rename -1 /t/d/w{writer}-{i} -1 /t/d/shared{i} 0\n"
            for i in range(files)
        )
        return bench.follow(plan, Case.parse(f"script\n{steps}0 mkdir -1 /t/lock 493\n"))

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(write, range(writers)))
    for mine in answers:
        for i in range(files):
            changed, read, put, moved = mine[4 * i : 4 * i + 4]
            assert (changed, put, moved) == ("0", "100", "0")
            assert read.startswith(f"{len(data[i])} ")
    assert len({tuple(mine[1:-1:4]) for mine in answers}) == 1, "all read the same"
    assert sorted(mine[-1] for mine in answers) == ["0"] + ["E17"] * (writers - 1)
    left = bench.follow(plan, Case.parse("script\n0 list -1 /t/d 32768\n"))[0].split()
    assert left == ["0", ".:d", "..:d", *(f"shared{i}:-" for i in sorted(range(files), key=str))]
