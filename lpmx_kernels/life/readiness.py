"""When is a kernel ready? When its channels accept connections and it answers its first request.

The clients do not look: JupyterLab shows "Connecting" for 21 s over a kernel that died at once, and
then no reason. The open ports alone are too early: ipykernel opens them, then rewrites its
connection file, which the client reads as soon as the start is over, and then loads most of itself.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import zmq
from jupyter_client.connect import ConnectionFileMixin

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


class FirstRequest:
    """A kernel_info request to a kernel with open channels; the answer proves that it works."""

    def __init__(self, manager: Any) -> None:
        # Not the manager's own method: a server's gives a stream of its event loop.
        self._socket = ConnectionFileMixin.connect_shell(manager)
        manager.session.send(self._socket, "kernel_info_request")

    def is_answered(self) -> bool:
        """Say whether the answer has come."""
        return bool(zmq.Socket.shadow(self._socket).poll(0))

    def close(self) -> None:
        """Let go of the kernel."""
        self._socket.close(linger=0)
