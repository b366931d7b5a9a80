"""What a client's side and a node's side say to each other: one JSON object a line.

Down: {"do": "start", ...Start}, {"do": "signal", "number": 2}; the end of the file ends all.
Up: {"is": "here"}, {"is": "started"}, {"is": "refused"}, {"is": "signalled"}, {"is": "ended"}, with
facts, each after a mark, because a site's own scripts may write to a job's stdout too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MARK = b"lpmx-kernel: "


@dataclass(frozen=True)
class Start:
    """What a node needs to know to start a kernel."""

    name: str  # of the connection file
    connection: Mapping[str, Any]  # what goes into that file, but for the address
    env: Mapping[str, str]  # as the client hands it over
    cwd: str
    marker: str
    asked: Sequence[str] = ()  # names in `env` that the kernel spec set
    changed: Sequence[str] = ()  # names in `env` that the client set on purpose
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the kernel spec
    container: str = ""  # of an earlier start of this kernel
    host_argv: Sequence[str] = ()  # to start on the node itself, in place of a kernel in an image

    def message(self) -> dict[str, Any]:
        """As it is sent."""
        return {"do": "start", **asdict(self)}

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Start:
        """As it was sent."""
        return cls(**{key: value for key, value in message.items() if key != "do"})


def down(message: Mapping[str, Any]) -> bytes:
    """A line for the node."""
    return json.dumps(message).encode() + b"\n"


def up(message: Mapping[str, Any]) -> bytes:
    """A line for the client."""
    return MARK + down(message)


class Lines:
    """Whole lines out of what arrives in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        yield from lines


def parse_up(line: bytes) -> dict[str, Any] | None:
    """What a node says in `line`; None where the line is somebody else's."""
    _, mark, text = line.partition(MARK)
    try:
        message = json.loads(text) if mark else None
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
