"""CPython's own tests (Debian's libpython3.11-testsuite), unchanged, in a container.

The full tier runs the quick modules and wants all of them to pass; the long tier runs more and
compares every single test with the same in a plain chroot of the same tree.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.suites.conftest import Side

QUICK = (
    "os", "posix", "shutil", "pathlib", "tempfile", "glob", "fcntl", "mmap", "posixpath",
    "genericpath", "fileio", "file", "import", "dbm", "dbm_gnu", "dbm_dumb", "dbm_ndbm", "zipfile",
    "tarfile", "mailbox", "stat", "filecmp", "popen", "runpy", "zipimport", "fileinput", "pty",
    "unicode_file", "pwd", "grp", "wait3", "wait4", "fork1", "epoll",
)  # fmt: skip
QUICK_TESTS = 2500  # at the least: fewer mean that something did not run
# one run a line
SLOW = (
    ("subprocess", "signal", "threadsignals", "eintr", "faulthandler", "threading"),
    ("io", "largefile", "importlib", "compileall", "cmd_line", "cmd_line_script", "site", "sys"),
    ("asyncio",),
    ("multiprocessing_fork",),
    ("multiprocessing_spawn",),
    ("multiprocessing_forkserver", "concurrent_futures"),
    ("socket", "socketserver", "ssl", "select", "poll", "selectors", "httpservers", "logging"),
    ("sqlite3", "venv", "ensurepip", "shelve", "resource", "ioctl", "openpty", "getpass", "thread"),
)
RESOURCES = "all,-urlfetch,-cpu,-largefile,-gui,-audio"
# A test of vsock waits for ever where the machine is itself a guest of one that has no such device.
IGNORED = "ThreadedVSOCKSocketStreamTest"
# -j2: each module in a process of its own, so that one cannot disturb another. SIGINT is ignored in
# what a shell's `&` starts, and some tests send it to themselves.
SCRIPT = """
cd /tmp && env --default-signal=INT python3 -m test -j2 --junit-xml /tmp/result.xml --timeout 300 \
    -u {resources} -i {ignored} {modules} > /tmp/log 2>&1 < /dev/null
cat /tmp/log; echo; echo "@@RESULT"; cat /tmp/result.xml
"""


def results(side: Side, modules: Sequence[str]) -> tuple[dict[str, str], str]:
    """Test to ok, skipped, failure or error; and what was printed."""
    names = " ".join(f"test_{module}" for module in modules)
    script = SCRIPT.format(resources=RESOURCES, ignored=IGNORED, modules=names)
    done = side("sh", "-c", script, timeout=1500)
    log, _, text = done.stdout.partition("@@RESULT\n")
    assert text, log[-4000:] + done.stderr[-2000:]
    # regrtest writes what a test said as it is: bytes that XML does not allow
    clean = re.sub("[^\t\n\r -\ufffd]", "?", text).strip()
    found = {}
    for case in ET.fromstring(clean).iter("testcase"):
        kinds = [kind for kind in ("error", "failure", "skipped") if case.find(kind) is not None]
        found[case.get("name", "")] = kinds[0] if kinds else "ok"
    return found, log


def bad(found: dict[str, str]) -> dict[str, str]:
    """The tests that did not pass."""
    return {name: state for name, state in found.items() if state in ("error", "failure")}


@pytest.mark.timeout(900)
def test_quick_modules_pass(container: Callable[[str], Side]) -> None:
    found, log = results(container("suites"), QUICK)
    assert bad(found) == {}, log[-6000:]
    assert "failed" not in log, log[-3000:]
    assert Counter(found.values())["ok"] > QUICK_TESTS


@pytest.mark.long
@pytest.mark.needs_root
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("modules", [QUICK, *SLOW], ids=lambda modules: modules[0])
def test_modules_do_as_in_a_chroot(
    container: Callable[[str], Side], chroot: Callable[[str], Side], modules: tuple[str, ...]
) -> None:
    inside, log = results(container("suites"), modules)
    outside, _ = results(chroot("suites"), modules)
    differ = {
        name: (inside.get(name), state)
        for name, state in outside.items()
        if state == "ok" and inside.get(name) != "ok"
    }
    assert differ == {}, log[-6000:]
    assert Counter(outside.values())["ok"] > 10 * len(modules)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("modules", SLOW, ids=lambda modules: modules[0])
def test_slow_modules_pass(container: Callable[[str], Side], modules: tuple[str, ...]) -> None:
    found, log = results(container("suites"), modules)
    assert bad(found) == {}, log[-6000:]
    assert Counter(found.values())["ok"] > 10 * len(modules)
