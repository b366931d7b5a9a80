"""The processes of a kernel: found, signalled and ended even where they left its process group.

A container has no pid namespace here, so nothing ends a kernel's background jobs for us. Each of
them carries the kernel's marker in its environment (client_env.py) or belongs to the kernel's
session; this scans for both.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

from lpmx_kernels.spec.client_env import MARKER
from lpmx_runtime.process import scan as processes
from lpmx_runtime.process.runs import start_time

__all__ = ["AdoptedProcess", "end", "find", "start_time", "variable"]

GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL for what a kernel leaves behind."""


def find(marker: str, session: int | None = None) -> list[int]:
    """Pids of living processes of this user that carry `marker` or belong to `session`."""
    found = set(processes.with_variable(variable(marker)))
    if session is not None:
        found |= set(processes.in_session(session))
    return sorted(pid for pid in found if start_time(pid) is not None)


def end(marker: str, session: int | None = None, *, grace: float = GRACE) -> list[int]:
    """End all processes of a kernel, politely first; answer the pids that were found."""
    return processes.end(lambda: find(marker, session), grace=grace)


def variable(marker: str) -> str:
    """What all processes of the kernel `marker` have in their environment."""
    return f"{MARKER}={marker}"


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
