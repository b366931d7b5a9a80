"""Nothing ever resolves to the host by accident.

The same path exists on the host and in the image, with other content, mode, size and names. Every
row of calls.def that takes a path is performed raw inside the container: what it tells must be the
image's, and afterwards the host's tree must be as it was. A row without a case fails the test.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.lpmx import Completed, Lpmx

ROOT = Path(__file__).resolve().parents[2]
CALL = "/probes/call-static"
# Ordinary users may write here, and no default bind covers it.
HOST = Path(f"/var/tmp/lpmx-marker-{os.getpid()}")
M = str(HOST)
AT_FDCWD = "-100"


def numbers() -> dict[str, int]:
    """System call numbers from the kernel headers, those newer than the headers by hand."""
    text = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").read_text()
    known = {name: int(nr) for name, nr in re.findall(r"#define __NR_(\w+)\s+(\d+)", text)}
    return {"fchmodat2": 452, **known}


@dataclass(frozen=True)
class Case:
    """One raw call: its arguments, and what must be in its output."""

    arguments: tuple[str, ...]
    says: str = "0 0 ok"


def case(*arguments: str, says: str = "0 0 ok") -> Case:
    return Case(arguments, says)


def opened(flags: int, path: str) -> str:
    return f"f:{flags:o}:{path}" if flags == 0 else f"f:0{flags:o}:{path}"


DIRECTORY = opened(os.O_DIRECTORY, M)
FILE, LINK, FRESH = f"s:{M}/file", f"s:{M}/link", f"s:{M}/fresh"
TIMES = "b:64"
# name of the row -> what to do; `%` stands for a name that exists in the image only
CASES: dict[str, Case] = {
    "open": case(FILE, "0", says=" ok"),
    "openat": case(DIRECTORY, "s:only-image", "0", says=" ok"),
    "openat2": case(AT_FDCWD, f"s:{M}/only-image", "b:24", "24", says=" ok"),
    "creat": case(FILE, "0600", says=" ok"),
    "stat": case(f"s:{M}/only-image", "b:256"),
    "lstat": case(f"s:{M}/only-image", "b:256"),
    "newfstatat": case(AT_FDCWD, f"s:{M}/only-image", "b:256", "0"),
    "statx": case(AT_FDCWD, f"s:{M}/only-image", "0", "0x7ff", "b:512"),
    "access": case(f"s:{M}/only-image", "0"),
    "faccessat": case(DIRECTORY, "s:only-image", "0"),
    "faccessat2": case(DIRECTORY, "s:only-image", "0", "0"),
    "readlink": case(LINK, "b:100", "100", says="image-target"),
    "readlinkat": case(DIRECTORY, "s:link", "b:100", "100", says="image-target"),
    "statfs": case(f"s:{M}/only-image", "b:256"),
    "getxattr": case(f"s:{M}/only-image", "s:user.x", "b:10", "10", says="-1 61"),
    "lgetxattr": case(f"s:{M}/only-image", "s:user.x", "b:10", "10", says="-1 61"),
    "listxattr": case(f"s:{M}/only-image", "b:10", "10"),
    "llistxattr": case(f"s:{M}/only-image", "b:10", "10"),
    "inotify_add_watch": case("-1", f"s:{M}/only-image", "2", says="-1 9"),
    "name_to_handle_at": case(AT_FDCWD, f"s:{M}/only-host", "b:8", "b:8", "0", says="-1 2"),
    "chdir": case(f"s:{M}/only-image-dir"),
    # allowed to root only, once the directory is found
    "chroot": case(f"s:{M}/only-image-dir", says="-1 1" if os.geteuid() else "0 0 ok"),
    "truncate": case(FILE, "3"),
    "chmod": case(FILE, "0755"),
    "fchmodat": case(AT_FDCWD, FILE, "0755"),
    "fchmodat2": case(AT_FDCWD, FILE, "0755", "0"),
    "chown": case(FILE, "-1", "-1"),
    "lchown": case(FILE, "-1", "-1"),
    "fchownat": case(AT_FDCWD, FILE, "-1", "-1", "0"),
    "utime": case(FILE, "0"),
    "utimes": case(FILE, "0"),
    "futimesat": case(AT_FDCWD, FILE, "0"),
    "utimensat": case(AT_FDCWD, FILE, "0", "0"),
    "setxattr": case(FILE, "s:user.marker", "s:v", "1", "0", says=""),
    "lsetxattr": case(FILE, "s:user.marker", "s:v", "1", "0", says=""),
    "removexattr": case(FILE, "s:user.marker", says=""),
    "lremovexattr": case(FILE, "s:user.marker", says=""),
    "mkdir": case(FRESH, "0700"),
    "mkdirat": case(DIRECTORY, "s:fresh", "0700"),
    "mknod": case(FRESH, "0010600", "0"),
    "mknodat": case(DIRECTORY, "s:fresh", "0010600", "0"),
    "symlink": case("s:target", FRESH),
    "symlinkat": case("s:target", DIRECTORY, "s:fresh"),
    "link": case(FILE, FRESH),
    "linkat": case(DIRECTORY, "s:file", AT_FDCWD, FRESH, "0"),
    "unlink": case(FILE),
    "unlinkat": case(DIRECTORY, "s:file", "0"),
    "rmdir": case(f"s:{M}/empty"),
    "rename": case(FILE, FRESH),
    "renameat": case(DIRECTORY, "s:file", AT_FDCWD, FRESH),
    "renameat2": case(DIRECTORY, "s:file", AT_FDCWD, FRESH, "1"),
    "execve": case(f"s:{M}/program", "0", "0", says="image program"),
    "execveat": case(DIRECTORY, "s:program", "0", "0", "0", says="image program"),
}


def rows_with_paths() -> set[str]:
    text = (ROOT / "preload" / "calls.def").read_text()
    rows = re.findall(r"^CALL\((\w+), \w+, \w+, \w+, (\w+),", text, re.MULTILINE)
    return {name for name, path in rows if path != "NOPATH"}


def test_every_row_that_takes_a_path_has_a_case() -> None:
    assert rows_with_paths() == set(CASES)


def plant(top: Path, side: str) -> None:
    """The marker tree of one @side; what differs tells them apart."""
    top.mkdir(parents=True)
    (top / "file").write_text(f"{side} file\n" * (1 if side == "image" else 7))
    (top / "file").chmod(0o644 if side == "image" else 0o640)
    (top / f"only-{side}").write_text(side)
    (top / f"only-{side}-dir").mkdir()
    (top / "empty").mkdir()
    (top / "link").symlink_to(f"{side}-target")
    (top / "program").write_text(f"#!/bin/sh\necho {side} program\n")
    (top / "program").chmod(0o755)


def snapshot(top: Path) -> dict[str, tuple[object, ...]]:
    """All that a call could have changed."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([top, *top.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        xattrs = tuple(os.listxattr(path, follow_symlinks=False))
        found[str(path)] = (
            status.st_mode, status.st_mtime_ns, status.st_ctime_ns, status.st_nlink, content, xattrs
        )  # fmt: skip
    return found


