"""Where on a node a kernel listens: at the address that leads back to its client, at free ports.

The ports stay bound here for as long as the job lives. A socket that is bound and does not listen
keeps others away, and lets a kernel in: ZeroMQ, too, sets SO_REUSEADDR. So no other program can
take a port between choice and use, and a restarted kernel has the ports of the last one.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
DISCARD = 9  # any port: connecting a datagram socket sends nothing


def towards(peers: Iterable[str]) -> str:
    """This machine's address on the way to the first of `peers` that has a name or a route."""
    for peer in peers:
        with contextlib.suppress(OSError):
            return _source_address(peer)
    return _source_address(socket.gethostname())


def _source_address(peer: str) -> str:
    family, kind, protocol, _, where = socket.getaddrinfo(
        peer, DISCARD, type=socket.SOCK_DGRAM, family=socket.AF_INET
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(where)
        return str(probe.getsockname()[0])


class Reserved:
    """Ports of `ip`, one for each channel, which nobody else gets."""

    def __init__(self, ip: str) -> None:
        self.ip = ip
        self._sockets = {name: _bound(ip) for name in PORTS}

    @property
    def info(self) -> dict[str, str | int]:
        """As in a connection file."""
        ports = {name: sock.getsockname()[1] for name, sock in self._sockets.items()}
        return {"transport": "tcp", "ip": self.ip, **ports}


def _bound(ip: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # After the choice of the port, which would otherwise be one that another reserves likewise.
    sock.bind((ip, 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock
