"""The processes of a container, found by what they have mapped.

Without a pid namespace a program's children are ordinary processes, and those whose parent has died
belong to init. But each has the container's own record of changed names (`dirty`) mapped, which no
other process has; so /proc tells them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from lpmx_runtime.enginefile import ENGINE

if TYPE_CHECKING:
    from lpmx_runtime.container import Container

__all__ = ["kill_all", "members", "wait_gone"]

_ROUNDS = 20
_UNSETTLED = 3  # scans that wait for a process to show whose it is
_PAUSE = 0.02  # seconds: a process that is being killed is still to be seen for a moment


def members(container: Container) -> list[int]:
    """The pids of all processes of @container on this node, this process never among them."""
    return _scan(container)[0]


def _scan(container: Container) -> tuple[list[int], bool]:
    """The pids, and whether some process is just becoming a program of a container, of any one.

    Such a process has the loader mapped and not yet what tells whose it is.
    """
    mark, loader = f"/{container.id}/dirty".encode(), f"/{ENGINE}\n".encode()
    own, found, unsettled = os.getuid(), [], False
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            if os.stat(f"/proc/{name}").st_uid != own:
                continue
            with open(f"/proc/{name}/maps", "rb") as file:
                maps = file.read()
        except OSError:
            continue  # ended meanwhile, or none of our business
        if mark in maps:
            found.append(int(name))
        elif loader in maps and b"/dirty" not in maps:
            unsettled = True
    return found, unsettled


def kill_all(container: Container) -> int:
    """Kill all of them, those that are just being born as well; how many there were."""
    killed: set[int] = set()
    patience = _UNSETTLED  # a host agent looks so all its life
    for _ in range(_ROUNDS):
        living, unsettled = _scan(container)
        patience -= unsettled and not living
        if not living and (not unsettled or not patience):
            break
        for pid in living:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if killed.issuperset(living):
            time.sleep(_PAUSE)
        killed.update(living)
    return len(killed)


def wait_gone(container: Container, seconds: float) -> bool:
    """Wait until nothing runs in @container; False when it took longer than @seconds."""
    deadline = time.monotonic() + seconds
    while members(container):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE)
    return True
