"""`lpmx load` that is killed, ended or run out of disk half-way, and two of them at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from support import mkimage as mk

from lpmx_runtime import gc
from lpmx_runtime.images.load import load
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEADLINE = 30
SPEC = mk.Spec(
    "big:1",
    [
        mk.layer(*(mk.file(f"d{i % 50}/f{n}-{i}", b"x" * 4000) for i in range(3000)))
        for n in range(3)
    ],
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An image of three layers, 9000 files."""
    return mk.docker_archive(tmp_path / "big.tar", [SPEC])


def start(store: Path, archive: Path) -> subprocess.Popen[bytes]:
    """`lpmx load` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "lpmx_runtime.cli.main", "load", str(archive)],
        env={**os.environ, "LPMX_HOME": str(store)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def wait_for(what: Callable[[], bool]) -> None:
    """Until @what, or fail."""
    end = time.monotonic() + DEADLINE
    while not what():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.001)


def half_way(root: Path) -> bool:
    """Are files of a layer being extracted?"""
    return any(True for _ in root.glob("tmp/*/*/fs/d1*/f*"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_load_that_is_ended_leaves_a_usable_store(
    tmp_path: Path, archive: Path, number: signal.Signals
) -> None:
    root = tmp_path / "store"
    loading = start(root, archive)
    wait_for(lambda: half_way(root))
    loading.send_signal(number)
    _, error = loading.communicate(timeout=DEADLINE)
    assert loading.returncode != 0
    assert b"Traceback" not in error
    store = Store.open(root)
    assert store.images() == []
    if number != signal.SIGKILL:
        assert os.listdir(store.tmp_dir) == []
    (one,) = load(store, archive)
    assert (one.image.id, store.resolve("big:1").id) == (SPEC.id, SPEC.id)
    gc.collect(store)
    assert os.listdir(store.tmp_dir) == []
    assert sorted(store.layers()) == sorted(SPEC.diff_ids)


def test_gc_beside_a_running_load_takes_nothing_from_it(tmp_path: Path, archive: Path) -> None:
    root = tmp_path / "store"
    loading = start(root, archive)
    wait_for(lambda: half_way(root))
    gc.collect(Store.open(root))
    loading.communicate(timeout=DEADLINE)
    assert loading.returncode == 0
    assert Store.open(root).resolve("big:1").id == SPEC.id


def test_processes_loading_one_image_at_once_all_succeed(tmp_path: Path, archive: Path) -> None:
    root = tmp_path / "store"
    loads = [start(root, archive) for _ in range(4)]
    errors = [one.communicate(timeout=DEADLINE)[1] for one in loads]
    assert [one.returncode for one in loads] == [0] * 4, errors
    assert sorted(Store.open(root).layers()) == sorted(SPEC.diff_ids)
    assert os.listdir(root / "tmp") == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    path = tmp_path / "tiny"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.needs_root
def test_a_full_disk_is_said_and_what_was_written_is_taken_back(
    tiny_disk: Path, archive: Path
) -> None:
    root = tiny_disk / "store"
    loading = start(root, archive)
    _, error = loading.communicate(timeout=DEADLINE)
    assert loading.returncode == 1
    assert error.startswith(b"lpmx: ")
    assert b"no space left" in error
    assert len(error.splitlines()) == 2
    store = Store.open(root)
    assert (store.images(), store.layers(), os.listdir(store.tmp_dir)) == ([], [], [])
    small = mk.Spec("small:1", [mk.layer(mk.file("f", b"x"))])
    load(store, mk.docker_archive(archive.with_name("small.tar"), [small]))
    assert store.resolve("small:1").id == small.id
