"""-p and -P: which ports of a container are published, and where they are to be reached.

A container has the host's network. A program that binds a published port is given another one of
the host by the engine (preload/calls/sockets/ports.c), so that two servers on port 8888 run side by
side; which one, is decided here.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.store.image import Image

__all__ = ["Published", "asked", "choose", "parse_publish"]

_PORTS = range(1, 65536)

Published = tuple[int, int]  # in the container, on the host (0: any that is free)


def parse_publish(text: str) -> list[Published]:
    """What -p @text asks for: [[IP:]HOST:]PORT[/tcp], the ports perhaps ranges A-B.

    The address is not kept: a program decides itself on which it listens.
    """
    body, slash, protocol = text.partition("/")
    if slash and protocol.lower() not in ("tcp", "udp", "sctp"):
        raise UsageError(f"-p {text}: unknown protocol {protocol!r}")
    outside, _, inside = body.rpartition(":")
    inner = _range(text, inside)
    host = outside.rpartition(":")[2] if outside and not outside.endswith("]") else ""
    outer = _range(text, host) if host else [0] * len(inner)
    if len(inner) != len(outer):
        raise UsageError(f"-p {text}: ranges of different lengths")
    return list(zip(inner, outer, strict=True))


def _range(text: str, words: str) -> list[int]:
    first, dash, last = words.partition("-")
    if not first.isdigit() or (dash and not last.isdigit()):
        raise UsageError(f"-p {text}: {words!r} is not a port", hint="-p [[IP:]HOST:]PORT[/tcp]")
    numbers = list(range(int(first), int(last or first) + 1))
    if not numbers or numbers[0] not in _PORTS or numbers[-1] not in _PORTS:
        raise UsageError(f"-p {text}: ports are 1 to 65535")
    return numbers


def asked(image: Image, publish: Sequence[str], *, everything: bool) -> list[Published]:
    """The ports that -p and, with @everything, the image's EXPOSE name."""
    wanted = [pair for text in publish for pair in parse_publish(text)]
    if everything:
        config = image.config.get("config")
        exposed = config.get("ExposedPorts") if isinstance(config, dict) else None
        for text in exposed if isinstance(exposed, dict) else ():
            wanted += [pair for pair in parse_publish(str(text)) if pair not in wanted]
    return list(dict.fromkeys(wanted))


def choose(wanted: Sequence[Published]) -> tuple[Published, ...]:
    """A port of the host for each that names none. LpmxError where a named one is taken.

    They are free at this moment: another program may take one before the container's does, which
    then finds its port in use.
    """
    import socket

    with contextlib.ExitStack() as held:
        chosen = []
        for inside, outside in wanted:
            probe = held.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", outside))
            except OSError as error:
                raise LpmxError(
                    f"-p {outside}:{inside}: port {outside} of this machine: {error.strerror}",
                    hint=f"-p {inside} takes any that is free",
                ) from error
            chosen.append((inside, probe.getsockname()[1]))
    return tuple(chosen)
