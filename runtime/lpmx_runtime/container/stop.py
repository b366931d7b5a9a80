"""Stopping what runs in a container: its programs are asked first, then what they left behind."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.process import runs
from lpmx_runtime.process import scan as processes

if TYPE_CHECKING:
    from .record import Container

__all__ = ["parse_signal", "send", "stop"]

_PAUSE = 0.02  # seconds between two looks
_AFTER_KILL = 5.0  # seconds


def parse_signal(text: str) -> signal.Signals:
    """The signal called @text: `15`, `TERM` or `SIGTERM`. UsageError: there is none."""
    try:
        if text.isdigit():
            return signal.Signals(int(text))
        return signal.Signals[f"SIG{text.upper().removeprefix('SIG')}"]
    except (KeyError, ValueError) as error:
        raise UsageError(f"there is no signal {text}") from error


def send(container: Container, number: signal.Signals) -> bool:
    """Send @number to the programs started in @container, SIGKILL to all of its processes.

    False when nothing runs in it.
    """
    if number == signal.SIGKILL:
        return processes.kill_container(container.id) > 0
    sent = [runs.send_signal(run.process, number) for run in container.runs()]
    return any(sent)


def stop(container: Container, number: signal.Signals, seconds: float) -> bool:
    """Send @number to what runs in @container, and SIGKILL to what is left after @seconds.

    The programs started in it are asked first: they may end their children in their own way. What
    is left when they have ended, daemons above all, is asked then. False when nothing ran.

    LpmxError: something runs in it on another machine.
    """
    _refuse_elsewhere(container)
    deadline = time.monotonic() + seconds
    asked: set[int] = set()
    while left := _to_ask(container):
        for who in left:
            if who.pid not in asked:
                runs.send_signal(who, number)
        asked |= {who.pid for who in left}
        if time.monotonic() >= deadline:
            _kill(container)
            break
        time.sleep(_PAUSE)
    return bool(asked)


def _refuse_elsewhere(container: Container) -> None:
    for run in container.runs():
        if not run.process.is_here() and run.process.is_alive():
            raise LpmxError(
                f"container {container.label}: {run.label} cannot be stopped from here",
                hint="stop it there",
            )


def _to_ask(container: Container) -> list[runs.Process]:
    """The programs started in @container; without one, all processes that are left in it."""
    programs = [run.process for run in container.runs()]
    if programs:
        return programs
    left = (runs.process(pid) for pid in processes.of_container(container.id))
    return [who for who in left if who is not None]


def _kill(container: Container) -> None:
    started = container.runs()
    for run in started:
        runs.send_signal(run.process, signal.SIGKILL, group=True)
    processes.kill_container(container.id)
    for run in started:
        runs.wait_gone(run.process, _AFTER_KILL)
