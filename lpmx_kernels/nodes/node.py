"""The program on the node: starts kernels there, hands signals on, and leaves nothing behind.

`python -m lpmx_kernels.nodes.node QUEUE`, by srun or qrsh. It has no thread and waits for two
things: a line of its client, and signals. The end of its input is the end of the client, and so of
the kernel and its container.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpmx_kernels.life import processes
from lpmx_kernels.spec.client_env import MARKER
from lpmx_kernels.spec.settings import KernelSettings
from lpmx_kernels.start import kernel as kernels
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.process.streams import begin_program

from . import address, wire
from .queues import QUEUES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .queues import Queue

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU, signal.SIGQUIT)
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2)  # by which a queue may announce the end
TERMINATED = 128 + signal.SIGTERM


class Node:
    """One kernel after another, until the client or the queue has had enough."""

    def __init__(self, queue: Queue, guard: Guard) -> None:
        self.queue, self.guard = queue, guard
        peers = (os.environ.get(queue.submitter, ""), socket.gethostname())
        self.ports = address.Reserved(address.towards(peer for peer in peers if peer))
        self.folder = Path(tempfile.mkdtemp(prefix="lpmx-node-"))
        self.kernel: subprocess.Popen[bytes] | None = None
        self.settings: KernelSettings | None = None
        self.marker = self.container = ""

    def serve(self) -> int:
        """Carry out what comes, to the end; the exit status of the job."""
        signals = _signal_pipe()
        self.tell("here", host=socket.gethostname(), ip=self.ports.ip)
        lines = wire.Lines()
        with selectors.DefaultSelector() as waiting:
            waiting.register(0, selectors.EVENT_READ)
            waiting.register(signals, selectors.EVENT_READ)
            while True:
                for key, _ in waiting.select():
                    data = os.read(key.fd, 65536)
                    if key.fd == 0 and not data:
                        return 0
                    if key.fd == 0:
                        for line in lines.feed(data):
                            self.carry_out(json.loads(line))
                    elif self.is_over(data):
                        return TERMINATED

    def is_over(self, signals: bytes) -> bool:
        """Take note of signals: the kernel's end, the queue's wishes."""
        if signal.SIGCHLD in signals:
            self.look_after_kernel()
        if signal.SIGINT in signals:
            self.signal(signal.SIGINT)
        return any(number in signals for number in ENDING)

    def carry_out(self, message: Mapping[str, Any]) -> None:
        """Do what the client says."""
        if message["do"] == "signal":
            self.signal(int(message["number"]))
            self.tell("signalled")
        elif message["do"] == "start":
            try:
                self.start(wire.Start.of(message))
            except LpmxError as error:
                where = f"on node {socket.gethostname()}: {error.message}"
                self.tell("refused", message=where, hint=error.hint or "")
            except OSError as error:
                name = f" ({os.fsdecode(error.filename)})" if error.filename else ""
                where = f"on node {socket.gethostname()}: {error.strerror}{name}"
                self.tell("refused", message=where, hint="")

    def start(self, start: wire.Start) -> None:
        """Start a kernel and say so. Raises LpmxError where that cannot be."""
        if not os.path.isdir(start.cwd):
            raise LpmxError(
                f"{start.cwd}: is not there",
                hint="start Jupyter in a folder of a file system that all nodes share",
            )
        # The client's store; qrsh brings no variables along.
        os.environ.update({k: v for k, v in start.env.items() if k.startswith("LPMX_")})
        self.marker = start.marker
        self.guard.watch(start.marker)
        connection = {**start.connection, **self.ports.info}
        file = self.folder / start.name
        file.touch(mode=0o600)
        file.write_text(json.dumps(connection), encoding="ascii")
        env = {**self._env(start.env), "JPY_PARENT_PID": str(os.getpid())}
        planned = None if start.host_argv else self._plan(start, str(file), env)
        if planned:
            argv, env, self.container = planned.argv, dict(planned.env), planned.container
        else:
            argv = [word.replace("{connection_file}", str(file)) for word in start.host_argv]
            env[MARKER] = start.marker
        for note in planned.notes if planned else ():
            print(f"lpmx: {note}", file=sys.stderr, flush=True)
        self.kernel = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=2, env=env, cwd=start.cwd,
            start_new_session=True,
        )  # fmt: skip
        plan = ""
        if planned and planned.launch:
            kernels.register(planned, self.kernel.pid)
            plan = planned.launch.plan_file
        facts = {"pid": self.kernel.pid, "container": self.container, "plan": plan}
        self.tell("started", connection=self.ports.info, cwd=_cwd(planned), **facts)

    def _plan(
        self, start: wire.Start, connection_file: str, env: Mapping[str, str]
    ) -> kernels.KernelStart:
        self.settings = KernelSettings.from_config(start.settings, where="request")
        request = kernels.KernelRequest(
            connection_file=connection_file,
            env=env,
            asked={name: env[name] for name in start.asked if name in env},
            server_env={name: env[name] for name in env if name not in start.changed},
            cwd=start.cwd,
            marker=start.marker,
            container=start.container,
            folders=(os.fspath(self.folder),),
        )
        return kernels.prepare_kernel(self.settings, request)

    def _env(self, client: Mapping[str, str]) -> dict[str, str]:
        """The client's variables, with this job's own in place of what the queue grants."""
        theirs = {k: v for k, v in client.items() if not self.queue.is_granted(k)}
        return {**theirs, **{k: v for k, v in os.environ.items() if self.queue.is_granted(k)}}

    def signal(self, number: int) -> None:
        """Signal the kernel's process group."""
        if self.kernel and self.kernel.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.kernel.pid, number)

    def look_after_kernel(self) -> None:
        """If the kernel has ended, end what it has left, and say so."""
        status = self.kernel.poll() if self.kernel else None
        if status is not None:
            self.clear_up()
            self.kernel = None
            self.tell("ended", status=status)

    def clear_up(self) -> None:
        """End all processes of the kernel."""
        if self.kernel:
            session = self.kernel.pid
            processes.end(self.marker, session)
            self.kernel.wait()

    def end(self) -> None:
        """Leave nothing."""
        self.clear_up()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.settings and self.container:
            with contextlib.suppress(LpmxError, OSError):
                kernels.release(self.settings, self.container, self.marker)

    def tell(self, what: str, **facts: Any) -> None:
        """Say something to the client, if it is still there."""
        with contextlib.suppress(OSError):
            os.write(1, wire.up({"is": what, **facts}))


