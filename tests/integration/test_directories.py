"""Directories of layers that a program changes: they stay the ones they were."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from images.build import reference
from support.lpmx import Lpmx

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.lpmx import Completed

# Every way to ask for a directory's inode, of each directory below argv[1]; twice: as it is, and
# once all of them have been copied up. What is kept open from before counts as well.
INODES = r"""
import ctypes, os, stat, sys

libc = ctypes.CDLL(None, use_errno=True)

def statx(fd, path, flags):
    buffer = (ctypes.c_uint32 * 64)()
    if libc.statx(fd, path, flags, 0x7ff, buffer):
        raise OSError(ctypes.get_errno(), "statx")
    return os.makedev(buffer[34], buffer[35]), buffer[8] | buffer[9] << 32

def key(status):
    return status.st_dev, status.st_ino

def ask(path):
    fd, parent = os.open(path, os.O_RDONLY), os.open(os.path.dirname(path), os.O_PATH)
    name = os.path.basename(path)
    answers = [
        key(os.stat(path)), key(os.lstat(path)), key(os.fstat(fd)), key(os.stat(fd)),
        key(os.stat(name, dir_fd=parent)), key(os.stat(name + "/.", dir_fd=parent)),
        statx(-100, path.encode(), 0), statx(fd, b"", 0x1000), statx(parent, name.encode(), 0x100),
    ]
    here = os.getcwd()
    os.chdir(path)
    answers += [key(os.stat(".")), statx(-100, b"", 0x1000)]
    os.chdir(here)
    os.close(fd)
    os.close(parent)
    assert len(set(answers)) == 1, (path, answers)
    with os.scandir(os.path.dirname(path)) as entries:
        inodes = {e.inode() for e in entries if e.name == name}
    assert answers[0][1] in inodes or "listings too" not in sys.argv, path
    return answers[0]

tree = [root for root, _, _ in os.walk(sys.argv[1])]
assert len(tree) > 5
before = {path: ask(path) for path in tree}
kept = {path: os.open(path, os.O_RDONLY) for path in tree}
for path in tree:
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) | 0o20)
assert before == {path: ask(path) for path in tree}
assert before == {path: key(os.fstat(fd)) for path, fd in kept.items()}
gone = tree[-1]
for name in os.listdir(gone):
    os.unlink(os.path.join(gone, name))
os.rmdir(gone)
os.mkdir(gone)
assert ask(gone) != before[gone], "another directory, another inode"
print("ok")
"""
FOLDER = "/usr/share/perl/5.36.0/unicore"
OPTIONS = {"plain": (), "fakeroot": ("--fakeroot",), "user": ("-u", "1234:1234")}


@pytest.fixture(params=OPTIONS)
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return OPTIONS[request.param]


def test_a_directory_keeps_its_inode_when_it_is_copied_up(
    run_lpmx: Callable[..., Completed], image: Callable[[str], str], options: tuple[str, ...]
) -> None:
    done = run_lpmx(
        "run", *options, image("tools"), "python3", "-c", INODES, FOLDER, "listings too"
    )
    assert done.stdout == "ok\n"


def test_chmod_goes_into_the_directories_that_it_changes(
    run_lpmx: Callable[..., Completed], image: Callable[[str], str], options: tuple[str, ...]
) -> None:
    """chmod -R looks at a directory, changes it, and goes in only if what it opens is the same."""
    script = (
        "cd /usr/share; find perl perl5 | sort > /tmp/before; chmod -R o-rwx,g+w perl perl5;"
        " find perl perl5 | sort | cmp - /tmp/before; find perl perl5 ! -type l -perm /o=rwx;"
        " find perl perl5 ! -type l ! -perm -g=w; test -s /tmp/before && echo ok"
    )
    done = run_lpmx("run", *options, image("tools"), "sh", "-c", script)
    assert (done.stdout, done.stderr) == ("ok\n", "")


def test_a_copied_store_shows_one_inode_too(archive: Callable[[str], Path], tmp_path: Path) -> None:
    """Its views record the inodes of the store that it was copied from, and are not believed."""
    first = Lpmx(tmp_path / "first")
    first("load", archive("tools"))
    shutil.copytree(first.home, tmp_path / "second", symlinks=True)
    second = Lpmx(tmp_path / "second")
    done = second("run", reference("tools"), "python3", "-c", INODES, FOLDER)
    assert done.stdout == "ok\n"
