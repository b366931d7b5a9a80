"""Reading tar headers: what real archives hold, and what lying ones do."""

from __future__ import annotations

import io
import tarfile

import pytest
from support import mkimage as mk

from lpmx_runtime.errors import ArchiveError
from lpmx_runtime.tar.reader import ByteStream, Member, TarReader


def members(data: bytes, block: int = 1 << 20) -> list[Member]:
    pieces = iter([data[at : at + block] for at in range(0, len(data), block)])
    return list(TarReader(ByteStream(pieces)))


def contents(data: bytes) -> dict[bytes, bytes]:
    stream = ByteStream(iter([data]))
    return {member.name: stream.exactly(member.size) for member in TarReader(stream)}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tarfile_writes_is_read_alike(form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name in ("short", "d/" * 30 + "f" * 90, "ünïcode"):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.mtime = 5, 0o4755, 1234, 1_500_000_000
            tar.addfile(info, io.BytesIO(b"12345"))
    found = members(out.getvalue())
    assert [m.name.decode() for m in found] == ["short", "d/" * 30 + "f" * 90, "ünïcode"]
    assert {(m.mode, m.uid, m.size, m.mtime_ns) for m in found} == {
        (0o4755, 1234, 5, 1_500_000_000 * 10**9)
    }


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_targets_are_whole(form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        info = tarfile.TarInfo("n" * 250)
        info.type, info.linkname = tarfile.SYMTYPE, "t" * 300
        tar.addfile(info)
    (member,) = members(out.getvalue())
    assert (member.name, member.link) == (b"n" * 250, b"t" * 300)


@pytest.mark.parametrize("block", [1, 7, 512, 1000])
def test_blocks_of_any_size_give_the_same_members(block: int) -> None:
    data = mk.layer(mk.file("a", b"x" * 700), mk.folder("d"), mk.file("d/b", b"y"))
    assert [(m.name, m.size) for m in members(data, block)] == [(b"a", 700), (b"d", 0), (b"d/b", 1)]


def test_pax_mtime_keeps_its_nanoseconds_also_before_1970() -> None:
    data = mk.layer(mk.pax(mtime="12.000000345"), mk.file("a"), mk.pax(mtime="-1.5"), mk.file("b"))
    assert [m.mtime_ns for m in members(data)] == [12_000_000_345, -1_500_000_000]


def test_a_size_in_base_256_is_read() -> None:
    raw = bytearray(mk.header("big"))
    raw[124:136] = b"\x80" + (3).to_bytes(11, "big")
    raw[148:156] = b"%06o\0 " % (sum(raw) - sum(raw[148:156]) + 8 * 32)
    assert contents(bytes(raw) + b"abc".ljust(512, b"\0")) == {b"big": b"abc"}


@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files_keep_their_map(form: str) -> None:
    if form == "gnu":
        raw = bytearray(mk.header("s", b"S", size=4))
        raw[257:265] = b"ustar  \0"
        raw[386:410] = b"%011o\0%011o\0" % (4096, 4)
        raw[483:495] = b"%011o\0" % 8192
        raw[148:156] = b"%06o\0 " % (sum(raw) - sum(raw[148:156]) + 8 * 32)
        data = bytes(raw) + b"DATA".ljust(512, b"\0")
    elif form == "0.0":
        pieces = (("offset", "1000"), ("numbytes", "0"), ("offset", "4096"), ("numbytes", "4"))
        head = mk.pax_record("GNU.sparse.size", "8192")
        head += b"".join(mk.pax_record(f"GNU.sparse.{key}", value) for key, value in pieces)
        data = mk.special(b"x", head) + mk.file("s", b"DATA")
    elif form == "0.1":
        records = {"GNU__sparse__size": "8192", "GNU__sparse__map": "4096,4"}
        data = mk.pax(**records, GNU__sparse__name="s") + mk.file("x", b"DATA")
    else:
        records = {"GNU__sparse__major": "1", "GNU__sparse__minor": "0"}
        sparse_map = b"1\n4096\n4\n".ljust(512, b"\0")
        data = mk.pax(**records, GNU__sparse__name="s", GNU__sparse__realsize="8192")
        data += mk.file("x", sparse_map + b"DATA")
    stream = ByteStream(iter([mk.layer(data, mk.file("next"))]))
    found = []
    for member in TarReader(stream):
        stored = stream.exactly(member.size)
        found.append((member.name, member.pieces, member.real_size, stored))
    (name, pieces_found, *rest), following = found
    assert (name, *rest, following) == (b"s", 8192, b"DATA", (b"next", None, 0, b""))
    assert [piece for piece in pieces_found or () if piece[1]] == [(4096, 4)]


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("checksum", mk.header("a")[:148] + b"0000001\0" + mk.header("a")[156:]),
        ("not a tar header", b"\x01" * 512),
        ("end mark", bytes(512) + mk.header("a")),
        ("truncated", mk.header("a", size=600) + b"x" * 512),
        ("truncated", mk.header("a")[:100]),
        ("truncated", mk.pax(path="x")),
        ("bad pax", mk.special(b"x", b"99 path=x\n") + mk.file("a")),
        ("bad pax", mk.special(b"x", b"path=x\n") + mk.file("a")),
        ("bad size", mk.pax(size="1e9") + mk.file("a")),
        ("bad time", mk.pax(mtime="nan") + mk.file("a")),
        ("longer than any", mk.header("a", b"L", size=1 << 21)),
        ("sparse", mk.pax(GNU__sparse__size="8", GNU__sparse__map="9,9") + mk.file("a", b"x" * 9)),
        ("sparse", mk.pax(GNU__sparse__size="8", GNU__sparse__offset="1") + mk.file("a", b"x")),
        ("sparse", mk.pax(GNU__sparse__size="99", GNU__sparse__map="0,9") + mk.file("a", b"x")),
        ("sparse", mk.pax(GNU__sparse__size="99", GNU__sparse__map="5,1,2,1") + mk.file("a")),
    ],
)
def test_a_damaged_archive_is_an_archive_error(what: str, data: bytes) -> None:
    with pytest.raises(ArchiveError, match=what):
        members(data)
