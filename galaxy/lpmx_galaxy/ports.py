"""-p and -P: which ports of a container are published, and where they are to be reached.

A container has the host's network, so a program that listens on port 8888 listens on the host's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.container import Container
    from lpmx_runtime.image import Image

__all__ = ["Published", "asked", "parse_publish", "ports_of", "remember"]

_FILE = "ports.json"
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


def remember(container: Container, wanted: Sequence[Published]) -> None:
    """Keep with @container what it publishes."""
    if wanted:
        with open(container.path(_FILE), "w", encoding="ascii") as file:
            json.dump(wanted, file)


def ports_of(container: Container) -> list[Published]:
    """The published ports: in the container, on the host."""
    try:
        with open(container.path(_FILE), encoding="ascii") as file:
            wanted = json.load(file)
    except (OSError, ValueError):
        return []
    return [(inside, inside) for inside, _ in wanted]
