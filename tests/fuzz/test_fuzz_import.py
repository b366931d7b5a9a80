"""The importer of layers on random archives: members that lie about names, links and sizes, and
whole archives with bytes changed. It takes one or says what is wrong; nothing outside the layer is
touched, and what it took has a view that can be read.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest
from support import mkimage

from lpmx_runtime.errors import LpmxError
from lpmx_runtime.images.extract import extract_layer
from lpmx_runtime.store.store import remove_tree
from lpmx_runtime.union.view import WHITEOUT, View

if TYPE_CHECKING:
    from pathlib import Path

SHORT, SHORT_LEAST = 10.0, 500
LONG, LONG_LEAST = 240.0, 20_000
DIFF_ID = "1" * 64
PARTS = (
    b"a", b"b", b"c", b"..", b".", b"", b"x" * 256, b"\xff", b".wh.a", b".wh..wh..opq", b".wh.",
    b".wh..wh.plnk", b"outside", b"n" * 90,
)  # fmt: skip


def random_name(rng: random.Random) -> bytes:
    """A path that may lead anywhere."""
    name = b"/".join(rng.choice(PARTS) for _ in range(rng.choice((1, 1, 2, 2, 3, 6))))
    return rng.choice((b"", b"", b"", b"/", b"./", b"../")) + name


def random_member(rng: random.Random) -> bytes:
    """One member, honest or not."""
    name, target = random_name(rng), random_name(rng)
    match rng.randrange(12):
        case 0 | 1 | 2:
            return mkimage.folder(name, mode=rng.choice((0o755, 0, 0o7777, 0o300)))
        case 3 | 4 | 5:
            data = rng.randbytes(rng.choice((0, 1, 511, 512, 600)))
            return mkimage.file(name, data, mode=rng.choice((0o644, 0, 0o6755)))
        case 6 | 7:
            return mkimage.symlink(name, target)
        case 8:
            return mkimage.hardlink(name, target)
        case 9:
            return mkimage.device(name, rng.choice((b"3", b"4")))
        case 10:
            record = mkimage.pax_record(rng.choice(("path", "linkpath", "size", "uid")), target)
            return mkimage.special(rng.choice((b"x", b"g")), record) + mkimage.file(name, b"1")
        case _:
            return mkimage.special(rng.choice((b"L", b"K")), target + b"\0") + mkimage.fifo(name)


def damaged(rng: random.Random, data: bytes) -> bytes:
    """@data with something changed, the headers' sums put right in half of the cases."""
    raw = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 10))):
        at = rng.randrange(len(raw))
        match rng.randrange(4):
            case 0:
                raw[at] = rng.randrange(256)
            case 1:
                raw[at : at + 8] = rng.choice((b"\xff" * 8, b"7777777\0", b"\x80" + b"\xff" * 7))
            case 2:
                del raw[at : at + rng.choice((1, 512))]
            case 3:
                raw[at:at] = rng.randbytes(rng.choice((1, 512)))
        if not raw:
            return b"x"
    if rng.random() < 0.5:
        for at in range(0, len(raw) - 511, 512):
            if raw[at + 257 : at + 262] == b"ustar":
                raw[at + 148 : at + 156] = b" " * 8
                raw[at + 148 : at + 156] = b"%06o\0 " % sum(raw[at : at + 512])
    return bytes(raw)


def random_archive(rng: random.Random) -> bytes:
    """A layer's tar."""
    members = (random_member(rng) for _ in range(rng.randint(1, 12)))
    data = mkimage.layer(*members, end=rng.random() < 0.9)
    return damaged(rng, data) if rng.random() < 0.6 else data


def take(data: bytes, folder: Path) -> bool:
    """Import @data below @folder; False when it is refused. Fails if it reached outside."""
    outside = folder / "outside"
    outside.write_bytes(b"untouched")
    before = (os.lstat(outside).st_ctime_ns, os.lstat(folder).st_mtime_ns)
    taken = True
    (folder / "layer" / "fs").mkdir(parents=True)
    try:
        with extract_layer(iter([data]), folder / "layer" / "fs") as extraction:
            extraction.write_view(folder / "layer" / "layer.view", DIFF_ID)
    except LpmxError:
        taken = False
    assert outside.read_bytes() == b"untouched"
    assert sorted(os.listdir(folder)) == ["layer", "outside"]
    assert os.lstat(outside).st_nlink == 1
    assert before[0] == os.lstat(outside).st_ctime_ns
    if taken:
        check_view(folder / "layer")
    remove_tree(folder / "layer")
    return taken


def check_view(layer: Path) -> None:
    """What the view says is on the disk is there."""
    with View(layer / "layer.view") as view:
        for path, node in view.walk():
            if node.flags & WHITEOUT:
                continue
            status = os.lstat(os.fsencode(layer / "fs") + b"/" + path)
            assert status.st_mode == node.mode, path


def hunt(folder: Path, seconds: float) -> tuple[int, int]:
    """Random archives for @seconds; how many were tried, and how many taken."""
    end = time.monotonic() + seconds
    tried = taken = 0
    while time.monotonic() < end:
        data = random_archive(random.Random(tried))
        try:
            taken += take(data, folder)
        except BaseException:
            print(f"archive of seed {tried}")
            raise
        tried += 1
    return tried, taken


def test_random_archives_are_taken_or_refused(tmp_path: Path) -> None:
    tried, taken = hunt(tmp_path, SHORT)
    assert tried >= SHORT_LEAST
    assert tried // 20 < taken < tried, "all of one kind tells little"


@pytest.mark.long
@pytest.mark.timeout(2 * LONG)
def test_many_more_random_archives(tmp_path: Path) -> None:
    tried, _ = hunt(tmp_path, LONG)
    assert tried >= LONG_LEAST
