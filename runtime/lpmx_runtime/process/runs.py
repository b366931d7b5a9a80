"""The register of what runs in a container: one small file for each process that was started in it.

A process is known by its pid, its start time, the boot and the pid namespace it belongs to, so an
entry never mistakes another process for its own, and entries of dead processes are simply removed
by whoever comes across them. Nothing has to be alive for a container to exist, and a killed process
needs no farewell.

The boot id says which machine it was, since a machine's name may change while it runs. The name is
asked only where the boot is another one: then the process is of another machine, or of an earlier
boot of this one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Process", "Run", "live_runs", "register", "send_signal", "this_process"]

_INTERVAL = 0.01  # seconds between looks at a process that cannot be waited for
_FIRST_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO: from this pid namespace all processes are seen
MAIN, EXEC, SUPERVISOR = "main", "exec", "supervisor"
JOB = "job"  # of a batch system, see batch/jobs.py


@dataclass(frozen=True)
class Process:
    """A process, told apart from every other one."""

    pid: int
    start: int  # ticks since boot
    boot: str
    namespace: int  # inode of its pid namespace
    host: str

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Process:
        """From a file; ValueError when it is not one of ours."""
        try:
            return cls(
                int(data["pid"]),
                int(data["start"]),
                str(data["boot"]),
                int(data["namespace"]),
                str(data["host"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("not a process") from error

    def is_alive(self) -> bool:
        """True while it runs, or may run: on another node, or in a pid namespace not seen here."""
        here = this_system()
        if self.boot != here.boot:
            return self.host != here.host
        if self.namespace != here.namespace:
            return here.namespace != _FIRST_NAMESPACE or _runs_in_a_namespace(self)
        return start_time(self.pid) == self.start

    def is_here(self) -> bool:
        """True when it runs and can be signalled from here."""
        here = this_system()
        same = (self.boot, self.namespace) == (here.boot, here.namespace)
        return same and self.is_alive()

    @property
    def place(self) -> str:
        """Where it runs, for a message."""
        here = this_system()
        if self.boot == here.boot and self.namespace != here.namespace:
            return "in another pid namespace of this machine"
        return f"on {here.host if self.boot == here.boot else self.host}"


@dataclass(frozen=True)
class System:
    """What makes a pid meaningful."""

    boot: str
    namespace: int
    host: str


_system: list[System] = []


def this_system() -> System:
    """Boot, pid namespace and node of this process."""
    if not _system:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        _system.append(System(boot, os.stat("/proc/self/ns/pid").st_ino, os.uname().nodename))
    return _system[0]


def start_time(pid: int) -> int | None:
    """When @pid started, in ticks since boot; None when it has ended, as a zombie has."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    # A zombie has ended, unless other threads go on without the first one.
    if len(fields) < 20 or fields[0] == b"X" or (fields[0] == b"Z" and int(fields[17]) <= 1):
        return None
    return int(fields[19])


def _runs_in_a_namespace(who: Process) -> bool:
    """Say whether @who, of a pid namespace below this one, runs: by its number there."""
    for name in os.listdir("/proc"):
        if name.isdigit() and start_time(int(name)) == who.start:
            numbers = _numbers_in_namespaces(name)
            if numbers is None or who.pid in numbers:
                return True
    return False


