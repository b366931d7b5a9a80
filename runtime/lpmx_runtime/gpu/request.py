"""What `--gpus` asks for.

The words are docker's (`all`, a count, `device=...`), podman's (CDI names) and plain UUIDs:

    all                          every GPU that the user may use
    2                            two of them
    device=0,3   GPU-5a1e...     these, by index or UUID (MIG-... too)
    nvidia.com/gpu=0             a device of a CDI specification
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lpmx_runtime.errors import UsageError

__all__ = ["CDI_NAME", "GpuRequest", "parse_request"]

_HINT = "all, a number, device=INDEX|UUID[,...], or a CDI name such as nvidia.com/gpu=0"
_UUID = re.compile(r"(GPU|MIG)-[0-9a-zA-Z/_-]+")
# https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md#kind
CDI_NAME = re.compile(
    r"[a-zA-Z][a-zA-Z0-9_.-]*/[a-zA-Z][a-zA-Z0-9_.-]*=[a-zA-Z0-9][a-zA-Z0-9_.:-]*"
)


@dataclass(frozen=True)
class GpuRequest:
    """Exactly one of the fields says something; @everything wins."""

    everything: bool = False
    count: int = 0
    devices: tuple[str, ...] = ()  # indices and UUIDs
    cdi: tuple[str, ...] = ()  # qualified names

    @property
    def names(self) -> tuple[str, ...]:
        """What was asked for by name."""
        return self.devices or self.cdi


def parse_request(text: str) -> GpuRequest | None:
    """What @text asks for; None for "" and "none". UsageError for what is no request."""
    words = [word for word in text.strip().strip("\"'").split(",") if word]
    # Docker takes a list of options here; of these, capabilities and driver change nothing for us.
    asked = [word for word in words if not re.match(r"(capabilities|driver|options)=", word)]
    if words and not asked:
        return GpuRequest(everything=True)
    if not asked or asked in (["none"], ["0"], ["void"]):
        return None
    by_name = asked[0].startswith("device=")
    words = [re.sub(r"^(device|count)=", "", word) for word in asked]
    if words in (["all"], ["-1"]):
        return GpuRequest(everything=True)
    if all(CDI_NAME.fullmatch(word) for word in words):
        return GpuRequest(cdi=tuple(words))
    if len(words) == 1 and words[0].isascii() and words[0].isdigit() and not by_name:
        return GpuRequest(count=int(words[0]))
    for word in words:
        if not ((word.isascii() and word.isdigit()) or _UUID.fullmatch(word)):
            raise UsageError(f"--gpus {text}: {word!r} is not a GPU", hint=_HINT)
    return GpuRequest(devices=tuple(words))
