"""A job of a batch system that holds a place for a kernel, and the kernel in it, seen from here.

The job outlives its kernels: a restarted one has the same node, address and ports, and waits in no
queue. Nothing here waits; `poll` takes in what has arrived.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import IO, TYPE_CHECKING, Any

from . import wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .queues import Queue

END_PATIENCE = 10.0
"""Seconds in which a job must end by itself, or a killed kernel be gone; then it is cancelled."""
CANCEL_PATIENCE = 5.0
INTERVAL = 0.01


class Job:
    """The client of the batch system, as a process, and what it has said."""

    def __init__(
        self, queue: Queue, name: str, process: subprocess.Popen[bytes], env: Mapping[str, str]
    ) -> None:
        self.queue, self.name, self._process, self._env = queue, name, process, env
        self.place: Mapping[str, Any] | None = None  # where it runs, once it does
        self.kernel: JobKernel | None = None
        self.answer: Mapping[str, Any] | None = None  # to the last `start`
        self._signals_under_way = 0
        self._lines = wire.Lines()
        assert process.stdout
        os.set_blocking(process.stdout.fileno(), False)

    @property
    def pid(self) -> int:
        """Of the client."""
        return self._process.pid

    def poll(self) -> int | None:
        """Take in what has come; the client's exit status, None while it lives."""
        status = self._process.poll()  # before reading: what was said last is not missed
        assert self._process.stdout
        with contextlib.suppress(BlockingIOError, ValueError):
            while data := os.read(self._process.stdout.fileno(), 65536):
                for line in self._lines.feed(data):
                    if message := wire.parse_up(line):
                        self._take(message)
        if status is not None and self.kernel:
            self.kernel.ended(status or 1)
        return status

    def _take(self, message: Mapping[str, Any]) -> None:
        if message["is"] == "here":
            self.place = message
        elif message["is"] == "signalled":
            self._signals_under_way -= 1
        elif message["is"] == "ended" and self.kernel:
            self.kernel.ended(int(message["status"]))
        elif message["is"] in ("started", "refused"):
            self.answer = message
            if message["is"] == "started":
                self.kernel = JobKernel(self)

    def start(self, start: wire.Start) -> None:
        """Ask for a kernel; `answer` will say what became of it."""
        self.answer = self.kernel = None
        self.send(start.message())

    def signal(self, number: int) -> None:
        """Have the kernel signalled; `has_signalled` says when that is done."""
        self._signals_under_way += 1
        self.send({"do": "signal", "number": number})

    def has_signalled(self) -> bool:
        """Say whether the kernel has got all signals, or gets none any more."""
        return self.poll() is not None or self._signals_under_way == 0

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a line to the node; in vain where the job has ended."""
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(wire.down(message))
            self._process.stdin.flush()

    def end(self) -> None:
        """End it with all that runs in it, politely if possible. Returns when it is over."""
        if self.place is not None and self._process.poll() is None:
            self._close(self._process.stdin)
            self._wait(END_PATIENCE)
        if self._process.poll() is None:
            self.cancel()
        self.poll()
        self._close(self._process.stdin)
        self._close(self._process.stdout)

    def cancel(self) -> None:
        """Have the batch system end it; the client, too, where that does not."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                self.queue.cancel_command(self.name),
                env=dict(self._env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, timeout=60, check=False,
            )  # fmt: skip
        self._close(self._process.stdin)
        # qrsh does not notice while it waits for its turn
        if self.place is None or not self._wait(CANCEL_PATIENCE):
            self._process.kill()
        self._process.wait()

    def _wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(INTERVAL)
        return True

    @staticmethod
    def _close(stream: IO[bytes] | None) -> None:
        with contextlib.suppress(OSError):
            if stream:
                stream.close()


class JobKernel:
    """The kernel in a job: what a provisioner needs of `subprocess.Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, job: Job) -> None:
        self._job = job
        self.pid = job.pid  # the nearest there is on this machine
        self.returncode: int | None = None
        self._lost_at: float | None = None

    def ended(self, status: int) -> None:
        """Note that it has ended, with a status as of subprocess."""
        if self.returncode is None:
            self.returncode = status

    def poll(self) -> int | None:
        """None while it lives."""
        if self.returncode is None:
            self._job.poll()
        if self.returncode is None and self._lost_at and time.monotonic() > self._lost_at:
            self._job.cancel()
            self.ended(-signal.SIGKILL)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it is gone."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"job {self._job.name}: its kernel lives after {timeout} s")
            time.sleep(INTERVAL)
        return status

    def send_signal(self, signum: int) -> None:
        """Signal its process group. A node that does not carry out a SIGKILL is given up."""
        if self.poll() is None:
            self._job.signal(int(signum))
            if signum == signal.SIGKILL and self._lost_at is None:
                self._lost_at = time.monotonic() + END_PATIENCE

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def submit(
    queue: Queue,
    name: str,
    options: Sequence[str],
    program: Sequence[str],
    *,
    env: Mapping[str, str],
    log: IO[bytes] | int,
) -> Job:
    """Hand a job in. FileNotFoundError where this machine does not have the client."""
    env = queue.client_env(env)
    process = subprocess.Popen(
        queue.command(name, options, program),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=env, cwd="/",
        start_new_session=True,
    )  # fmt: skip
    return Job(queue, name, process, env)
