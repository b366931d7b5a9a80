"""inotify on what the image has: whoever watches it is told of what the container changes.

The kernel's overlayfs tells the same, but for what docs/limits.md names (Watches): a name that is
copied up is told to have been moved to its directory, and marks are names.
"""

# ruff: noqa: E501
# The long lines are the programs'.
from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.lpmx import Completed

PRELUDE = """
import ctypes, json, os, struct, subprocess, sys, time
libc = ctypes.CDLL(None, use_errno=True)
NAMES = {1: "ACCESS", 2: "MODIFY", 4: "ATTRIB", 8: "CLOSE_WRITE", 64: "MOVED_FROM", 128: "MOVED_TO",
         256: "CREATE", 512: "DELETE", 1024: "DELETE_SELF", 2048: "MOVE_SELF"}
CHANGES = 0xfce
inotify = libc.inotify_init1(0o4000)
def watch(path, mask=CHANGES):
    wd = libc.inotify_add_watch(inotify, path.encode(), mask)
    if wd < 0: raise OSError(ctypes.get_errno(), path)
    return wd
def raw():
    try: data = os.read(inotify, 1 << 16)
    except BlockingIOError: return
    while data:
        wd, mask, cookie, length = struct.unpack("iIII", data[:16])
        yield wd, mask, data[16:16 + length].rstrip(b"\\\\0").decode()
        data = data[16 + length:]
def events(marks=False):
    return [(" ".join(v for k, v in NAMES.items() if mask & k) + " " + name).strip()
            for _, mask, name in raw() if marks or (not name.startswith(".wh.") and (name or not mask & 0x40000000))]
def sh(script):
    subprocess.run(["sh", "-c", script], check=True)
out = {}
"""


@pytest.fixture
def python(image: Callable[[str], str], run_lpmx: Callable[..., Completed]) -> Callable[..., Any]:
    """python(SCRIPT): runs it in a new container; what it has put in `out`."""

    def call(script: str, *options: str) -> Any:
        text = PRELUDE.replace("\\\\0", "\\0") + textwrap.dedent(script)
        text += "\nprint(json.dumps(out))\n"
        done = run_lpmx("run", "--rm", *options, image("tools"), "python3", "-", text=text)
        return json.loads(done.stdout)

    return call


@pytest.mark.parametrize("who", ["this process", "another"])
def test_a_folder_of_the_image_tells_what_is_changed_in_it(
    python: Callable[..., Any], who: str
) -> None:
    out = python(
        """
        do = sh if OTHER else lambda script: exec({
            "echo 1 > n": "open('n', 'w').write('1')",
            "echo 2 >> issue": "open('issue', 'a').write('2')",
            "chmod 600 hostname": "os.chmod('hostname', 0o600)",
            "mv debian_version v": "os.rename('debian_version', 'v')",
            "mv v host.conf": "os.rename('v', 'host.conf')",
            "rm issue.net": "os.unlink('issue.net')",
            "rm n issue": "os.unlink('n'); os.unlink('issue')",
            "mkdir d; rmdir d": "os.mkdir('d'); os.rmdir('d')",
            "rmdir opt": "os.rmdir('opt')",
        }[script], globals())
        os.chdir("/etc")
        watch("/etc")
        for script in ("echo 1 > n", "echo 2 >> issue", "chmod 600 hostname", "mv debian_version v",
                       "mv v host.conf", "rm issue.net", "rm n issue", "mkdir d; rmdir d"):
            do(script)
            out[script] = events()
        """.replace("OTHER", str(who == "another"))
    )
    written = ["MODIFY", "CLOSE_WRITE"]
    assert out == {
        "echo 1 > n": ["CREATE n", *(f"{e} n" for e in written)],
        "echo 2 >> issue": ["MOVED_TO issue", *(f"{e} issue" for e in written)],
        "chmod 600 hostname": ["MOVED_TO hostname", "ATTRIB hostname"],
        "mv debian_version v": [
            "MOVED_TO debian_version", "MOVED_FROM debian_version", "MOVED_TO v",
        ],
        "mv v host.conf": ["MOVED_FROM v", "MOVED_TO host.conf"],
        "rm issue.net": ["MOVED_TO issue.net", "DELETE issue.net"],
        "rm n issue": ["DELETE n", "DELETE issue"],
        "mkdir d; rmdir d": ["CREATE d", "DELETE d"],
    }  # fmt: skip


def test_a_tree_of_the_image_is_watched_folder_by_folder(python: Callable[..., Any]) -> None:
    """As watchers of sources do: watchdog, chokidar, entr."""
    out = python(
        """
        names = {watch(path): path for path, _, _ in os.walk("/usr/share/doc")}
        packages = sorted(os.listdir("/usr/share/doc"))
        first = next(p for p in packages if os.path.isfile("/usr/share/doc/%s/copyright" % p))
        os.chdir("/usr/share/doc/" + first)
        sh("echo >> copyright; rm copyright; mkdir below; rmdir below")
        out = [NAMES.get(mask & 0xffff) for wd, mask, name in raw()
               if names[wd].endswith("/" + first) and name in ("copyright", "below")]
        """
    )
    assert out == ["MOVED_TO", "MODIFY", "CLOSE_WRITE", "DELETE", "CREATE", "DELETE"]


