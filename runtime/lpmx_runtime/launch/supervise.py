"""Starting what launch.py has planned: in place of this process, watched over by it, or detached.

In place is the plain case: the process becomes the program, so status, signals and terminal are the
program's own. An ephemeral container needs somebody who removes it afterwards; then this process
stays, out of the program's way:

- signals of the terminal (Ctrl-C, Ctrl-Z, hang-up) reach the program by themselves, it is in the
  same process group; signals sent to this process alone are passed on. The kernel tells the two
  apart (si_code).
- when the program is stopped by the terminal, this process stops too, so that the shell sees its
  job stopped.
- it ends as the program did, by the same signal if need be, and if it is killed the program is
  killed as well.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from lpmx_runtime.container import record as containers
from lpmx_runtime.errors import LpmxError, StorageError, storage_errors
from lpmx_runtime.process import runs
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from lpmx_runtime.container.record import Container

    from .start import Launch

__all__ = ["End", "check_start", "exec_in_place", "run_and_wait", "start_detached"]

EXIT_LPMX, EXIT_NOT_EXECUTABLE = 125, 126

# Not passed on: they cannot be caught, or are the answer to a fault of this process itself.
_OURS = {
    signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL,
    signal.SIGSYS, signal.SIGTRAP,
}  # fmt: skip
_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)  # at its start; a program expects the default
_STOPS = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
_PR_SET_DUMPABLE = 4
_TOO_LONG = "pass fewer or shorter arguments and variables"


@dataclass(frozen=True)
class End:
    """How a program ended."""

    status: int  # as a shell reports it: 128 + N after signal N
    signal: int = 0

    @classmethod
    def of(cls, wait_status: int) -> End:
        """From the status of waitpid."""
        if os.WIFSIGNALED(wait_status):
            number = os.WTERMSIG(wait_status)
            return cls(128 + number, number)
        return cls(os.WEXITSTATUS(wait_status))

    def follow(self) -> NoReturn:
        """End this process alike: by the same signal, without a core, or with the same status.

        At once: taking the interpreter down in order would only be time the user waits.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        if self.signal:
            _forbid_core()
            number = signal.Signals(self.signal)
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
            os.kill(os.getpid(), number)
        os._exit(self.status)


# ---- before


def check_start(launch: Launch) -> None:
    """Raise LpmxError where the program would not start: no such command, no such directory.

    Afterwards nobody could take back what was made for it: this process is the program then.
    """
    _prepare(launch)
    loader, *rest = launch.argv
    argv = [os.fsencode(word) for word in (loader, "--check", *rest)]
    env = {os.fsencode(name): os.fsencode(value) for name, value in launch.env.items()}
    read, write = os.pipe()
    with open(read, "rb") as said:
        try:
            to_pipe = [(os.POSIX_SPAWN_DUP2, write, 2)]
            child = os.posix_spawn(argv[0], argv, env, file_actions=to_pipe)
        except OSError as error:
            raise LpmxError(
                f"{launch.plan.loader}: {os.strerror(error.errno or 0)}",
                hint=_TOO_LONG if error.errno == errno.E2BIG else None,
                exit_code=EXIT_NOT_EXECUTABLE,
            ) from error
        finally:
            os.close(write)
        text = said.read().decode(errors="replace").strip()
    end = End.of(os.waitpid(child, 0)[1])
    if end.status:
        message, _, hint = text.removeprefix("lpmx: ").partition("\n")
        hint = hint.strip().removeprefix("(").removesuffix(")")
        raise LpmxError(message or "it does not start", hint=hint or None, exit_code=end.status)


# ---- in place


def exec_in_place(launch: Launch, *, kind: str = runs.MAIN) -> NoReturn:
    """Become the container's program."""
    _prepare(launch)
    sys.stdout.flush()
    sys.stderr.flush()
    _register(launch, kind)
    _execute(launch)


def _prepare(launch: Launch) -> None:
    with storage_errors(f"container {launch.container.label}"):
        try:
            launch.prepare()
        except FileNotFoundError as error:
            raise _gone(launch.container) from error


