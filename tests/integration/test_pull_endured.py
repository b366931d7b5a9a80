"""Pulls that are killed, many at once, over lines that break, onto disks that are too small."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support import mkimage
from support.lpmx import Lpmx, clean_environment
from support.registry import FaultProxy, Rule, lone_user, proxied_registry
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MB = 1 << 20
SIZE = 22 * MB  # of the large layer
BLOBS = "GET .*/blobs/"


@pytest.fixture(scope="module")
def spec() -> mkimage.Spec:
    layers = [
        mkimage.layer(mkimage.file("large", os.urandom(SIZE))),
        mkimage.layer(mkimage.file("small", os.urandom(MB))),
    ]
    return mkimage.Spec("x:1", layers, {"Cmd": ["/x"]})


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, spec: mkimage.Spec) -> Iterator[FaultProxy]:
    folder = tmp_path_factory.mktemp("registry")
    mkimage.docker_archive(folder / "x.tar", [spec])
    with proxied_registry(folder, folder / "x.tar", "lab/x:1") as proxy:
        yield proxy


@pytest.fixture
def name(proxy: FaultProxy) -> str:
    proxy.begin()
    return f"{proxy.address}/lab/x:1"


@pytest.fixture
def lpmx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    lone_user(tmp_path / "home", monkeypatch)
    return Lpmx(tmp_path / "store")


def start_pull(lpmx: Lpmx, *words: str) -> subprocess.Popen[str]:
    env = clean_environment(lpmx.environment())
    return subprocess.Popen(
        [*lpmx.command, "pull", "-q", *words], env=env, text=True, stdout=-1, stderr=-1
    )


def fetched(lpmx: Lpmx) -> int:
    """Bytes of the partial."""
    return sum(path.stat().st_size for path in (lpmx.home / "downloads").glob("*.partial"))


def assert_whole(lpmx: Lpmx, spec: mkimage.Spec) -> None:
    (row,) = json.loads(lpmx("--json", "images").stdout)
    assert row["id"] == spec.id
    assert list((lpmx.home / "downloads").iterdir()) == []
    assert list((lpmx.home / "tmp").iterdir()) == []


def test_kill_9_at_every_5_mb_then_pull_is_whole(
    lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    """Each pull goes on at the very byte where the one before was killed."""
    proxy.begin(Rule(BLOBS, "pass", rate=25 * MB))
    ends = []
    for mark in range(5 * MB, SIZE, 5 * MB):
        process = start_pull(lpmx, "--jobs", "1", name)
        until(lambda mark=mark: fetched(lpmx) > mark, what=f"{mark} bytes are here")
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        ends.append(fetched(lpmx))
    proxy.rules = []
    lpmx("pull", name)
    lpmx("gc")
    assert_whole(lpmx, spec)
    assert [one.range for one in proxy.requests if one.range] == [f"bytes={at}-" for at in ends]
    assert ends == sorted(set(ends))
    assert ends[-1] > 20 * MB


def test_gc_leaves_alone_what_a_pull_is_fetching(
    lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    proxy.begin(Rule(BLOBS, "pass", rate=20 * MB))
    process = start_pull(lpmx, name)
    until(lambda: fetched(lpmx) > 2 * MB, what="a part is here")
    lpmx("gc", "--downloads", check=False)
    out, err = process.communicate(timeout=60)
    assert (out, process.returncode) == (f"{spec.id}\n", 0), err
    assert not [one for one in proxy.requests if one.range]
    assert_whole(lpmx, spec)


@pytest.mark.parametrize("count", [pytest.param(16), pytest.param(64, marks=pytest.mark.long)])
def test_many_pulls_of_one_image_are_one_download(
    count: int, lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    processes = [start_pull(lpmx, name) for _ in range(count)]
    for process in processes:
        out, err = process.communicate(timeout=600)
        assert (out, process.returncode) == (f"{spec.id}\n", 0), err
    times = Counter(proxy.blobs())
    times.pop(spec.id, None)  # the configuration, which each has to read
    assert sorted(times.values()) == [1, 1], "each layer crosses the line once"
    assert_whole(lpmx, spec)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_1_gb_with_20_cuts_transfers_at_most_1_02_gb(lpmx: Lpmx, tmp_path: Path) -> None:
    size = 1_000_000_000
    (tmp_path / "layer").mkdir()
    with open(tmp_path / "layer/large", "wb") as file:
        file.writelines(os.urandom(1_000_000) for _ in range(size // 1_000_000))
    tar = tmp_path / "large.tar"
    subprocess.run(["tar", "-C", tmp_path / "layer", "-cf", tar, "large"], check=True)
    spec = mkimage.Spec("large:1", [tar.read_bytes()], {})
    mkimage.docker_archive(tmp_path / "x.tar", [spec])
    with proxied_registry(tmp_path, tmp_path / "x.tar", "lab/large:1") as proxy:
        proxy.begin(
            Rule(BLOBS, "pass", times=1),
            Rule(BLOBS, "cut", times=20, after=45_000_000),
        )
        lpmx("pull", f"{proxy.address}/lab/large:1", timeout=800)
        assert len([one for one in proxy.requests if one.range]) == 20
        assert sum(one.sent for one in proxy.requests) <= 1.02 * size
    assert_whole(lpmx, spec)


# ---- disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Lpmx]]:
    """small_disk(BYTES): a store on a file system of that size."""
    place = tmp_path / "small"
    place.mkdir()

    def mount(size: int) -> Lpmx:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no tmpfs can be mounted here")
        return Lpmx(place / "store")

    yield mount
    subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


@pytest.mark.needs_root
def test_disk_full_is_told_before_the_first_byte(
    small_disk: Callable[[int], Lpmx], proxy: FaultProxy, name: str
) -> None:
    lpmx = small_disk(16 * MB)
    done = lpmx("pull", name, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    message, hint = done.stderr.splitlines()
    assert message.startswith(f"lpmx: {lpmx.home}: needs 27 MB, has 1"), message
    assert "LPMX_HOME" in hint
    assert len(proxy.blobs()) == 1, "the configuration"
    assert not (lpmx.home / "downloads").exists()


@pytest.mark.needs_root
def test_a_disk_that_fills_up_meanwhile_ends_the_pull_and_the_next_goes_on(
    small_disk: Callable[[int], Lpmx], proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    """Room for the blobs there was at the start; then another program takes it."""
    lpmx = small_disk(64 * MB)
    proxy.begin(Rule(BLOBS, "pass", rate=12 * MB))
    process = start_pull(lpmx, "--jobs", "1", name)
    until(lambda: fetched(lpmx) > 5 * MB, what="a part is here")
    other = lpmx.home.parent / "other"
    other.write_bytes(bytes(50 * MB))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, ""), err
    lines = err.splitlines()
    assert lines[0].startswith("lpmx: blob "), err
    assert lines[0].endswith(": no space left")
    assert len(lines) <= 2
    left = max((lpmx.home / "downloads").iterdir(), key=lambda path: path.stat().st_size)
    assert (left.suffix, left.stat().st_size > 5 * MB) == (".partial", True)
    assert json.loads(lpmx("--json", "images").stdout) == []
    at = left.stat().st_size
    other.unlink()
    proxy.begin()
    lpmx("pull", name)
    assert [one.range for one in proxy.requests if one.range] == [f"bytes={at}-"]
    assert_whole(lpmx, spec)


@pytest.mark.needs_root
def test_a_disk_that_fills_up_while_a_layer_is_unpacked(
    small_disk: Callable[[int], Lpmx], name: str
) -> None:
    """Blobs fit, their contents do not: one line, and nothing but what was fetched is left."""
    lpmx = small_disk(34 * MB)
    done = lpmx("pull", name, check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("layer ")]
    assert lines[0].endswith(": no space left"), lines
    assert {path.suffix for path in (lpmx.home / "downloads").iterdir()} == {""}, "whole"
    assert json.loads(lpmx("--json", "images").stdout) == []
    assert list((lpmx.home / "tmp").iterdir()) == []