def test_an_empty_folder_of_the_image_is_told_to_be_removed(python: Callable[..., Any]) -> None:
    out = python(
        """
        parent, name = next((path, d) for path, dirs, _ in os.walk("/usr") for d in dirs
                            if not os.path.islink(path + "/" + d) and not os.listdir(path + "/" + d))
        watch(parent); watch(parent + "/" + name)
        os.rmdir(parent + "/" + name)
        out = [event.replace(name, "NAME") for event in events()]
        """
    )
    assert sorted(set(out) - {"MOVED_TO NAME", ""}) == ["DELETE NAME", "DELETE_SELF"]


def test_a_file_of_the_image_tells_what_becomes_of_it(python: Callable[..., Any]) -> None:
    out = python(
        """
        before, reader = os.stat("/etc/issue"), open("/etc/issue")
        length = len(reader.read())
        watch("/etc/issue")
        for seen in (os.stat("/etc/issue"), os.lstat("/etc/issue"), os.fstat(reader.fileno())):
            assert (seen.st_ino, seen.st_dev, seen.st_mtime, seen.st_mode, seen.st_size) == (
                before.st_ino, before.st_dev, before.st_mtime, before.st_mode, before.st_size)
        for _ in range(100): os.stat("/etc/issue")  # also by the fast path
        assert os.stat("/etc/issue").st_ino == os.fstat(reader.fileno()).st_ino == before.st_ino
        assert reader.tell() == length
        out["nothing yet"] = events()
        sh("echo more >> /etc/issue"); out["append"] = events()
        out["read on"] = reader.read()
        sh("chmod 600 /etc/issue"); out["chmod"] = events()
        sh("rm /etc/issue"); out["rm"] = events()
        reader.close(); out["last"] = events()
        """
    )
    assert out == {
        "nothing yet": [], "append": ["MODIFY", "CLOSE_WRITE"], "read on": "more\n",
        "chmod": ["ATTRIB"], "rm": ["ATTRIB"], "last": ["DELETE_SELF", ""],
    }  # fmt: skip


@pytest.mark.parametrize("how", ["-f", "-F"])
def test_tail_shows_what_is_appended_and_no_more(python: Callable[..., Any], how: str) -> None:
    out = python(
        f"""
        tail = subprocess.Popen(["tail", "-n1", "{how}", "/etc/issue.net"], stdout=-1, stderr=-1, text=True)
        first = tail.stdout.readline()
        def watches():
            for fd in os.listdir("/proc/%d/fd" % tail.pid):
                text = open("/proc/%d/fdinfo/%s" % (tail.pid, fd)).read()
                if text.count("inotify wd") >= {2 if how == "-F" else 1}: return True
        end = time.monotonic() + 20
        while not watches() and time.monotonic() < end: time.sleep(0.01)
        sh("echo one >> /etc/issue.net")
        out = [tail.stdout.readline()]
        sh("echo two >> /etc/issue.net")
        out += [tail.stdout.readline()]
        tail.terminate()
        out += list(tail.communicate())
        """
    )
    assert out == ["one\n", "two\n", "", ""]


def test_what_cannot_change_is_watched_as_it_is(python: Callable[..., Any]) -> None:
    """Nothing is copied for who asks for reads, nor in a container that is read-only."""
    out = python(
        """
        inode = os.stat("/etc/issue").st_ino
        watch("/etc/issue", 1)
        open("/etc/issue").read(); out["read"] = sorted(set(events()))
        assert os.stat("/etc/issue").st_ino == inode
        """
    )
    assert out["read"] == ["ACCESS"]
    out = python("watch('/etc'); watch('/etc/issue'); out = events()", "--read-only")
    assert out == []


def test_a_large_file_is_not_copied_to_be_watched(python: Callable[..., Any]) -> None:
    """docs/limits.md, Watches: above 16 MiB."""
    out = python(
        """
        sizes = [(os.stat(p).st_size, p) for d, _, names in os.walk("/usr/lib/gcc") for p in (d + "/" + n for n in names)]
        size, path = max(sizes)
        assert size > 16 << 20
        watch(path); sh("echo >> " + path); out = events()
        """
    )
    assert out == []


def test_nothing_shows_but_the_marks_that_are_documented(python: Callable[..., Any]) -> None:
    """docs/limits.md, Watches."""
    out = python(
        """
        watch("/etc")
        os.unlink("/etc/issue")
        out = [event for event in events(marks=True) if event.split()[-1].endswith("issue")]
        """
    )
    assert out == ["MOVED_TO issue", "CREATE .wh.issue", "DELETE issue"]


def test_errors_of_watches_are_the_kernels(python: Callable[..., Any]) -> None:
    out = python(
        """
        for name, path, mask in (("missing", "/etc/none", CHANGES), ("no folder", "/etc/issue", CHANGES | 0x1000000),
                                 ("no mask", "/etc", 0), ("through a file", "/etc/issue/x", CHANGES)):
            try: watch(path, mask); out[name] = 0
            except OSError as error: out[name] = os.strerror(error.errno)
        fd, inotify = inotify, 0
        try: watch("/etc"); out["descriptor"] = 0
        except OSError as error: out["descriptor"] = os.strerror(error.errno)
        """
    )
    assert out == {
        "missing": "No such file or directory", "no folder": "Not a directory",
        "no mask": "Invalid argument", "through a file": "Not a directory",
        "descriptor": "Invalid argument",
    }  # fmt: skip