def _register(launch: Launch, kind: str) -> None:
    try:
        runs.register(launch.container.path("runs"), runs.this_process(), kind, launch.plan.argv)
    except FileNotFoundError as error:
        raise _gone(launch.container) from error
    if kind == runs.MAIN:
        _note(launch.container, {"status": None, "signal": 0, "started": time.time()})


def _gone(container: Container) -> LpmxError:
    return containers.ContainerNotFoundError(
        f"container {container.label} has been removed", hint="`lpmx ps -a` lists those there are"
    )


def _execute(launch: Launch, *, dies_with: int = 0) -> NoReturn:
    for number in _PYTHON_IGNORES:
        signal.signal(number, signal.SIG_DFL)
    loader, *rest = launch.argv
    leash = ("--die-with", str(dies_with)) if dies_with else ()
    argv = [os.fsencode(word) for word in (loader, *leash, *rest)]
    env = {os.fsencode(name): os.fsencode(value) for name, value in launch.env.items()}
    try:
        os.execve(argv[0], argv, env)  # noqa: S606
    except OSError as error:
        runs.unregister(launch.container.path("runs"), os.getpid())
        reason = os.strerror(error.errno or 0)
        hint = _TOO_LONG if error.errno == errno.E2BIG else None
        raise LpmxError(
            f"{launch.plan.loader}: {reason}", hint=hint, exit_code=EXIT_NOT_EXECUTABLE
        ) from error


# ---- watched over


def run_and_wait(launch: Launch) -> End:
    """Run the program as a child, wait for its end, and remove the container if it is ephemeral."""
    container = launch.container
    try:
        _prepare(launch)
        sys.stdout.flush()
        sys.stderr.flush()
        with _Signals() as signals:
            child = _fork_program(launch, signals, dies_with_us=True)
            if not _has_terminal() and os.getpgrp() != os.getpid():
                # Without job control nobody minds, and a signal to the whole group then reaches the
                # program once.
                with contextlib.suppress(OSError):
                    os.setpgid(0, 0)
            end = signals.wait_for(child)
        _note_end(container, end, child, runs.MAIN)
    finally:
        if container.auto_remove:
            with contextlib.suppress(
                StorageError
            ):  # gc can do it later; the program's status matters more
                containers.discard_own(container)
    return end


def _fork_program(
    launch: Launch,
    signals: _Signals,
    *,
    kind: str = runs.MAIN,
    dies_with_us: bool = False,
    before: Callable[[], object] | None = None,
) -> int:
    us = os.getpid()
    child = os.fork()
    if child:
        return child
    status = EXIT_LPMX
    try:
        if before:
            before()
        _register(launch, kind)
        signals.restore()
        _execute(launch, dies_with=us if dies_with_us else 0)
    except LpmxError as error:
        status = error.exit_code if error.exit_code == EXIT_NOT_EXECUTABLE else EXIT_LPMX
        os.write(2, os.fsencode(f"lpmx: {shown(error.message)}\n"))
    except BaseException as error:  # noqa: BLE001  the child must not return into the parent's code
        os.write(2, os.fsencode(f"lpmx: {launch.container.label}: {error!r}\n"))
    os._exit(status)


