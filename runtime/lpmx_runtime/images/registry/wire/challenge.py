"""The header WWW-Authenticate: what a registry wants to see before it answers.

RFC 9110, section 11.6.1: a header may hold several challenges, separated by commas like the
parameters of each, and there may be several headers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Challenge", "parse_challenges"]

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_PART = re.compile(
    rf"""\s*,*\s*(?:
        (?P<key>{_WORD})\s*=\s*(?:"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<bare>{_WORD}))
        | (?P<scheme>{_WORD})(?=\s|,|$)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Challenge:
    """One way to authenticate: @scheme in lower case, and its parameters, keys in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(headers: Sequence[str]) -> list[Challenge]:
    """The challenges of all headers, in their order; what cannot be read is left out."""
    found: list[Challenge] = []
    for header in headers:
        scheme = ""
        parameters: dict[str, str] = {}
        at = 0
        while match := _PART.match(header, at):
            at = match.end()
            if match["scheme"]:
                if scheme:
                    found.append(Challenge(scheme, parameters))
                scheme, parameters = match["scheme"].lower(), {}
            else:
                quoted = match["quoted"]
                value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match["bare"]
                parameters[match["key"].lower()] = value
        if scheme:
            found.append(Challenge(scheme, parameters))
    return found
