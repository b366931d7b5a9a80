"""What a notebook from anywhere may choose: images of the store and their own Pythons, no more.

No process is started: a notebook that is refused is refused before.
"""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import mkimage as mk

from lpmx_kernels.errors import KernelSpecError
from lpmx_kernels.image import own_programs as inimage
from lpmx_kernels.image import probe, tiers
from lpmx_kernels.spec.settings import KernelSettings
from lpmx_kernels.start import notebook
from lpmx_runtime.images.load import load
from lpmx_runtime.plans.plan import Bind
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SETTINGS = KernelSettings(
    "lab/other:1", ("python3",), binds=("/data",), env={"A": "b"}, map=("x=host",), user="me"
)
EXECUTABLE = {"mode": 0o755}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store.open(tmp_path / "store")
    layers = [
        mk.layer(
            mk.file("opt/py/bin/python3.11", b"x", **EXECUTABLE),
            mk.symlink("opt/py/bin/python3", "python3.11"),
            mk.symlink("opt/py/bin/python3.1", "/tmp/python3"),
            mk.symlink("opt/py/bin/python3.2", "../../../home/ada/python3"),
            mk.symlink("opt/py/bin/python3.3", "/proc/self/cwd/python3"),
            mk.symlink("opt/py/bin/python3.4", "python3.4"),
            mk.file("opt/py/bin/python3.5", b"x"),
            mk.folder("opt/py/bin/python3.6"),
            mk.file("opt/py/bin/perl", b"x", **EXECUTABLE),
            mk.file("opt/gone/python3", b"x", **EXECUTABLE),
            mk.symlink("opt/link", "/tmp"),
            mk.file("tmp/python3", b"x", **EXECUTABLE),
            mk.file("home/ada/python3", b"x", **EXECUTABLE),
        ),
        mk.layer(mk.file("opt/.wh.gone")),
    ]
    load(found, mk.docker_archive(tmp_path / "image.tar", [mk.Spec("lab/own:1", layers)]))
    load(found, mk.docker_archive(tmp_path / "y.tar", [mk.Spec("evil.yaml:1", layers)]))
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What is chosen; a program that would be run fails the test."""
    chosen: list[Any] = []

    def choose(_store: Any, image: Any, *, python: str = "") -> tiers.Tier:
        chosen.append((image.names, python))
        return tiers.Tier(tiers.PAYLOAD, (python or "/opt/py/bin/python3",), "", payload="p")

    def run(*_: Any, **__: Any) -> None:
        pytest.fail("a program was run")

    monkeypatch.setattr(tiers, "choose", choose)
    monkeypatch.setattr(probe, "run_once", run)
    return chosen


BINDS = (Bind("/tmp", "/tmp"), Bind("/home/ada", "/home/ada"), Bind("/proc", "/proc", proc=True))


@pytest.fixture
def apply(store: Store, tmp_path: Path) -> Callable[..., KernelSettings]:
    """apply(wishes): what a start comes to, as prepare_kernel decides it."""

    def work(wishes: object, given: KernelSettings = SETTINGS) -> KernelSettings:
        path = tmp_path / "n.ipynb"
        path.write_text(json.dumps({"metadata": {"lpmx": wishes}, "cells": []}))
        found = notebook.apply(store, given, {notebook.VARIABLE: str(path)})
        if found is not given:
            image = store.resolve(found.image)
            notebook.check_start(store, image, found, BINDS, str(path))
        return found

    return work


def test_a_notebook_chooses_an_image_and_one_of_its_pythons(
    apply: Callable[..., KernelSettings], asked: list[Any]
) -> None:
    for python in ("", "/opt/py/bin/python3", "/opt/py/bin/python3.11"):
        found = apply({"image": "lab/own:1", **({"python": python} if python else {})})
        assert found.image == "lab/own:1"
        names, chosen = asked.pop()
        assert "lab/own:1" in names
        assert chosen == python


@pytest.mark.parametrize(
    "python",
    [
        "/tmp/python3",
        "/tmp/evil/python3",
        "/home/ada/python3",
        "/home/ada/../ada/python3",
        "/opt/link/python3",
        "/opt/py/bin/python3.1",
        "/opt/py/bin/python3.2",
        "/opt/py/bin/python3.3",
        "/opt/py/bin/python3.4",
        "/opt/py/bin/python3.5",
        "/opt/py/bin/python3.6",
        "/opt/py/bin/perl",
        "/opt/gone/python3",
        "/opt/py/bin/python3 -c x",
        "/proc/self/cwd/python3",
        "/proc/self/root/tmp/python3",
        "/dev/fd/0/python3",
        "python3",
        "./python3",
        "/opt/py/bin/../../../tmp/python3",
        "-c",
        "/opt/py/bin/python3\n",
        "\ud800/python3",
    ],
)
def test_other_programs_are_refused_and_not_run(
    apply: Callable[..., KernelSettings], asked: list[Any], python: str
) -> None:
    with pytest.raises(KernelSpecError, match=r"n\.ipynb: metadata\.lpmx: ") as caught:
        apply({"image": "lab/own:1", "python": python})
    assert caught.value.hint
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("evil.yaml", "is an environment file"),
        ("./lab.yml", "is an environment file"),
        ("/home/ada/x.yaml", "is an environment file"),
        ("./image.tar", "is not an image name"),
        ("../store/images", "is not an image name"),
        ("docker://lab/own:1", "is not an image name"),
        ("-v/:/host", "is not an image name"),
        ("lab/own:1 \x1b]0;x\x07", "is not an image name"),
        ("\ud800", "is not an image name"),
        ("lab/missing:1", "no such image"),
        ("f" * 64, "no such image"),
        ("x" * 5000, "is not a name"),
    ],
)
def test_only_images_of_the_store_can_be_named(
    apply: Callable[..., KernelSettings], asked: list[Any], image: str, words: str
) -> None:
    with pytest.raises(KernelSpecError, match=words) as caught:
        apply({"image": image})
    assert caught.value.message.isprintable()
    assert not asked


@pytest.mark.parametrize(
    "key", sorted({field.name for field in fields(KernelSettings)} - {"image"})
)
def test_what_the_kernel_is_made_of_cannot_be_chosen(
    apply: Callable[..., KernelSettings], asked: list[Any], key: str
) -> None:
    with pytest.raises(KernelSpecError, match="nothing that a notebook can choose"):
        apply({"image": "lab/own:1", key: "x"})
    assert not asked


def test_a_python_without_an_image_is_refused(apply: Callable[..., KernelSettings]) -> None:
    with pytest.raises(KernelSpecError, match="names a Python and no image"):
        apply({"python": "/opt/py/bin/python3"})


def test_a_kernel_can_limit_what_notebooks_choose(
    apply: Callable[..., KernelSettings], asked: list[Any]
) -> None:
    assert apply({"image": "lab/own:1"}, replace(SETTINGS, notebook_images=("lab/*",)))
    for patterns in ((), ("vendor/*",)):
        with pytest.raises(KernelSpecError, match="does not leave to notebooks"):
            apply({"image": "lab/own:1"}, replace(SETTINGS, notebook_images=patterns))


def test_a_pipe_called_like_a_notebook_is_not_waited_for(store: Store, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "n.ipynb")
    environ = {notebook.VARIABLE: str(tmp_path / "n.ipynb")}
    assert notebook.apply(store, SETTINGS, environ) is SETTINGS
    deep = tmp_path / "deep.ipynb"
    deep.write_text('{"metadata": ' + "[" * 200_000)
    assert notebook.apply(store, SETTINGS, {notebook.VARIABLE: str(deep)}) is SETTINGS


def test_only_pythons_of_the_layers_are_candidates(
    store: Store,
) -> None:
    image = store.resolve("lab/own:1")
    assert "/opt/py/bin/python3" in probe.python_candidates(store, image)
    config = {**image.config, "config": {"Env": ["PATH=/tmp:/opt/link:/opt/gone:/opt/py/bin"]}}
    image = replace(image, config=config)
    assert probe.python_candidates(store, image) == ["/opt/py/bin/python3"]
    assert not inimage.why_not(store, image, "/tmp/python3", ())
    assert inimage.why_not(store, image, "/tmp/python3", BINDS)


# Metadata as strangers write it: our own words, paths that lead out, and anything at all.
PATHS = st.sampled_from((
    "/tmp/python3", "/opt/py/bin/python3", "/opt/py/bin/python3.1", "lab/own:1", "evil.yaml",
    "/opt/link/python3", "x\x1b[2J", "\ud800", "../../python3", "", "host:/bin/sh", "~/x.yaml",
))  # fmt: skip
VALUES = st.recursive(
    PATHS | st.text(max_size=8) | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(PATHS, inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from((*sorted(field.name for field in fields(KernelSettings)), "python"))
WISHES = st.dictionaries(KEYS | st.text(max_size=5), VALUES, max_size=3) | VALUES
LIKELY = st.fixed_dictionaries({}, optional={"image": PATHS, "python": PATHS})


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(wishes=WISHES | LIKELY)
def test_whatever_a_notebook_says_it_chooses_an_own_program_or_nothing(
    apply: Callable[..., KernelSettings], asked: list[Any], wishes: object
) -> None:
    try:
        found = apply(wishes)
    except KernelSpecError as error:
        said = f"{error.message}{error.hint}"
    else:
        said = ""
    assert said.isprintable()
    if said or found is SETTINGS:
        return
    allowed = {"image", "command", "payload", "host_kernel", "persist"}
    changed = {f.name for f in fields(found) if getattr(found, f.name) != getattr(SETTINGS, f.name)}
    assert changed <= allowed
    assert found.image == "lab/own:1"
    assert found.command[0] == "/opt/py/bin/python3"
