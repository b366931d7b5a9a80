"""Processes of this user that nothing else leads to: found by what they carry, and ended.

Without a pid namespace a program's children are ordinary processes, and those whose parent has died
belong to init. Two things tell whose they are: a variable that they were started with, and the
record of changed names (`dirty`) that every program of a container has mapped, and no other.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from .enginefile import ENGINE
from .runs import start_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["end", "in_session", "kill_container", "of_container", "with_variable"]

_ROUNDS = 20
_UNSETTLED = 3  # scans that wait for a process to show whose it is
_PAUSE = 0.02  # seconds: a process that is being killed is still to be seen for a moment


def with_variable(text: str) -> list[int]:
    """The processes that were started with the variable @text, NAME=VALUE."""
    wanted = text.encode()
    return [pid for pid, found in _read_all("environ") if wanted in found.split(b"\0")]


def in_session(session: int) -> list[int]:
    """The processes of a session."""
    number = str(session).encode()
    stats = ((pid, stat.rpartition(b")")[2].split()) for pid, stat in _read_all("stat"))
    return [pid for pid, fields in stats if fields[3:4] == [number]]


def of_container(identifier: str) -> list[int]:
    """The processes of the container with that id on this node, this process never among them."""
    return _scan(identifier)[0]


def _scan(identifier: str) -> tuple[list[int], bool]:
    """The pids, and whether some process is just becoming a program of a container, of any one.

    Such a process has the loader mapped and not yet what tells whose it is.
    """
    mark, loader = f"/{identifier}/dirty".encode(), f"/{ENGINE}\n".encode()
    found, unsettled = [], False
    for pid, maps in _read_all("maps"):
        if mark in maps:
            found.append(pid)
        elif loader in maps and b"/dirty" not in maps:
            unsettled = True
    return found, unsettled


def _read_all(name: str) -> Iterator[tuple[int, bytes]]:
    """The file @name of each process of this user but this one."""
    own = os.getuid()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            if os.stat(f"/proc/{entry}").st_uid != own:
                continue
            with open(f"/proc/{entry}/{name}", "rb") as file:
                yield int(entry), file.read()
        except OSError:
            continue  # ended meanwhile, or none of our business


def end(find: Callable[[], Iterable[int]], *, grace: float) -> list[int]:
    """End all processes that @find finds, politely first; the pids that were found."""
    found = list(find())
    if not found:
        return []
    if grace:
        _signal(found, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while (left := _living(find())) and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    # A process that forks while we look escapes one round, never all of them.
    for _ in range(_ROUNDS):
        if not left:
            break
        _signal(left, signal.SIGKILL)
        time.sleep(_PAUSE / 2)
        left = _living(find())
    return found


def _living(pids: Iterable[int]) -> list[int]:
    return [pid for pid in pids if start_time(pid) is not None]


def _signal(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def kill_container(identifier: str) -> int:
    """Kill all processes of a container, those just being born as well; how many there were."""
    killed: set[int] = set()
    patience = _UNSETTLED  # a host agent looks so all its life
    for _ in range(_ROUNDS):
        living, unsettled = _scan(identifier)
        patience -= unsettled and not living
        if not living and (not unsettled or not patience):
            break
        _signal(living, signal.SIGKILL)
        if killed.issuperset(living):
            time.sleep(_PAUSE)
        killed.update(living)
    return len(killed)
