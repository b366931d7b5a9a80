"""One union: what Python finds in a container's tree from outside is what its programs see.

Random trees and scripts of the kit; then every name is asked for twice, by a program inside and
through `lpmx_runtime.union` without starting anything.
"""

from __future__ import annotations

import errno
import os
import random
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from conformance.kit.case import Case, escape, unescape
from conformance.kit.generate import Taste, generate
from conformance.kit.unions import RunError

from lpmx_runtime.plans.plan import Bind, parse_plan
from lpmx_runtime.union.paths import host_path, inside_path
from lpmx_runtime.union.programs import find_program, is_program
from lpmx_runtime.union.tree import Hit, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conformance.kit.unions import Bench

SEEDS = 40
OPERATIONS = 60
QUESTIONS = 150
LETTERS = {
    stat.S_IFREG: "-", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p", stat.S_IFSOCK: "s",
    stat.S_IFCHR: "c", stat.S_IFBLK: "b",
}  # fmt: skip


def digest(data: bytes) -> str:
    """As `reply_hash` of ops.c."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{len(data)}:{value:016x}"


def content(tree: Tree, hit: Hit) -> str:
    try:
        with open(tree.open(hit), "rb") as file:
            return digest(file.read())
    except OSError as error:
        return f"E{error.errno}"


def dump(tree: Tree, path: bytes, shown: bytes = b"") -> Iterator[str]:
    """The names below @path as `op_dump` of tree.c has them, without owners and times."""
    for name in tree.names(tree.walk(path)):
        below, label = path.rstrip(b"/") + b"/" + name, shown + b"/" + name
        hit = tree.walk(below, follow=False)
        letter = LETTERS[tree.kind(hit)]
        line = f"{escape(label)} {letter}"
        if letter == "-":
            line += f" {content(tree, hit)}"
        elif letter == "l":
            line += f" -> {escape(tree.link(below))}"
        yield line
        if letter == "d":
            yield from dump(tree, below, label)


def dumped(answer: str) -> list[str]:
    """The answer of `dump`, cut down to the same."""
    lines = []
    for entry in answer.split(";")[1:]:
        path, _result, kind, *words = entry.split()
        words = [word for word in words if not word.startswith("x:")]
        line = f"{escape(unescape(path))} {kind[0]}"  # ops.c escapes more
        if kind[0] == "-":
            line += f" {words[-1]}"
        elif kind[0] == "l":
            line += f" -> {escape(unescape(words[-1]))}"
        lines.append(line)
    return lines


def odd_paths(paths: list[bytes], rng: random.Random) -> list[bytes]:
    """Names as people write them: relative parts, doubled slashes, names behind links."""
    names = [path.rpartition(b"/")[2] for path in paths]
    asked = list(paths)
    for path in paths:
        name = rng.choice(names)
        asked += [path + b"/" + name, path + b"/../" + name, path + b"/.", b"/" + path + b"//"]
        asked.append(path + b"/../../" + path.lstrip(b"/"))
    return rng.sample(asked, min(len(asked), QUESTIONS))


def inside_answer(stat_answer: str, cat_answer: str) -> str:
    """The answers to `stat` and `cat` in one word: the error, the kind, or the contents."""
    if stat_answer.startswith("E"):
        return stat_answer
    letter = stat_answer.split()[1][0]
    return cat_answer.rsplit(maxsplit=1)[-1] if letter == "-" else letter


def outside_answer(tree: Tree, path: bytes) -> str:
    try:
        hit = tree.walk(path)
    except OSError as error:
        return f"E{error.errno}"
    if hit.absent:
        return f"E{errno.ENOENT}"
    letter = LETTERS[tree.kind(hit)]
    return content(tree, hit) if letter == "-" else letter


def open_tree(plan_file: Path) -> Tree:
    return Tree(os.fspath(plan_file), "the case")


def prepared(bench: Bench, seed: int) -> tuple[Path, Case]:
    """A container in which the script of @seed has run."""
    bench.behind_a_link = seed % 2 == 1
    case = generate(seed, operations=OPERATIONS, taste=Taste(root=os.geteuid() == 0))
    plan = bench.prepare(case)
    bench.follow(plan, case)
    return plan, case


def ask(bench: Bench, plan: Path, lines: list[str]) -> list[str]:
    return bench.follow(plan, Case(layers=(), script=tuple(lines)))


@pytest.mark.timeout(300)
def test_the_tree_from_outside_is_the_tree_inside(bench: Bench) -> None:
    compared = 0
    for seed in range(1, SEEDS + 1):
        plan, _ = prepared(bench, seed)
        inside = dumped(ask(bench, plan, ["0 dump /t"])[0])
        if any(" E" in line for line in inside):
            continue  # a directory that its owner closed: programs are refused, others are not
        with open_tree(plan) as tree:
            outside = list(dump(tree, b"/t"))
        assert outside == inside, f"seed {seed}"
        compared += len(inside)
    assert compared > SEEDS * 10


@pytest.mark.timeout(300)
def test_paths_lead_to_the_same_files(bench: Bench) -> None:
    compared = 0
    for seed in range(100, 100 + SEEDS):
        plan, _ = prepared(bench, seed)
        rng = random.Random(seed)
        with open_tree(plan) as tree:
            paths = [b"/t" + unescape(line.split()[0]) for line in dump(tree, b"/t")]
            paths = odd_paths([path for path in paths if len(path) < 1000], rng)
            words = [f"-1 {escape(path)} 0" for path in paths]
            answers = ask(
                bench, plan, [f"0 {verb} {word}" for word in words for verb in ("stat", "cat")]
            )
            for number, path in enumerate(paths):
                inside = inside_answer(answers[2 * number], answers[2 * number + 1])
                if inside == f"E{errno.EACCES}":
                    continue
                assert outside_answer(tree, path) == inside, f"seed {seed}: {path!r}"
                there = host_path(tree, os.fsdecode(path))
                assert (there is None) == inside.startswith("E"), f"seed {seed}: {path!r}"
                compared += 1
    assert compared > SEEDS * 20


@pytest.mark.timeout(300)
def test_host_paths_lead_back(bench: Bench) -> None:
    """What a path of the container is on the host is that path again, links resolved."""
    compared = 0
    for seed in range(200, 200 + SEEDS // 2):
        plan, _ = prepared(bench, seed)
        with open_tree(plan) as tree:
            for line in dump(tree, b"/t"):
                path = b"/t" + unescape(line.split()[0])
                hit = tree.walk(path, follow=False)
                if stat.S_ISLNK(tree.kind(hit)):
                    continue
                assert inside_path(tree, os.fsdecode(hit.host)) == os.fsdecode(hit.path)
                assert host_path(tree, os.fsdecode(hit.host)) == os.fsdecode(hit.host)
                compared += 1
    assert compared > SEEDS


@pytest.mark.timeout(300)
def test_programs_are_those_that_can_be_executed(bench: Bench) -> None:
    compared = 0
    for seed in range(300, 300 + SEEDS // 2):
        plan, _ = prepared(bench, seed)
        with open_tree(plan) as tree:
            paths = [b"/t" + unescape(line.split()[0]) for line in dump(tree, b"/t")]
            asked = [f"0 access -1 {escape(path)} 1 512" for path in paths]  # X_OK, AT_EACCESS
            kinds = [f"0 stat -1 {escape(path)} 0" for path in paths]
            answers = ask(bench, plan, [*asked, *kinds])
            for path, access, kind in zip(
                paths, answers[: len(paths)], answers[len(paths) :], strict=True
            ):
                if access == f"E{errno.EACCES}" and os.geteuid() != 0:
                    continue  # other people's programs, too
                wanted = access == "0" and kind.split()[1].startswith("-")
                assert is_program(tree, os.fsdecode(path)) == wanted, f"seed {seed}: {path!r}"
                folder, _, name = path.rpartition(b"/")
                if b":" not in folder and wanted:
                    found = find_program(tree, os.fsdecode(name), os.fsdecode(folder))
                    assert found == os.fsdecode(path)
                compared += 1
    assert compared > SEEDS


def test_a_plan_need_not_be_on_a_disk(bench: Bench) -> None:
    plan, _ = prepared(bench, 7)
    compiled = parse_plan(plan.read_bytes())
    with Tree.of_plan(compiled) as tree, open_tree(plan) as other:
        assert list(dump(tree, b"/t")) == list(dump(other, b"/t"))
    alone = replace(compiled, upper="", work="", dirty="")
    with Tree.of_plan(alone) as tree:  # the image alone
        assert b"ops" in tree.names(tree.walk(b"/"))


def test_host_paths_of_binds_lead_back(bench: Bench, tmp_path: Path) -> None:
    """The innermost bind of a path counts, and one that a deeper bind hides is not shown."""
    case = Case.parse("script\n0 mkdir -1 /t/srv 493\n")
    plan = bench.prepare(case)
    assert bench.follow(plan, case) == ["0"]
    home = tmp_path / "home"
    for name in ("work", "deep/in", "data2", "elsewhere"):
        (home / name).mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").touch()
    compiled = parse_plan(plan.read_bytes())
    binds = (
        Bind(str(home), "/home"),
        Bind(str(home / "deep"), "/home/data2"),
        Bind(str(tmp_path / "data"), "/t/data"),
    )
    with Tree.of_plan(replace(compiled, binds=(*compiled.binds, *binds))) as tree:
        assert inside_path(tree, f"{home}/work") == "/home/work"
        assert inside_path(tree, f"{home}/deep/in") == "/home/data2/in"
        assert inside_path(tree, f"{home}/data2") is None
        assert inside_path(tree, f"{tmp_path}/data/x") == "/t/data/x"
        assert inside_path(tree, f"{compiled.upper}/t/srv") == "/t/srv"
        assert inside_path(tree, str(tmp_path)) is None
        assert host_path(tree, "x", cwd="/t/data") == f"{tmp_path}/data/x"


def test_a_link_of_the_upper_leads_to_the_containers_file(bench: Bench, tmp_path: Path) -> None:
    """Made inside by `ln -s /outside /t/link`: the host's file of that name is another."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("the host's")
    case = Case.parse(f"script\n0 symlink {escape(os.fsencode(outside))} -1 /t/link\n")
    plan = bench.prepare(case)
    assert bench.follow(plan, case) == ["0"]
    with open_tree(plan) as tree:
        assert host_path(tree, "/t/link/f") is None
        assert tree.find(b"/t/link/f") is None


def test_opening_again_and_again_keeps_nothing(bench: Bench) -> None:
    plan, _ = prepared(bench, 3)
    for _ in range(3):
        open_tree(plan).close()
    before = len(maps())
    for _ in range(50):
        open_tree(plan).close()
    assert len(maps()) <= before + 2


def maps() -> list[str]:
    with open("/proc/self/maps", encoding="utf-8") as file:
        return file.readlines()


def test_a_damaged_plan_is_an_error(bench: Bench) -> None:
    from lpmx_runtime.errors import StorageError

    plan, _ = prepared(bench, 5)
    plan.write_bytes(plan.read_bytes()[:40])
    with pytest.raises(StorageError, match="the case"):
        open_tree(plan)
    with pytest.raises(RunError):
        ask(bench, plan, ["0 dump /t"])