class _Signals:
    """All signals of this process, blocked and taken one by one while a program runs."""

    def __enter__(self) -> _Signals:
        self._chld = signal.signal(
            signal.SIGCHLD, signal.SIG_DFL
        )  # ignored, it would hide the child's status
        ignored = {number for number in signal.valid_signals() if _is_ignored(number)}
        self._taken = signal.valid_signals() - _OURS - ignored | {signal.SIGCHLD}
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._taken)
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def restore(self) -> None:
        """As they were when we were started."""
        if self._chld is not None:
            signal.signal(signal.SIGCHLD, self._chld)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def wait_for(self, child: int) -> End:
        """Pass signals on until @child ends."""
        while True:
            end = self._reap(child)
            if end:
                return end
            info = signal.sigwaitinfo(self._taken)
            # SI_USER and its kin are zero or less: sent by a process. What the terminal sends the
            # child has got too.
            from_process = info.si_code <= 0 and info.si_pid != child
            if info.si_signo != signal.SIGCHLD and from_process:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, info.si_signo)

    def _reap(self, child: int) -> End | None:
        """The child's end, if it has come. When a terminal stopped it, stop with it."""
        while True:
            pid, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            if not pid:
                return None
            if not os.WIFSTOPPED(status):
                return End.of(status)
            if os.WSTOPSIG(status) in _STOPS and _has_terminal():
                os.kill(os.getpid(), signal.SIGSTOP)


def _is_ignored(number: int) -> bool:
    return number not in _OURS and signal.getsignal(number) is signal.SIG_IGN


def _has_terminal() -> bool:
    """True when there is a controlling terminal, so that a shell may do job control with us."""
    try:
        fd = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(fd)
    return True


def _note_end(container: Container, end: End, child: int, kind: str) -> None:
    runs.unregister(container.path("runs"), child)
    if kind == runs.MAIN:
        _note(container, {"status": end.status, "signal": end.signal, "finished": time.time()})


def _note(container: Container, record: dict[str, Any]) -> None:
    """Keep for `lpmx ps` what became of the container's command.

    After a start in place nobody sees its end: then all that is known is that it was started.
    """
    if not container.auto_remove:
        # Removed meanwhile, or a full disk: the program matters more.
        with contextlib.suppress(OSError):
            containers.write_file(container.path("exit.json"), json.dumps(record).encode("ascii"))


def _forbid_core() -> None:
    """No core file of ours beside the program's: a courtesy, where Python has ctypes."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


# ---- detached


def start_detached(launch: Launch, *, kind: str = runs.MAIN) -> int:
    """Start the program in a session of its own, its output going to the container's log; its pid.

    A process of ours stays with it to note its end and to remove an ephemeral container.
    """
    _prepare(launch)
    sys.stdout.flush()
    sys.stderr.flush()
    read, write = os.pipe()
    middle = os.fork()
    if middle == 0:
        os.close(read)
        _become_supervisor(launch, kind, write)
    os.close(write)
    os.waitpid(middle, 0)
    with open(read, "rb") as answer:
        text = answer.read().decode(errors="replace")
    if not text.isdigit():
        raise LpmxError(
            f"container {launch.container.label}: {text or 'the supervisor died'}",
            exit_code=EXIT_LPMX,
        )
    return int(text)


def _become_supervisor(launch: Launch, kind: str, answer: int) -> NoReturn:
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        _supervise(launch, kind, answer)
    except BaseException as error:  # noqa: BLE001  must not return into the parent's code
        message = error.message if isinstance(error, LpmxError) else str(error)
        with contextlib.suppress(OSError):
            os.write(answer, os.fsencode(message or repr(error)))
    os._exit(EXIT_LPMX)


def _supervise(launch: Launch, kind: str, answer: int) -> NoReturn:
    container = launch.container
    _detach_files(container.path("log"), answer)
    _register(launch, runs.SUPERVISOR)
    with _Signals() as signals:
        ready, told = os.pipe()
        child = _fork_program(launch, signals, kind=kind, before=os.setsid)
        os.close(told)
        os.read(
            ready, 1
        )  # ends when the child executes the loader or dies: by then it is registered
        os.close(ready)
        os.write(answer, str(child).encode())
        os.close(answer)
        end = signals.wait_for(child)
    _note_end(container, end, child, kind)
    runs.unregister(container.path("runs"), os.getpid())
    if container.auto_remove:
        with contextlib.suppress(StorageError):
            containers.discard_own(container)
    os._exit(0)


def _detach_files(log: str, keep: int) -> None:
    """Let go of the caller's terminal, pipes and directory."""
    null = os.open(os.devnull, os.O_RDWR)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX"))
    os.chdir("/")
