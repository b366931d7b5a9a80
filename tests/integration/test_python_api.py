"""What programs that embed lpmx count on: the names of `lpmx_runtime` that docs/python.md has."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import mkimage as mk

import lpmx_runtime as lpmx

if TYPE_CHECKING:
    from support.lpmx import Lpmx

DOCS = Path(__file__).resolve().parents[2] / "docs" / "python.md"


@pytest.fixture
def opened(store: Lpmx) -> lpmx.Store:
    return lpmx.Store.open(store.home)


def kept(store: Lpmx) -> list[str]:
    return [name for name in os.listdir(store.home / "containers") if not name.startswith(".")]


def test_a_program_of_an_image_runs_and_leaves_nothing(
    opened: lpmx.Store, store: Lpmx, busybox_image: str
) -> None:
    before = kept(store)
    done = lpmx.run(
        busybox_image,
        ["sh", "-c", "cat; echo $A >&2; exit 3"],
        options=lpmx.Options(env={"A": "b"}),
        store=opened,
        input=b"given",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert (done.status, done.signal, done.stdout, done.stderr) == (3, 0, b"given", b"b\n")
    done = lpmx.run(busybox_image, ["sh", "-c", "kill -9 $$"], store=opened)
    assert (done.status, done.signal, done.stdout) == (137, 9, None)
    assert kept(store) == before


def test_a_timeout_ends_all_of_it(opened: lpmx.Store, store: Lpmx, busybox_image: str) -> None:
    before = kept(store)
    with pytest.raises(TimeoutError, match=r"timed out after 0\.5 s"):
        lpmx.run(
            busybox_image, ["sh", "-c", "setsid sleep 71 & sleep 71"], store=opened, timeout=0.5
        )
    assert kept(store) == before


def test_several_threads_run_at_once(opened: lpmx.Store, busybox_image: str) -> None:
    found: list[bytes | None] = []

    def one(number: int) -> None:
        argv = ["echo", str(number)]
        found.append(lpmx.run(busybox_image, argv, store=opened, stdout=subprocess.PIPE).stdout)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [b"%d\n" % number for number in range(6)]


def test_an_environment_file_runs_like_an_image(
    opened: lpmx.Store, busybox_image: str, tmp_path: Path
) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(f"image: {busybox_image}\nenv: {{A: of the file}}\n")
    done = lpmx.run(file, ["sh", "-c", "echo $A"], store=opened, stdout=subprocess.PIPE)
    assert done.stdout == b"of the file\n"


def test_a_plan_is_made_and_nothing_else(
    opened: lpmx.Store, store: Lpmx, busybox_image: str
) -> None:
    before = kept(store)
    plan = lpmx.plan(busybox_image, ["true"], store=opened)
    assert isinstance(plan, lpmx.LaunchPlan)
    assert plan.argv == ("true",)
    assert kept(store) == before


def test_images_are_loaded_and_saved(tmp_path: Path) -> None:
    store = lpmx.Store.open(tmp_path / "store")
    archive = mk.docker_archive(tmp_path / "i.tar", [mk.Spec("lab/x:1", [mk.layer(mk.file("f"))])])
    (loaded,) = lpmx.load(store, archive)
    assert isinstance(loaded.image, lpmx.Image)
    lpmx.save(store, ["lab/x:1"], str(tmp_path / "o.tar"))
    (again,) = lpmx.load(store, tmp_path / "o.tar")
    assert again.image.diff_ids == loaded.image.diff_ids


def test_what_cannot_start_is_an_error_of_its_kind(
    opened: lpmx.Store, store: Lpmx, busybox_image: str
) -> None:
    before = kept(store)
    with pytest.raises(lpmx.ImageNotFoundError):
        lpmx.run("no/such:image", ["true"], store=opened)
    with pytest.raises(lpmx.UsageError):
        lpmx.run(busybox_image, ["true"], store=opened, options=lpmx.Options(volumes=("/none:/x",)))
    assert lpmx.run(busybox_image, ["no-such"], store=opened, stderr=-3).status == 127
    assert kept(store) == before


def test_all_names_are_documented_with_what_they_raise() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name in lpmx.__all__:
        assert f"`{name}" in text, name
        value = getattr(lpmx, name)
        assert inspect.getdoc(value), name
    for name in ("run", "plan", "load", "save", "pull"):
        said = inspect.getdoc(getattr(lpmx, name)) or ""
        assert re.search(r"Error\b|what `load` raises", said), name
    with pytest.raises(AttributeError):
        lpmx.no_such_name  # noqa: B018


def test_importing_it_costs_nothing() -> None:
    code = "import sys, lpmx_runtime; print([m for m in sys.modules if m.startswith('lpmx_')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['lpmx_runtime']\n"


def test_the_examples_of_the_page_run(
    opened: lpmx.Store, busybox_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LPMX_HOME", str(opened.root))
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    for block in blocks:
        exec(block.replace("debian:12", busybox_image), {})