class Guard:
    """A process of its own that ends a kernel whose node program was killed, as by `qdel`."""

    def __init__(self) -> None:
        reading, self._writing = os.pipe()
        if os.fork() == 0:
            os.close(self._writing)
            _guard(reading)
        os.close(reading)

    def watch(self, marker: str) -> None:
        """Add a kernel."""
        os.write(self._writing, marker.encode() + b"\n")


def _guard(reading: int) -> None:
    os.setsid()
    for number in (*ENDING, *WARNINGS, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):  # the client waits for the end of these
        os.dup2(nothing, stream)
    with open(reading, "rb") as pipe:
        for marker in set(pipe.read().decode().split()):
            processes.end(marker)
    os._exit(0)


def _signal_pipe() -> int:
    """A descriptor that reads as the numbers of the signals that have come."""
    reading, writing = os.pipe()
    for fd in (reading, writing):
        os.set_blocking(fd, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    # Not SIG_IGN, which a kernel would inherit.
    for number in (*ENDING, *WARNINGS, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return reading


def _cwd(planned: kernels.KernelStart | None) -> str:
    return planned.launch.plan.cwd if planned and planned.launch else ""


def main(queue_name: str) -> int:
    """Serve the client at the other end of stdin and stdout."""
    begin_program()
    guard = Guard()
    node = Node(QUEUES[queue_name], guard)
    try:
        return node.serve()
    finally:
        node.end()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
