"""The image that a notebook names, the magics' line, and the records of kernels that outlive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.error import UsageError as MagicError

from lpmx_kernels import magics
from lpmx_kernels.errors import KernelSpecError
from lpmx_kernels.image import tiers
from lpmx_kernels.life import survivors
from lpmx_kernels.spec.settings import KernelSettings
from lpmx_kernels.start import notebook
from lpmx_runtime.process import runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = KernelSettings("lab/a:1", ("python3", "-m", "ipykernel_launcher"), persist="kept")


class FakeStore:
    def resolve(self, name: str) -> str:
        return name


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the tiers are asked for; they answer with a payload."""
    asked: list[Any] = []

    def choose(_store: Any, image: str, *, python: str = "") -> tiers.Tier:
        asked.append((image, python))
        return tiers.Tier(tiers.PAYLOAD, ("/py",), "about", payload="p")

    monkeypatch.setattr(tiers, "choose", choose)
    monkeypatch.setattr(notebook.inimage, "why_not", lambda *_: "")
    return asked


def apply(path: Path, metadata: object, settings: KernelSettings = SETTINGS) -> KernelSettings:
    path.write_text(json.dumps({"metadata": metadata, "cells": []}))
    return notebook.apply(FakeStore(), settings, {notebook.VARIABLE: str(path)})  # type: ignore[arg-type]


def test_notebook_names_its_image(tmp_path: Path, chosen: list[Any]) -> None:
    asked = {"lpmx": {"image": "lab/b:2", "python": "/opt/py/python3"}}
    got = apply(tmp_path / "n.ipynb", asked)
    assert got == replace(SETTINGS, image="lab/b:2", command=("/py",), payload="p", persist="")
    assert chosen == [("lab/b:2", "/opt/py/python3")]


@pytest.mark.parametrize("metadata", [{}, {"lpmx": {}}, {"lpmx": {"image": "lab/a:1"}}, [], 3])
def test_other_notebooks_change_nothing(
    tmp_path: Path, chosen: list[Any], metadata: object
) -> None:
    assert apply(tmp_path / "n.ipynb", metadata) is SETTINGS
    assert notebook.apply(FakeStore(), SETTINGS, {notebook.VARIABLE: "/no/n.ipynb"}) is SETTINGS  # type: ignore[arg-type]
    assert notebook.apply(FakeStore(), SETTINGS, {}) is SETTINGS  # type: ignore[arg-type]
    assert chosen == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"image": 3}, "n.ipynb: metadata.lpmx: is not a mapping of strings"),
        ("lab/b", "is not a mapping of strings"),
        ({"imgae": "x"}, "'imgae' is nothing that a notebook can choose"),
    ],
)
def test_bad_wishes_are_named(tmp_path: Path, chosen: list[Any], asked: object, words: str) -> None:
    with pytest.raises(KernelSpecError, match=words):
        apply(tmp_path / "n.ipynb", {"lpmx": asked})


def test_image_of_another_language_is_refused(tmp_path: Path, chosen: list[Any]) -> None:
    shell = replace(SETTINGS, host_kernel="shell")
    with pytest.raises(KernelSpecError, match="offers a kernel for python"):
        apply(tmp_path / "n.ipynb", {"lpmx": {"image": "lab/b:2"}}, shell)


# --- magics


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (["lab/x"], ([], "lab/x", [])),
        (["-v", "/a:/b", "--read-only", "lab/x", "python3", "-"],
         (["-v", "/a:/b", "--read-only"], "lab/x", ["python3", "-"])),
        (["--gpus=all", "lab/x"], (["--gpus=all"], "lab/x", [])),
    ],
)  # fmt: skip
def test_magic_line_is_split(line: list[str], parts: tuple[list[str], str, list[str]]) -> None:
    assert magics.split(line) == parts


@pytest.mark.parametrize("line", [[], ["-v"], ["-v", "/a:/b"]])
def test_magic_without_image_shows_its_usage(line: list[str]) -> None:
    with pytest.raises(MagicError, match="IMAGE"):
        magics.split(line)


def test_magic_shows_both_streams_and_fails_as_the_program(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        magics.run(["sh", "-s"], b"echo out; echo err >&2; exit 3")
    assert caught.value.returncode == 3
    assert capsys.readouterr() == ("out\n", "err\n")


# --- survivors


@pytest.fixture
def ended() -> runs.Process:
    return replace(runs.this_process(), pid=2**22 + 1)


@pytest.fixture
def living() -> Iterator[runs.Process]:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = runs.process(child.pid)
    assert found
    yield found
    child.communicate()


def survivor(kernel: runs.Process, server: runs.Process) -> survivors.Survivor:
    return survivors.Survivor("id-1", "demo", "/n.ipynb", kernel, server, {"pid": kernel.pid})


def test_living_kernel_of_a_dead_server_is_claimed_once(
    tmp_path: Path, living: runs.Process, ended: runs.Process
) -> None:
    survivors.record(tmp_path, survivor(living, ended))
    assert [each.kernel_id for each in survivors.free(tmp_path)] == ["id-1"]
    claimed = survivors.claim(tmp_path, "id-1")
    assert claimed
    assert claimed.server.pid == os.getpid()
    assert survivors.claim(tmp_path, "id-1") is None
    assert survivors.free(tmp_path) == []
    survivors.forget(tmp_path, "id-1")
    survivors.forget(tmp_path, "id-1")
    assert survivors.claim(tmp_path, "id-1") is None


def test_kernel_of_a_living_server_is_left_to_it(tmp_path: Path, living: runs.Process) -> None:
    survivors.record(tmp_path, survivor(living, runs.this_process()))
    assert survivors.free(tmp_path) == []
    assert survivors.claim(tmp_path, "id-1") is None


def test_record_of_a_dead_kernel_goes(tmp_path: Path, ended: runs.Process) -> None:
    survivors.record(tmp_path, survivor(ended, ended))
    assert survivors.free(tmp_path) == []
    assert list((tmp_path / "kernels" / "running").glob("*.json")) == []
