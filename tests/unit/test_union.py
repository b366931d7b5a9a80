"""The tree of an image from outside: places of binds, patterns, programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import mkimage as mk

from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.images.load import load
from lpmx_runtime.plans.plan import Bind
from lpmx_runtime.store.store import Store
from lpmx_runtime.union.paths import glob, real_place
from lpmx_runtime.union.programs import find_program, is_program, programs_named
from lpmx_runtime.union.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LAYERS = (
    mk.layer(
        mk.folder("usr/bin"),
        mk.symlink("bin", "usr/bin"),
        mk.folder("run"),
        mk.symlink("var/run", "/run"),
        mk.symlink("etc/localtime", "../x"),
        mk.symlink("loop", "loop"),
        mk.file("usr/bin/tool", b"x", mode=0o755),
        mk.file("usr/bin/data", b"x", mode=0o644),
        mk.file("opt/a/bin/tool", b"xy", mode=0o700),
        mk.file("opt/b/bin/tool", b"x", mode=0o644),
        mk.file("opt/gone/bin/tool", b"x", mode=0o755),
        mk.file("opt/.hidden/bin/tool", b"x", mode=0o755),
        mk.symlink("opt/c", "a"),
    ),
    mk.layer(mk.file("opt/.wh.gone")),
)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    store = Store.open(tmp_path / "store")
    archive = mk.docker_archive(tmp_path / "image.tar", [mk.Spec("lab/x:1", list(LAYERS))])
    (loaded,) = load(store, archive)
    (tmp_path / "shown").mkdir()
    binds = [
        Bind(str(tmp_path / "shown"), "/mnt"),
        Bind(str(tmp_path / "shown"), "/data/of/ada"),
    ]
    with Tree.of_image(store, loaded.image, binds) as opened:
        yield opened


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("/bin/tool", "/usr/bin/tool"),
        ("/var/run/a/b", "/run/a/b"),
        ("/etc/localtime", "/etc/localtime"),
        ("/bin/../x", "/usr/x"),
        ("/plain", "/plain"),
    ],
)
def test_a_bind_is_at_the_place_its_parents_lead_to(tree: Tree, asked: str, found: str) -> None:
    assert real_place(tree, asked) == found


def test_a_circle_of_links_is_no_place(tree: Tree) -> None:
    with pytest.raises(UsageError, match="too many symlinks"):
        real_place(tree, "/loop/x")


def test_patterns_see_what_the_image_shows(tree: Tree) -> None:
    assert list(glob(tree, "opt/*/bin/tool")) == [
        "/opt/a/bin/tool", "/opt/b/bin/tool", "/opt/c/bin/tool",
    ]  # fmt: skip
    assert list(glob(tree, "opt/.h*/bin/t?ol")) == ["/opt/.hidden/bin/tool"]
    assert list(glob(tree, "/usr/bin/tool")) == ["/usr/bin/tool"]
    assert list(glob(tree, "usr/bin/tool/*")) == []
    assert list(glob(tree, "nowhere/*")) == []


def test_programs_are_found_as_execvp_finds_them(tree: Tree) -> None:
    assert find_program(tree, "tool", "/opt/b/bin:/opt/a/bin:/usr/bin") == "/opt/a/bin/tool"
    assert list(programs_named(tree, "tool", "/opt/a/bin:rel:/usr/bin")) == [
        "/opt/a/bin/tool", "/usr/bin/tool",
    ]  # fmt: skip
    assert find_program(tree, "tool") == "/usr/bin/tool"
    assert find_program(tree, "/bin/tool") == "/bin/tool"
    assert find_program(tree, "data") is None
    assert find_program(tree, "/opt/gone/bin/tool") is None
    assert not is_program(tree, "/usr/bin")
    assert not is_program(tree, "/usr/bin/tool\0x")


def test_a_walk_can_be_kept_from_binds(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "shown" / "tool").touch(0o755)
    assert is_program(tree, "/mnt/tool")
    with pytest.raises(OSError, match="link"):
        tree.walk(b"/mnt/tool", cross_binds=False)


def test_a_bind_is_there_before_its_parents_are_made(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "shown" / "bin").mkdir()
    (tmp_path / "shown" / "bin" / "tool").touch(0o755)
    assert is_program(tree, "/data/of/ada/bin/tool")
    assert find_program(tree, "tool", "/data/of/ada/bin") == "/data/of/ada/bin/tool"
    assert tree.find(b"/data/of/ada") is not None
    assert tree.find(b"/data/of/ada/none") is None
    assert tree.find(b"/data/of/adam") is None
    with pytest.raises(OSError, match="link"):
        tree.walk(b"/data/of/ada/bin/tool", cross_binds=False)


def test_files_are_read_or_refused_in_one_line(tree: Tree) -> None:
    assert tree.read(b"/bin/tool", 10) == b"x"
    for path, message in ((b"/nowhere", "no such file"), (b"/bin", "not a file")):
        with pytest.raises(LpmxError, match=message):
            tree.read(path, 10)
    with pytest.raises(LpmxError, match="larger than"):
        tree.read(b"/opt/a/bin/tool", 1)
