"""The processes of a kernel: found, signalled and ended even where they left its process group.

A container has no pid namespace here, so nothing ends a kernel's background jobs for us. Each of
them carries the kernel's marker in its environment (see environment.py) or belongs to the kernel's
session; this scans for both.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lpmx_kernels.environment import MARKER

if TYPE_CHECKING:
    from collections.abc import Iterable

PROC = Path("/proc")
GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for what a kernel leaves behind."""


def find(marker: str, session: int | None = None) -> list[int]:
    """Pids of living processes of this user that carry `marker` or belong to `session`."""
    needle = f"{MARKER}={marker}".encode()
    return [pid for pid in _own_pids() if _belongs(pid, needle, session)]


def end(marker: str, session: int | None = None, *, grace: float = GRACE) -> list[int]:
    """End all processes of a kernel, politely first; answer the pids that were found."""
    found = find(marker, session)
    if not found:
        return []
    _signal(found, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while (left := find(marker, session)) and time.monotonic() < deadline:
        time.sleep(0.02)
    # A process that forks while we look escapes one round, never all of them.
    for _ in range(10):
        if not left:
            break
        _signal(left, signal.SIGKILL)
        time.sleep(0.01)
        left = find(marker, session)
    return found


def start_time(pid: int) -> int | None:
    """Clock tick at which `pid` started, which names a process for good; None when it is gone."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else None


class AdoptedProcess:
    """A process that another server started: what a provisioner needs of `subprocess.Popen`.

    Its exit status is not ours to collect: a process that is gone reports 0.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid: int, started: int | None) -> None:
        self.pid = pid
        self._started = started
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """None while it lives."""
        if self.returncode is None and (
            self._started is None or start_time(self.pid) != self._started
        ):
            self.returncode = 0
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is gone."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} is still alive after {timeout} s")
            time.sleep(0.02)
        return 0

    def send_signal(self, signum: int) -> None:
        """Signal it, unless its pid belongs to another process by now."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _own_pids() -> Iterable[int]:
    uid, me = os.geteuid(), os.getpid()
    for entry in os.scandir(PROC):
        if not entry.name.isdigit() or int(entry.name) == me:
            continue
        with contextlib.suppress(OSError):
            if entry.stat().st_uid == uid:
                yield int(entry.name)


def _belongs(pid: int, needle: bytes, session: int | None) -> bool:
    fields = _stat(pid)
    if not fields or fields[0] in "ZX":
        return False
    if session is not None and int(fields[3]) == session:
        return True
    try:
        environ = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return needle in environ.split(b"\0")


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third on (state, ppid, pgrp, session ...)."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _signal(pids: Iterable[int], signum: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signum)