def _numbers_in_namespaces(pid: str) -> list[int] | None:
    """The numbers of process @pid in all pid namespaces it is in; None where nobody says so."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("NSpid:"):
                    return [int(word) for word in line.split()[1:]]
    except OSError:
        return []
    return None  # before Linux 4.1


def process(pid: int) -> Process | None:
    """The process @pid of this system, or None when it has ended."""
    start = start_time(pid)
    here = this_system()
    return None if start is None else Process(pid, start, here.boot, here.namespace, here.host)


def this_process() -> Process:
    """The process that calls."""
    found = process(os.getpid())
    assert found is not None
    return found


@dataclass(frozen=True)
class Run:
    """One process started in a container. Becoming the program, it keeps pid and start time."""

    process: Process
    kind: str
    argv: tuple[str, ...]
    since: float

    @property
    def label(self) -> str:
        """What to call it in a message."""
        if self.kind == JOB:  # its host is the batch system, with the job's number
            return self.process.host
        return f"process {self.process.pid} {self.process.place}"

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "pid": self.process.pid,
            "host": self.process.host,
            "kind": self.kind,
            "command": list(self.argv),
            "since": self.since,
        }


def register(
    folder: str | os.PathLike[str], who: Process, kind: str, argv: tuple[str, ...]
) -> None:
    """Enter @who into the register @folder. FileNotFoundError when the container is gone."""
    data = {**vars(who), "kind": kind, "argv": argv, "since": time.time()}
    text = json.dumps(data).encode("ascii")
    # Written under another name first, so that nobody reads half of it; no durability: it means
    # nothing after a crash.
    temporary = os.path.join(folder, f".{who.pid}.{who.start}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text)
    finally:
        os.close(fd)
    os.rename(temporary, os.path.join(folder, f"{who.pid}.json"))


def unregister(folder: str | os.PathLike[str], pid: int) -> None:
    """Take the process @pid, which has ended, out of the register."""
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, f"{pid}.json"))


def live_runs(folder: str | os.PathLike[str]) -> list[Run]:
    """What runs now, oldest first. Entries of the dead are removed on the way."""
    runs = []
    for path, run in _entries(folder):
        if run.process.is_alive():
            runs.append(run)
        else:
            _forget(path, run)
    return sorted(runs, key=lambda run: (run.since, run.process.pid))


def _entries(folder: str | os.PathLike[str]) -> Iterator[tuple[str, Run]]:
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith(".") or not name.endswith(".json"):
            continue
        try:
            yield path, _read(path)
        except (OSError, ValueError):
            continue


def _read(path: str) -> Run:
    with open(path, "rb") as file:
        data = json.load(file)
    if not isinstance(data, dict):
        raise ValueError("not a run")
    argv = tuple(map(str, data.get("argv", ())))
    return Run(Process.from_dict(data), str(data.get("kind")), argv, float(data.get("since", 0)))


def forget_lost(folder: str | os.PathLike[str]) -> None:
    """Remove what is said to run where we cannot look: the user says that it does not."""
    for path, run in _entries(folder):
        if run.kind != JOB and not run.process.is_here():
            _forget(path, run)


def _forget(path: str, dead: Run) -> None:
    """Remove a dead entry, unless a new process with the same pid has just taken the file over."""
    with contextlib.suppress(OSError, ValueError):
        if _read(path).process == dead.process:
            os.unlink(path)


def send_signal(who: Process, number: int, *, group: bool = False) -> bool:
    """Signal @who, or the group it leads. False when it has ended; never hits another process."""
    try:
        with _holding(who.pid) as fd:
            # The number is one process's now: its start time says whether it is the right one.
            if not who.is_here():
                return False
            if group and os.getpgid(who.pid) == who.pid:
                os.killpg(who.pid, number)
            elif fd is None:
                os.kill(who.pid, number)
            else:
                signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    return True


def wait_gone(who: Process, timeout: float) -> bool:
    """Wait until @who has ended; False when @timeout seconds were not enough."""
    import select

    deadline = time.monotonic() + timeout
    try:
        with _holding(who.pid) as fd:
            while who.is_alive():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                if fd is None:
                    time.sleep(min(left, _INTERVAL))
                else:
                    select.select([fd], [], [], left)
    except ProcessLookupError:
        pass
    return True


@contextlib.contextmanager
def _holding(pid: int) -> Iterator[int | None]:
    """A descriptor for process @pid, so that no other gets its number; None before Linux 5.3."""
    try:
        fd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):  # EPERM: an old filter around us
            raise
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)
