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

if TYPE_CHECKING:
    from lpmx_runtime.container import Container

__all__ = ["kill_all", "members", "wait_gone"]

_ROUNDS = 20
_PAUSE = 0.02  # seconds: a process that is being killed is still to be seen for a moment


def members(container: Container) -> list[int]:
    """The pids of all processes of @container on this node, this process never among them."""
    mark = f"/{container.id}/dirty".encode()
    own = os.getuid()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            if os.stat(f"/proc/{name}").st_uid != own:
                continue
            with open(f"/proc/{name}/maps", "rb") as file:
                if mark in file.read():
                    found.append(int(name))
        except OSError:
            continue  # ended meanwhile, or none of our business
    return found


def kill_all(container: Container) -> int:
    """Kill all of them, those that are just being born as well; how many there were."""
    killed: set[int] = set()
    for _ in range(_ROUNDS):
        living = members(container)
        if not living:
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
