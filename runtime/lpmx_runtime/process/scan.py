"""Processes of this user that nothing else leads to: found by what they carry, and ended.

Without a pid namespace a program's children are ordinary processes, and those whose parent has died
belong to init. Two things tell whose they are: a variable that they were started with, and the
record of changed names (`dirty`) that every program of a container has mapped, and no other.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from typing import TYPE_CHECKING

from lpmx_runtime.native import ENGINE

from .runs import start_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "by_container",
    "end",
    "in_session",
    "kill_container",
    "of_container",
    "with_variable",
]

# What leads from a process to its container: the record of changed names that it has mapped, or the
# plan in the variable that the engine hands on at an exec (preload/loader/state.c). Of a container
# that another one calls it is below that one's directory.
_DIRTY = re.compile(rb"/containers/([0-9a-f]+)/(?:callees/[^/\n]+/)?dirty(?: \(deleted\))?\n")
_PLAN = re.compile(rb"\0?LPMX_EXEC=[^\0]*?/containers/([0-9a-f]+)/")
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
    """The processes of the container with that id on this node, this process never among them.

    Those of the containers that it calls are its own, too.
    """
    return _scan()[0].get(identifier, [])


def by_container() -> dict[str, list[int]]:
    """The processes of all containers on this node, by the containers' ids; one look at each."""
    return _scan()[0]


def _scan() -> tuple[dict[str, list[int]], bool]:
    """By container; and whether some process is just becoming a program of one.

    Such a process has the loader mapped and nothing yet that leads to its container.
    """
    loader = f"/{ENGINE}\n".encode()
    found: dict[str, list[int]] = {}
    unsettled = False
    for pid, maps in _read_all("maps"):
        mark = _DIRTY.search(maps)
        if mark is None and loader in maps:
            # On a network file system the record is not mapped, but an exec hands on its plan.
            mark = _PLAN.search(_read(str(pid), "environ"))
            unsettled |= mark is None
        if mark is not None:
            found.setdefault(mark[1].decode(), []).append(pid)
    return found, unsettled


def _read_all(name: str) -> Iterator[tuple[int, bytes]]:
    """The file @name of each process of this user but this one."""
    own = os.getuid()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{entry}").st_uid == own and (data := _read(entry, name)):
                yield int(entry), data


def _read(pid: str, name: str) -> bytes:
    """A file of a process; empty where it has ended, or may not be looked at."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


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
        scanned, unsettled = _scan()
        living = scanned.get(identifier, [])
        patience -= unsettled and not living
        if not living and (not unsettled or not patience):
            break
        _signal(living, signal.SIGKILL)
        if killed.issuperset(living):
            time.sleep(_PAUSE)
        killed.update(living)
    return len(killed)