@pytest.fixture(scope="module")
def marked(
    store: Lpmx, image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The name of an image with the marker tree; the host's twin lies at HOST."""
    from images.archive import write_archive
    from images.layertar import write_layer

    work = tmp_path_factory.mktemp("markers")
    plant(work / "tree" / M.lstrip("/"), "image")
    shutil.rmtree(HOST, ignore_errors=True)
    plant(HOST, "host")
    layers = [_copy_of_probes(store, image, work), work / "marker.tar"]
    write_layer(work / "tree", layers[1])
    write_archive(work / "markers.tar", "test/markers:1", layers, {"Cmd": ["sh"]})
    store("load", work / "markers.tar")
    yield "test/markers:1"
    shutil.rmtree(HOST, ignore_errors=True)


def _copy_of_probes(store: Lpmx, image: Callable[[str], str], work: Path) -> Path:
    """The layers of c-probes flattened into one: shell and raw-call program."""
    from images.layertar import write_layer

    name = image("c-probes")
    tree = work / "probes"
    tree.mkdir()
    copy = "cp -a /bin /usr /lib* /etc /probes /out/ || true"
    store("run", "-v", f"{tree}:/out", name, "sh", "-c", copy)
    out = work / "probes.tar"
    write_layer(tree, out)
    return out


@pytest.mark.parametrize("name", sorted(CASES))
def test_call_sees_and_changes_the_image_only(
    name: str, marked: str, run_lpmx: Callable[..., Completed]
) -> None:
    before = snapshot(HOST)
    wanted = CASES[name]
    done = run_lpmx("run", marked, CALL, str(numbers()[name]), *wanted.arguments, check=False)
    assert wanted.says in done.stdout, (done.stdout, done.stderr)
    assert "host" not in done.stdout
    assert snapshot(HOST) == before


def test_content_read_through_the_shell_is_the_image_s(
    marked: str, run_lpmx: Callable[..., Completed]
) -> None:
    done = run_lpmx("run", marked, "sh", "-c", f"cat {M}/file; ls {M}")
    assert done.stdout.splitlines() == [
        "image file", "empty", "file", "link", "only-image", "only-image-dir", "program"
    ]  # fmt: skip
