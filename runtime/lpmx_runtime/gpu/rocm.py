"""AMD's ROCm: a container brings all libraries itself and needs two kinds of device nodes."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .host import GpuHost

__all__ = ["find_nodes"]


def find_nodes(host: GpuHost) -> list[str]:
    """/dev/kfd and the render nodes; nothing when this machine has no ROCm device."""
    kfd = host.devices("/dev/kfd")
    if not kfd:
        return []
    render = [
        p for p in host.devices("/dev/dri") if re.match(r"(card|renderD)", os.path.basename(p))
    ]
    return kfd + render
