"""Folders of an image that are closed, for ordinary users (native/closed.c has the folders
that programs made)."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import busybox
from support import mkimage as mk

pytestmark = pytest.mark.needs_user

APPLETS = ("sh", "cat", "ls", "chmod", "rm", "mv", "stat", "sed")


@pytest.fixture(scope="module")
def image_of_folders(store, tmp_path_factory):
    """An image with folders, one of them closed."""
    program = busybox.available()
    if not program:
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    layer = mk.layer(
        mk.file("bin/busybox", Path(program).read_bytes(), mode=0o755),
        *(mk.symlink(f"bin/{name}", "busybox") for name in APPLETS),
        *(mk.file(f"data/d/{name}", f"{name}\n".encode()) for name in "abc"),
        mk.file("data/d/e/e", b"e\n"),
        mk.folder("shut", mode=0o600),
        mk.file("shut/file"),
        mk.file("shut/sub/x"),
    )
    spec = mk.Spec("closed:1", [layer], {"Env": ["PATH=/bin"]})
    store("load", mk.docker_archive(tmp_path_factory.mktemp("closed") / "closed.tar", [spec]))
    return "closed:1"


def test_an_image_s_folders_are_open_to_their_user_until_he_closes_them(run_lpmx, image_of_folders):
    script = """
    stat -c %a /shut && cat /shut/file && chmod 600 /shut
    for p in file none . .. sub/x; do stat /shut/$p 2>&1 | sed 's/.*: //'; done; ls -d /shut
    """
    told = run_lpmx("run", "--rm", image_of_folders, "sh", "-c", script)
    assert told.stdout.splitlines() == ["700", *["Permission denied"] * 5, "/shut"]


def test_a_folder_of_the_image_is_worked_in_below_a_closed_one(run_lpmx, image_of_folders):
    """The one worked in merges with the image's: lower names, a whiteout, a copy and new ones."""
    script = """
    cd /data/d && echo up > up && cd /data/d && chmod 0 .. && cat a up && rm a &&
    echo more >> b && mv c moved &&
    echo new > new && ls && cat b moved new && ! cat a 2>/dev/null && ! ls /data/d 2>/dev/null &&
    ls e && rm b && ls
    """
    told = run_lpmx("run", "--rm", image_of_folders, "sh", "-c", script)
    assert told.stdout.split() == [
        "a", "up", "b", "e", "moved", "new", "up", "b", "more", "c", "new", "e",
        "e", "moved", "new", "up",
    ]  # fmt: skip


def test_a_lower_folder_is_read_below_a_closed_one(run_lpmx, image_of_folders):
    script = (
        "cd /data/d && chmod 0 .. && cat a && ls && stat -c %n . && ! cat /data/d/a 2>/dev/null"
    )
    told = run_lpmx("run", "--rm", image_of_folders, "sh", "-c", script)
    assert told.stdout.split() == ["a", "a", "b", "c", "e", "."]
