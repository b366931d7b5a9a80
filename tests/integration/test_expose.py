"""Exposed commands: a plain program to whoever calls it, without Python, several at a time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.lpmx import Completed, Lpmx, clean_environment, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(empty_store: Lpmx, tmp_path: Path) -> Path:
    """A folder with an environment file, in a store that has the tiny image."""
    if not busybox.available():
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    empty_store("load", busybox.write_archive(tmp_path / "busybox.tar"))
    work = tmp_path / "work"
    work.mkdir()
    (work / "e.yaml").write_text("image: busybox:test\nenv: {FROM_FILE: yes, OPEN: }\nbinds: [.]\n")
    return work


def expose(store: Lpmx, place: Path, *words: str) -> None:
    store("expose", "e.yaml", *words, "--to", "bin", cwd=place)


def call(place: Path, *words: str, **options: object) -> Completed:
    return run([str(place / "bin" / words[0]), *words[1:]], cwd=place, **options)  # type: ignore[arg-type]


def test_arguments_input_and_status_are_the_programs(empty_store: Lpmx, place: Path) -> None:
    expose(empty_store, place, "sh", "cat", "count=wc")
    done = call(
        place, "sh", "-c", 'printf "[%s]" "$@"; exit 7', "x", "a  b", "$c", "", "*", check=False
    )
    assert (done.stdout, done.returncode) == ("[a  b][$c][][*]", 7)
    assert call(place, "cat", text="in\n").stdout == "in\n"
    assert call(place, "count", "-l", text="1\n2\n").stdout.strip() == "2"
    died = call(place, "sh", "-c", "kill -TERM $$", check=False)
    assert died.returncode == -signal.SIGTERM


def test_variables_come_from_file_image_and_the_callers_that_mean_the_same(
    empty_store: Lpmx, place: Path
) -> None:
    expose(empty_store, place, "env")
    caller = {"OMP_NUM_THREADS": "5", "OPEN": "now", "SECRET": "x", "FROM_FILE": "no"}
    shown = call(place, "env", env=caller).stdout.splitlines()
    assert {"OMP_NUM_THREADS=5", "OPEN=now", "FROM_FILE=yes", "FROM_IMAGE=yes"} <= set(shown)
    assert [line for line in shown if line.startswith("SECRET")] == []


def test_the_callers_directory_is_the_programs(empty_store: Lpmx, place: Path) -> None:
    expose(empty_store, place, "sh")
    inner = place / "in ner"
    inner.mkdir()
    script = str(place / "bin" / "sh")
    assert run([script, "-c", "pwd; echo x > file"], cwd=inner).stdout == f"{inner}\n"
    assert (inner / "file").read_text() == "x\n"
    done = subprocess.run(
        [script, "-c", "pwd"], cwd="/usr", capture_output=True, text=True, check=False
    )
    assert done.returncode == 126
    assert done.stderr.startswith("lpmx: working directory /usr: ")


def test_no_python_is_started(empty_store: Lpmx, place: Path) -> None:
    expose(empty_store, place, "cat")
    text = (place / "bin" / "cat").read_text()
    assert text.startswith("#!/bin/sh\n")
    bare = run(["/usr/bin/env", "-i", str(place / "bin" / "cat")], text="x", cwd=place)
    assert bare.stdout == "x"


def test_many_calls_at_once_with_make(empty_store: Lpmx, place: Path) -> None:
    if not shutil.which("make"):
        pytest.skip("no make on this machine")
    expose(empty_store, place, "sh", "cat", "tr")
    (place / "Makefile").write_text(
        "PARTS := $(addsuffix .part,$(shell seq 40))\n"
        "all.txt: $(PARTS)\n\tcat $^ | tr a-z A-Z > $@\n"
        "%.part:\n\tsh -c 'echo part $*' > $@\n"
        "fail:\n\tsh -c 'exit 3'\n"
    )
    env = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}"}
    run(["make", "-s", "-j8", "all.txt"], cwd=place, env=env)
    assert sorted((place / "all.txt").read_text().split()) == sorted(
        word for n in range(1, 41) for word in ("PART", str(n))
    )
    failed = run(["make", "fail"], cwd=place, env=env, check=False)
    assert failed.returncode == 2
    assert "Error 3" in failed.stderr


def test_a_signal_of_the_terminal_reaches_the_program(empty_store: Lpmx, place: Path) -> None:
    expose(empty_store, place, "sh")
    script = "trap 'echo got; exit 5' INT; echo ready; sleep 20 & wait"
    child = subprocess.Popen(
        [str(place / "bin" / "sh"), "-c", script],
        cwd=place, stdout=subprocess.PIPE, text=True, start_new_session=True,
        env=clean_environment(),
    )  # fmt: skip
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    os.killpg(child.pid, signal.SIGINT)
    assert child.stdout.readline() == "got\n"
    assert child.wait(timeout=20) == 5


def test_calls_cost_milliseconds(empty_store: Lpmx, place: Path) -> None:
    """A loose bound, for a busy machine; docs/benchmarks.md has the figures."""
    expose(empty_store, place, "true")
    script = str(place / "bin" / "true")
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        subprocess.run([script], cwd=place, check=True)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.05, times


def test_a_removed_container_or_image_is_said(empty_store: Lpmx, place: Path) -> None:
    expose(empty_store, place, "cat")
    (row,) = json.loads(empty_store("--json", "expose", "--list").stdout)
    assert (row["command"], row["present"]) == ("cat", True)
    refused = empty_store("rmi", "busybox:test", check=False)
    assert refused.returncode != 0 or call(place, "cat", text="x").stdout == "x"
    empty_store("rm", row["container"])
    done = call(place, "cat", check=False)
    assert done.returncode == 127
    assert done.stderr.splitlines() == [
        f"lpmx: {place}/bin/cat: the container it runs in has been removed",
        f"  (make it anew: lpmx expose --force {place}/e.yaml cat --to DIR)",
    ]


def test_unexpose_takes_away_what_expose_made(empty_store: Lpmx, place: Path) -> None:
    expose(empty_store, place, "cat", "wc")
    (place / "bin" / "mine").write_text("#!/bin/sh\n")
    empty_store("unexpose", "--from", "bin", "cat", cwd=place)
    assert call(place, "wc", "-c", text="x").stdout.strip() == "1"
    refused = empty_store("unexpose", "bin/mine", cwd=place, check=False)
    assert refused.returncode == 2
    assert "not a script of `lpmx expose`" in refused.stderr
    empty_store("unexpose", "bin/wc", cwd=place)
    assert os.listdir(place / "bin") == ["mine"]
    assert json.loads(empty_store("--json", "ps", "-a").stdout) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing",), "lpmx: nothing: busybox:test has no such program"),
        (("/opt/cat",), "lpmx: /opt/cat: busybox:test has no such program"),
        (("hostname",), "lpmx: hostname: runs on the host already ("),
        (("a/b",), "lpmx: a/b: a/b is neither a name nor an absolute path"),
        (("taken",), ": exists already"),
    ],
)
def test_bad_input_is_said_before_anything_is_written(
    empty_store: Lpmx, place: Path, words: tuple[str, ...], message: str
) -> None:
    with (place / "e.yaml").open("a") as file:
        file.write("commands: {hostname: host}\n")
    (place / "bin").mkdir()
    (place / "bin" / "taken").write_text("")
    done = empty_store("expose", "e.yaml", "cat", *words, "--to", "bin", cwd=place, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert os.listdir(place / "bin") == ["taken"]


@pytest.mark.long
def test_snakemake_calls_exposed_commands(empty_store: Lpmx, place: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    run([sys.executable, "-m", "venv", str(venv)])
    run([str(venv / "bin" / "pip"), "install", "-q", "snakemake"], timeout=600)
    expose(empty_store, place, "tr", "cat")
    (place / "Snakefile").write_text(
        'rule all:\n    input: "all.txt"\n'
        'rule part:\n    output: "{n}.part"\n'
        '    shell: "echo part {wildcards.n} | tr a-z A-Z > {output}"\n'
        'rule join:\n    input: expand("{n}.part", n=range(12))\n    output: "all.txt"\n'
        '    shell: "cat {input} > {output}"\n'
        'rule bad:\n    output: "bad"\n    shell: "cat /nonexistent > {output}"\n'
    )
    env = {"PATH": f"{place / 'bin'}:{venv / 'bin'}:{os.environ['PATH']}"}
    run(["snakemake", "-j4", "--quiet"], cwd=place, env=env)
    assert (place / "all.txt").read_text() == "".join(f"PART {n}\n" for n in range(12))
    failed = run(["snakemake", "-j1", "bad"], cwd=place, env=env, check=False)
    assert failed.returncode != 0


def test_inside_a_container_the_way_out_is_told(empty_store: Lpmx, place: Path) -> None:
    empty_store("expose", "busybox:test", "ls", "--to", "bin", cwd=place)
    told = (
        "a container cannot be started from inside another\n  (map the command when the outer one"
    )
    for hidden in ([], ["--no-bind", "tmp,home", "-v", str(place)]):
        done = empty_store("run", *hidden, "busybox:test", "./bin/ls", cwd=place, check=False)
        assert done.returncode == 126
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 2
    assert "`lpmx run -m ls=image:busybox:test ...`" in done.stderr
