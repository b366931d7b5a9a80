"""stress-ng's stressors of files and processes with --verify, in a container."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.suites.conftest import Side

QUICK = (
    "access", "chdir", "chmod", "chown", "copy-file", "dentry", "dir", "dirdeep", "dirmany",
    "exec", "fcntl", "fifo", "filename", "flock", "fork", "fstat", "getdent", "inotify", "link",
    "mknod", "open", "rename", "sock", "sockfd", "symlink", "touch", "utime", "vfork", "xattr",
)  # fmt: skip
MORE = (
    "acl", "affinity", "aio", "aiol", "bad-altstack", "cap", "chattr", "chroot", "clone", "close",
    "context", "daemon", "dnotify", "dup", "dynlib", "env", "epoll", "eventfd", "fallocate",
    "fault", "fiemap", "file-ioctl", "fp-error", "fpunch", "fsize", "full", "get", "getrandom",
    "handle", "hdd",
    "inode-flags", "io", "iomix", "itimer", "kcmp", "kill", "landlock", "lease", "loadavg", "locka",
    "lockf", "lockofd", "longjmp", "madvise", "membarrier", "memfd", "mincore", "mmap", "mmapmany",
    "mprotect", "mq", "mremap", "msg", "msync", "nice", "null", "pidfd", "pipe", "poll", "prctl",
    "procfs", "pthread", "ptrace", "pty", "readahead", "resources", "revio", "rlimit", "rseq",
    "schedpolicy", "seal", "seek", "sem", "sendfile", "session", "set", "shm", "sigabrt", "sigchld",
    "sigfd", "sigfpe", "sigio", "signal", "sigpending", "sigpipe", "sigq", "sigrt", "sigsegv",
    "sigsuspend", "sigtrap", "sleep", "sockabuse", "spawn", "splice", "stack", "stackmmap",
    "switch", "sync-file", "sysfs", "sysinfo", "tee", "timer", "timerfd", "unlink", "unshare",
    "urandom", "userfaultfd", "vforkmany", "vm-splice", "wait", "yield", "zombie",
)  # fmt: skip
# What these want is refused by design: docs/limits.md
REFUSED = ("seccomp",)
# stress-ng(1): 0 well, 3 no resources here, 4 not possible on this system; 2 and more, failed
FINE = {0, 3, 4}
SCRIPT = """
mkdir -p /var/tmp/s && cd /var/tmp/s
for name in {names}; do
    timeout 60 stress-ng --$name 2 -t {seconds} --verify --temp-path /var/tmp/s > /tmp/log 2>&1
    echo "@@ $name $?"
    grep -i fail /tmp/log | head -3
    rm -rf /var/tmp/s/*
done
"""


def statuses(side: Side, names: Sequence[str], seconds: int) -> tuple[dict[str, int], str]:
    """Stressor to exit status, and what was printed."""
    done = side("sh", "-c", SCRIPT.format(names=" ".join(names), seconds=seconds), timeout=2400)
    found = {name: int(status) for name, status in re.findall(r"@@ (\S+) (\d+)", done.stdout)}
    assert set(found) == set(names), done.stdout[-3000:] + done.stderr[-1000:]
    return found, done.stdout


@pytest.mark.timeout(600)
def test_quick_stressors_verify(container: Callable[[str], Side]) -> None:
    found, log = statuses(container("suites"), QUICK, 1)
    assert {name: status for name, status in found.items() if status not in FINE} == {}, log
    assert list(found.values()).count(0) >= len(QUICK) - 4


@pytest.mark.long
@pytest.mark.needs_root
@pytest.mark.timeout(3600)
def test_stressors_do_as_in_a_chroot(
    container: Callable[[str], Side], chroot: Callable[[str], Side]
) -> None:
    names = QUICK + MORE + REFUSED
    outside, _ = statuses(chroot("suites"), names, 2)
    inside, log = statuses(container("suites"), names, 2)
    worse = {name for name in names if inside[name] != outside[name] and outside[name] in FINE}
    assert worse <= set(REFUSED), {name: inside[name] for name in worse} | {"log": log}
    assert list(outside.values()).count(0) > len(names) // 2
