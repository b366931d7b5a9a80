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
    above = key(os.stat(path + "/.."))
    answers_above = [key(os.stat(os.path.dirname(path))), key(os.stat("..", dir_fd=fd))]
    os.close(fd)
    os.close(parent)
    assert len(set(answers)) == 1, (path, answers)
    assert answers_above == [above, above], path
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
        "cd /usr/share; find perl perl5 | sort > /srv/before; chmod -R o-rwx,g+w perl perl5;"
        " find perl perl5 | sort | cmp - /srv/before; find perl perl5 ! -type l -perm /o=rwx;"
        " find perl perl5 ! -type l ! -perm -g=w; test -s /srv/before && echo ok"
    )
    done = run_lpmx("run", *options, image("tools"), "sh", "-c", script)
    assert (done.stdout, done.stderr) == ("ok\n", "")


# What descriptors and the working directory mean is remembered, by inode: of the right directory.
MEANING = r"""
import os, threading

os.makedirs("/srv/t")
os.chdir("/srv/t")

# the kernel calls a removed directory what another one may really be called
os.mkdir("D")
fd = os.open("D", os.O_RDONLY)
os.rmdir("D")
os.mkdir("D (deleted)")
for flags in os.O_RDONLY, os.O_WRONLY | os.O_CREAT:
    try:
        os.open("x", flags, dir_fd=fd)
        raise SystemExit("found in a removed directory")
    except FileNotFoundError:
        pass
os.close(fd)
os.mkdir("E")  # with the inode of the first
os.chdir("E")
open("precious", "w").close()
assert (os.getcwd(), os.listdir("/srv/t/E")) == ("/srv/t/E", ["precious"])

# one thread goes from directory to directory, another looks where it is
os.makedirs("/srv/A/a")
os.makedirs("/srv/B/b")
a, b = os.open("/srv/A", os.O_RDONLY), os.open("/srv/B", os.O_RDONLY)
stop = threading.Event()

def go():
    while not stop.is_set():
        os.chdir("/srv/A")
        os.chdir("/srv/B")

def look():
    while not stop.is_set():
        os.path.exists("x")

threads = [threading.Thread(target=target) for target in (go, look)]
for thread in threads:
    thread.start()
for _ in range(300):
    os.mkdir("/srv/z")
    os.rmdir("/srv/z")
    assert os.stat("a", dir_fd=a) and os.stat("b", dir_fd=b)
stop.set()
for thread in threads:
    thread.join()
print("ok")
"""


def test_descriptors_mean_the_directories_that_they_are_of(
    run_lpmx: Callable[..., Completed], image: Callable[[str], str], options: tuple[str, ...]
) -> None:
    done = run_lpmx("run", *options, image("tools"), "python3", "-c", MEANING)
    assert done.stdout == "ok\n"


def test_a_descriptor_of_a_layers_directory_shows_the_merged_one(
    run_lpmx: Callable[..., Completed], image: Callable[[str], str], options: tuple[str, ...]
) -> None:
    """Also to a program that has never seen it otherwise."""
    look = "import os; s = os.fstat(3); print(oct(s.st_mode), s.st_mtime_ns)"
    look_by_name = "import os, sys; s = os.stat('.'); print(oct(s.st_mode), s.st_mtime_ns)"
    script = (
        "cd /usr/share/perl; exec 3< .; chmod 710 .; touch new;"
        f" a=$(python3 -c '{look}'); b=$(python3 -c \"{look_by_name}\");"
        ' test "$a" = "$b"; echo ${a% *}; stat -c %Y . > /srv/1; stat -L -c %Y /proc/self/fd/3'
        " > /srv/2; cmp /srv/1 /srv/2"
    )
    done = run_lpmx("run", *options, image("tools"), "bash", "-e", "-c", script)
    assert done.stdout == "0o40710\n"
    other = run_lpmx("run", *options, image("tools"), "stat", "-c", "%a", "/usr/share/perl")
    assert other.stdout == "755\n"  # the layer's is as it was


def test_a_closed_directory_is_closed_for_what_was_seen_in_it(
    ordinary_user: Lpmx, user_archive: Callable[[str], Path]
) -> None:
    ordinary_user("load", user_archive("tools"))
    script = """
import os
os.makedirs("/srv/a/b")
open("/srv/a/b/f", "w").close()
os.stat("/srv/a/b/f")
os.chmod("/srv/a", 0)
for name in ("f", "none"):
    try:
        os.stat("/srv/a/b/" + name)
    except PermissionError:
        print("closed")
"""
    done = ordinary_user("run", reference("tools"), "python3", "-c", script)
    assert done.stdout == "closed\nclosed\n"


def test_a_copied_store_shows_one_inode_too(archive: Callable[[str], Path], tmp_path: Path) -> None:
    """Its views record the inodes of the store that it was copied from, and are not believed."""
    first = Lpmx(tmp_path / "first")
    first("load", archive("tools"))
    shutil.copytree(first.home, tmp_path / "second", symlinks=True)
    second = Lpmx(tmp_path / "second")
    done = second("run", reference("tools"), "python3", "-c", INODES, FOLDER)
    assert done.stdout == "ok\n"
