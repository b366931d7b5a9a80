"""The processes of a container, as docker's commands speak of them: all, on this node."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lpmx_runtime import processes

if TYPE_CHECKING:
    from lpmx_runtime.container import Container

__all__ = ["kill_all", "members", "wait_gone"]

_PAUSE = 0.02


def members(container: Container) -> list[int]:
    """The pids of all processes of @container, this process never among them."""
    return processes.of_container(container.id)


def kill_all(container: Container) -> int:
    """Kill all of them, those that are just being born as well; how many there were."""
    return processes.kill_container(container.id)


def wait_gone(container: Container, seconds: float) -> bool:
    """Wait until nothing runs in @container; False when it took longer than @seconds."""
    deadline = time.monotonic() + seconds
    while members(container):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_PAUSE)
    return True
