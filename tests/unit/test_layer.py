"""A layer's archive on disk and in its view: nothing leads out of the layer, whatever it says."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import mkimage as mk

from lpmx_runtime.errors import ArchiveError
from lpmx_runtime.images.extract import extract_layer
from lpmx_runtime.store.store import remove_tree
from lpmx_runtime.union.view import IMPLICIT, OPAQUE, WHITEOUT, Node, View

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

DIFF_ID = "ab" * 32


@dataclass
class Layer:
    fs: Path
    nodes: dict[bytes, Node]
    size: int
    lower_links: list[tuple[bytes, bytes]]

    def on_disk(self) -> dict[str, str]:
        """Relative path to kind or content."""
        found = {}
        for top, folders, files in os.walk(self.fs):
            for name in folders + files:
                path = os.path.join(top, name)
                status = os.lstat(path)
                if stat.S_ISREG(status.st_mode):
                    with open(path, "rb") as file:
                        text = file.read().decode()
                else:
                    text = f"-> {os.readlink(path)}" if stat.S_ISLNK(status.st_mode) else "/"
                found[os.path.relpath(path, self.fs)] = text
        return found


@pytest.fixture
def extract(tmp_path: Path) -> Generator[Callable[..., Layer], None, None]:
    """extract(*members): that layer. Anything that lands beside it fails the test."""

    def work(*members: bytes) -> Layer:
        target = tmp_path / "layer" / "fs"
        if target.exists():
            remove_tree(target.parent)
        target.mkdir(parents=True)
        with extract_layer(iter([mk.layer(*members)]), target) as extraction:
            extraction.write_view(tmp_path / "layer" / "view", DIFF_ID)
            size, links = extraction.size, extraction.lower_links()
        with View(tmp_path / "layer" / "view") as view:
            return Layer(target, dict(view.walk()), size, links)

    yield work
    remove_tree(tmp_path / "layer")  # pytest's own clean-up recurses: deep trees end it
    assert list(tmp_path.iterdir()) == []


def test_files_folders_and_links_are_on_disk_as_in_the_archive(
    extract: Callable[..., Layer],
) -> None:
    layer = extract(
        mk.folder("d", mode=0o750, mtime=1_000),
        mk.file("d/f", b"hello", mode=0o640, mtime=2_000),
        mk.symlink("d/s", "/absolute/target", mtime=3_000),
        mk.hardlink("h", "d/f"),
    )
    assert layer.on_disk() == {"d": "/", "d/f": "hello", "d/s": "-> /absolute/target", "h": "hello"}
    found = {name: os.lstat(layer.fs / name) for name in ("d", "d/f", "d/s", "h")}
    assert stat.S_IMODE(found["d"].st_mode) == 0o750
    assert stat.S_IMODE(found["d/f"].st_mode) == 0o640
    assert [int(found[name].st_mtime) for name in ("d", "d/f", "d/s")] == [1000, 2000, 3000]
    assert found["h"].st_ino == found["d/f"].st_ino


def test_the_view_says_what_lstat_says(extract: Callable[..., Layer]) -> None:
    layer = extract(
        mk.file("f", b"x" * 5000, mode=0o4711, uid=7, gid=8),
        mk.hardlink("g", "f"),
        mk.symlink("s", "f"),
        mk.folder("d"),
        mk.fifo("d/p"),
    )
    for name, node in layer.nodes.items():
        status = os.lstat(os.path.join(os.fsencode(layer.fs), name))
        told = (node.mode, node.ino, node.nlink, node.uid, node.gid, node.mtime_ns, node.ctime_ns)
        seen = (
            status.st_mode,
            status.st_ino,
            status.st_nlink,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
        assert (name, told) == (name, seen)
        assert (node.size, node.blocks) == (status.st_size, status.st_blocks)
    assert layer.nodes[b"s"].link == b"f"
    f = layer.nodes[b"g"]
    assert (f.tar_mode, f.tar_uid, f.tar_gid) == (stat.S_IFREG | 0o4711, 7, 8)
    assert layer.size == 5000


def test_setuid_bits_never_reach_the_disk(extract: Callable[..., Layer]) -> None:
    layer = extract(
        mk.file("su", mode=0o6755), mk.folder("sg", mode=0o2775), mk.folder("t", mode=0o1777)
    )
    assert [stat.S_IMODE(os.lstat(layer.fs / n).st_mode) for n in ("su", "sg", "t")] == [
        0o755,
        0o775,
        0o1777,
    ]
    assert layer.nodes[b"su"].tar_mode == stat.S_IFREG | 0o6755


def test_unreadable_modes_stay_usable_for_the_owner(extract: Callable[..., Layer]) -> None:
    layer = extract(mk.folder("d", mode=0), mk.file("d/f", b"x", mode=0))
    assert stat.S_IMODE(os.lstat(layer.fs / "d").st_mode) == 0o700
    assert stat.S_IMODE(os.lstat(layer.fs / "d/f").st_mode) == 0o400
    assert layer.nodes[b"d/f"].tar_mode == stat.S_IFREG


def test_devices_are_empty_files_and_remembered_in_the_view(extract: Callable[..., Layer]) -> None:
    layer = extract(mk.device("dev/null"), mk.device("dev/sda", b"4", major=8, minor=0))
    assert layer.on_disk() == {"dev": "/", "dev/null": "", "dev/sda": ""}
    null, sda = layer.nodes[b"dev/null"], layer.nodes[b"dev/sda"]
    assert (null.tar_mode, null.rdev) == (stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert (sda.tar_mode, sda.rdev) == (stat.S_IFBLK | 0o666, os.makedev(8, 0))
    assert stat.S_ISREG(null.mode)


@pytest.mark.parametrize("name", ["/etc/x", "./etc/x", "//etc//x", "a/../etc/x", "etc/./x"])
def test_names_are_cleaned_as_docker_does(extract: Callable[..., Layer], name: str) -> None:
    assert extract(mk.file(name, b"1")).on_disk() == {"etc": "/", "etc/x": "1"}


@pytest.mark.parametrize("name", ["../x", "a/../../x", "..", "/../x"])
def test_a_name_that_leads_out_is_refused(extract: Callable[..., Layer], name: str) -> None:
    with pytest.raises(ArchiveError, match="leads out"):
        extract(mk.file(name, b"1"))


def test_an_absolute_symlink_parent_stays_in_the_layer(
    extract: Callable[..., Layer], tmp_path: Path
) -> None:
    layer = extract(mk.symlink("esc", str(tmp_path)), mk.file("esc/planted", b"1"))
    inside = str(tmp_path).lstrip("/") + "/planted"
    assert layer.on_disk()[inside] == "1"


def test_a_climbing_symlink_parent_stays_in_the_layer(extract: Callable[..., Layer]) -> None:
    layer = extract(mk.symlink("a/esc", "../../../../.."), mk.file("a/esc/planted", b"1"))
    assert layer.on_disk()["planted"] == "1"


def test_symlinked_folders_of_the_layer_are_followed(extract: Callable[..., Layer]) -> None:
    layer = extract(mk.folder("usr/bin"), mk.symlink("bin", "usr/bin"), mk.file("bin/tool", b"1"))
    assert layer.on_disk()["usr/bin/tool"] == "1"


def test_a_symlink_swapped_in_after_use_changes_where_names_go(
    extract: Callable[..., Layer],
) -> None:
    layer = extract(
        mk.symlink("l", "one"),
        mk.file("l/a", b"1"),
        mk.symlink("l", "two"),
        mk.file("l/b", b"2"),
    )
    assert layer.on_disk() == {
        "l": "-> two",
        "one": "/",
        "one/a": "1",
        "two": "/",
        "two/b": "2",
    }


def test_a_symlink_is_never_written_through(extract: Callable[..., Layer], tmp_path: Path) -> None:
    layer = extract(mk.symlink("f", str(tmp_path / "victim")), mk.file("f", b"1"))
    assert layer.on_disk() == {"f": "1"}


def test_a_symlink_loop_as_parent_is_refused(extract: Callable[..., Layer]) -> None:
    with pytest.raises(ArchiveError, match="too many symlinks"):
        extract(mk.symlink("a", "b"), mk.symlink("b", "a"), mk.file("a/x"))


def test_a_file_as_parent_is_refused(extract: Callable[..., Layer]) -> None:
    with pytest.raises(ArchiveError, match="a file stands where"):
        extract(mk.file("a"), mk.file("a/x"))


@pytest.mark.parametrize("target", ["../../etc/passwd", "d", "/", "f/x"])
def test_a_hard_link_to_what_can_be_no_file_is_refused(
    extract: Callable[..., Layer], target: str
) -> None:
    with pytest.raises(ArchiveError, match=r"hard link|leads out|a file stands"):
        extract(mk.folder("d"), mk.file("f"), mk.hardlink("h", target))


@pytest.mark.parametrize(
    ("target", "meant"),
    [("/etc/passwd", "etc/passwd"), ("missing", "missing"), ("esc/passwd", "etc/passwd"),
     ("no/such/folder", "no/such/folder")],
)  # fmt: skip
def test_a_hard_link_to_what_the_layer_lacks_is_noted_for_the_layers_below(
    extract: Callable[..., Layer], target: str, meant: str
) -> None:
    layer = extract(
        mk.folder("etc"),
        mk.symlink("esc", "/etc"),
        mk.hardlink("h", target),
        mk.hardlink("twin", "h"),
        mk.hardlink("gone", target),
        mk.file("gone", b"replaced"),
    )
    assert layer.lower_links == [(b"h", meant.encode()), (b"twin", meant.encode())]
    assert layer.on_disk() == {
        "etc": "/", "esc": "-> /etc", "h": "", "twin": "", "gone": "replaced"
    }  # fmt: skip


def test_a_hard_link_to_a_symlink_does_not_follow_it(extract: Callable[..., Layer]) -> None:
    layer = extract(mk.symlink("s", "/etc/passwd"), mk.hardlink("h", "s"))
    assert layer.on_disk() == {"s": "-> /etc/passwd", "h": "-> /etc/passwd"}
    assert layer.nodes[b"h"].link == b"/etc/passwd"


@pytest.mark.parametrize(
    "members",
    [
        (mk.file("f"), mk.hardlink("f", "f")),
        (mk.file("d/f"), mk.hardlink("d", "d/f")),
    ],
)
def test_a_hard_link_over_its_own_source_is_refused(
    extract: Callable[..., Layer], members: tuple[bytes, ...]
) -> None:
    with pytest.raises(ArchiveError, match="hard link"):
        extract(*members)


def test_of_duplicates_the_last_wins(extract: Callable[..., Layer]) -> None:
    layer = extract(
        mk.file("a", b"1"),
        mk.file("a", b"22"),
        mk.folder("b"),
        mk.file("b/x", b"1"),
        mk.file("b", b"now a file"),
        mk.file("c", b"1"),
        mk.folder("c"),
        mk.file("c/y", b"2"),
        mk.folder("d", mode=0o700),
        mk.file("d/kept", b"k"),
        mk.folder("d", mode=0o755),
    )
    assert layer.on_disk() == {
        "a": "22",
        "b": "now a file",
        "c": "/",
        "c/y": "2",
        "d": "/",
        "d/kept": "k",
    }
    assert b"b/x" not in layer.nodes
    assert stat.S_IMODE(layer.nodes[b"d"].mode) == 0o755


def test_a_name_replaced_away_from_its_hard_link_leaves_the_other(
    extract: Callable[..., Layer],
) -> None:
    layer = extract(mk.file("a", b"1"), mk.hardlink("b", "a"), mk.file("a", b"2"))
    assert layer.on_disk() == {"a": "2", "b": "1"}
    assert (layer.nodes[b"b"].nlink, layer.size) == (1, 2)


def test_whiteouts_are_in_the_view_and_not_on_disk(extract: Callable[..., Layer]) -> None:
    layer = extract(mk.file("etc/.wh.motd"), mk.folder("opt"), mk.file("opt/.wh..wh..opq"))
    assert layer.on_disk() == {"etc": "/", "opt": "/"}
    assert layer.nodes[b"etc/motd"].flags & WHITEOUT
    assert layer.nodes[b"opt"].flags & OPAQUE
    assert layer.nodes[b"etc"].flags & IMPLICIT


@pytest.mark.parametrize(
    "member",
    [
        mk.hardlink("etc/.wh.motd", "etc/passwd"),
        mk.symlink("etc/.wh.motd", "x"),
        mk.device("etc/.wh.motd", major=0, minor=0),
        mk.folder("etc/.wh.motd"),
        mk.file("etc/.wh.motd", b"with content"),
    ],
)
def test_a_whiteout_is_told_by_its_name_whatever_its_type(
    extract: Callable[..., Layer], member: bytes
) -> None:
    layer = extract(mk.file("etc/passwd", b"p"), member, mk.file("z", b"z"))
    assert layer.on_disk() == {"etc": "/", "etc/passwd": "p", "z": "z"}
    assert layer.nodes[b"etc/motd"].flags & WHITEOUT


@pytest.mark.parametrize("order", [1, -1])
def test_a_name_both_hidden_and_present_shows_the_layers_own(
    extract: Callable[..., Layer], order: int
) -> None:
    members = [mk.file(".wh.d"), mk.file("d/x", b"1"), mk.file(".wh.f"), mk.file("f", b"2")]
    layer = extract(*members[::order])
    assert layer.nodes[b"d"].flags & OPAQUE
    assert not layer.nodes[b"f"].flags & WHITEOUT
    assert layer.on_disk() == {"d": "/", "d/x": "1", "f": "2"}


@pytest.mark.parametrize("name", [".wh.", "a/.wh..", "a/.wh..."])
def test_a_whiteout_of_nothing_is_refused(extract: Callable[..., Layer], name: str) -> None:
    with pytest.raises(ArchiveError, match="whiteout of nothing"):
        extract(mk.file(name))


def test_folders_of_aufs_are_passed_over(extract: Callable[..., Layer]) -> None:
    layer = extract(mk.folder(".wh..wh.plnk"), mk.file(".wh..wh.plnk/1.2"), mk.file(".wh..wh.aufs"))
    assert layer.on_disk() == {}


def test_no_symlink_makes_a_reserved_name(extract: Callable[..., Layer]) -> None:
    with pytest.raises(ArchiveError, match="reserved"):
        extract(mk.symlink("a", ".wh.b"), mk.file("a/x"))


def test_names_are_bytes(extract: Callable[..., Layer]) -> None:
    layer = extract(mk.file(b"caf\xe9/\xff\xfe", b"1"), mk.symlink(b"l\xe9", b"\xff"))
    assert os.listdir(os.fsencode(layer.fs) + b"/caf\xe9") == [b"\xff\xfe"]
    assert layer.nodes[b"l\xe9"].link == b"\xff"


def test_long_names_are_kept_and_too_long_ones_refused(extract: Callable[..., Layer]) -> None:
    long = "/".join(["d" * 200] * 5 + ["f" * 255])
    assert extract(mk.pax(path=long), mk.file("x", b"1")).on_disk()[long] == "1"
    for bad in ("f" * 256, "/".join(["d" * 100] * 50)):
        with pytest.raises(ArchiveError, match="name"):
            extract(mk.pax(path=bad), mk.file("x", b"1"))


def test_paths_cannot_grow_past_the_limit_through_symlinks(extract: Callable[..., Layer]) -> None:
    deep = "/".join(["d"] * 1500)
    with pytest.raises(ArchiveError, match="a path of"):
        extract(
            mk.pax(path=deep),
            mk.folder("x"),
            mk.pax(linkpath=deep),
            mk.symlink("l", "x"),
            mk.pax(path="l/" + deep),
            mk.file("x"),
        )


def test_a_tree_deeper_than_open_files_allow_is_extracted_and_removed(
    extract: Callable[..., Layer],
) -> None:
    deep = "/".join(["d"] * 1900)
    layer = extract(mk.pax(path=deep), mk.folder("x"), mk.file("a"))
    assert len(layer.nodes) == 1902
    remove_tree(layer.fs)
    assert not layer.fs.exists()


def test_a_nul_in_a_name_is_refused(extract: Callable[..., Layer]) -> None:
    with pytest.raises(ArchiveError, match="not a usable name"):
        extract(mk.pax(path=b"a\0b"), mk.file("x"))


def test_user_xattrs_are_kept_and_ours_cannot_be_forged(
    extract: Callable[..., Layer], tmp_path: Path
) -> None:
    probe = tmp_path / "layer"
    probe.mkdir()
    try:
        os.setxattr(probe, "user.probe", b"1")
    except OSError:
        pytest.skip("this file system has no user xattrs")
    names = {"user__a": b"1\xff", "user__lpmx__mode": b"x", "security__capability": b"x"}
    members = [mk.pax(**{f"SCHILY__xattr__{k}": v for k, v in names.items()}), mk.file("f")]
    fs = extract(*members).fs
    kept = {name: os.getxattr(fs / "f", name) for name in os.listxattr(fs / "f")}
    assert kept == {"user.a": b"1\xff", "user.lpmx.security.capability": b"x"}


def test_sparse_files_are_sparse_on_disk(extract: Callable[..., Layer]) -> None:
    size = 1 << 24
    records = {"GNU__sparse__size": str(size), "GNU__sparse__map": f"{size - 4},4"}
    layer = extract(mk.pax(**records, GNU__sparse__name="s"), mk.file("x", b"DATA"))
    status = os.lstat(layer.fs / "s")
    assert (status.st_size, status.st_blocks * 512 < size) == (size, True)
    assert (layer.fs / "s").read_bytes()[-5:] == b"\0DATA"


def test_folder_times_survive_what_is_put_into_them(extract: Callable[..., Layer]) -> None:
    layer = extract(mk.folder("d", mtime=1000), mk.file("d/a"), mk.folder("d/e", mtime=2000))
    assert int(os.lstat(layer.fs / "d").st_mtime) == 1000


def test_the_umask_of_the_caller_plays_no_part(extract: Callable[..., Layer]) -> None:
    before = os.umask(0o077)
    try:
        layer = extract(mk.file("f", mode=0o666), mk.folder("d", mode=0o777))
    finally:
        os.umask(before)
    assert [stat.S_IMODE(os.lstat(layer.fs / n).st_mode) for n in "fd"] == [0o666, 0o777]


def test_an_unknown_member_type_is_refused(extract: Callable[..., Layer]) -> None:
    with pytest.raises(ArchiveError, match="unknown type"):
        extract(mk.header("odd", b"Z"))


def test_an_empty_layer_is_a_layer(extract: Callable[..., Layer]) -> None:
    layer = extract()
    assert (layer.on_disk(), set(layer.nodes)) == ({}, {b""})


NAMES = st.sampled_from(
    ["a", "b", "a/b", "a/b/c", "b/../a", "/a", "../a", ".wh.a", "a/.wh..wh..opq"]
)
MEMBERS = st.one_of(
    st.builds(lambda n: mk.file(n, b"x"), NAMES),
    st.builds(mk.folder, NAMES),
    st.builds(mk.symlink, NAMES, st.sampled_from(["a", "..", "/", "/a/b", "../../..", "b/c"])),
    st.builds(mk.hardlink, NAMES, NAMES),
    st.builds(mk.fifo, NAMES),
)


@given(st.lists(MEMBERS, max_size=12))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_order_of_members_ends_in_a_view_equal_to_the_disk_or_an_archive_error(
    extract: Callable[..., Layer], members: list[bytes]
) -> None:
    try:
        layer = extract(*members)
    except ArchiveError:
        return
    shown = {os.fsdecode(n) for n, node in layer.nodes.items() if not node.flags & WHITEOUT}
    assert shown - {""} == {
        os.path.relpath(os.path.join(top, name), layer.fs)
        for top, folders, files in os.walk(layer.fs)
        for name in folders + files
    }
    for name, node in layer.nodes.items():
        if not node.flags & WHITEOUT:
            status = os.lstat(os.path.join(os.fsencode(layer.fs), name))
            assert (name, node.ino, node.nlink, node.ctime_ns) == (
                name,
                status.st_ino,
                status.st_nlink,
                status.st_ctime_ns,
            )
