"""When is a kernel ready? When every channel of its connection file accepts a connection.

The clients do not look: JupyterLab shows "Connecting" for 21 s over a kernel that died at once, and
then no reason.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

CHANNELS = ("hb", "iopub", "control", "stdin", "shell")  # what ipykernel opens last comes first
CONNECT_TIMEOUT = 0.2


def accepts(connection_info: Mapping[str, Any]) -> bool:
    """Say whether all channels accept a connection."""
    return all(_accepts(connection_info, f"{name}_port") for name in CHANNELS)


def _accepts(info: Mapping[str, Any], port_name: str) -> bool:
    ip, port = str(info["ip"]), int(info[port_name])
    try:
        if info.get("transport") == "ipc":
            return _connects(socket.AF_UNIX, f"{ip}-{port}")
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        return _connects(family, (ip, port))
    except OSError:
        return False


def _connects(family: int, address: str | tuple[str, int]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_TIMEOUT)
        probe.connect(address)
        return True


def ipc_path_fits(ip: str) -> bool:
    """Can sockets `ip`-1 ... `ip`-99999 be bound? A unix socket's path holds 107 bytes."""
    return len(os.fsencode(ip)) + len("-99999") <= 107
