"""What runs here: this machine as `os/architecture`, in the words of images."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["host_platform", "platform_of"]

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}


def host_platform() -> str:
    """The platform whose images run here."""
    machine = os.uname().machine
    return f"linux/{_MACHINES.get(machine, machine)}"


def platform_of(value: dict[str, Any]) -> str:
    """`os/architecture` of a configuration or descriptor; what it leaves open is this machine's.

    crane, go-containerregistry and older Bazel rules write images without either.
    """
    system, _, machine = host_platform().partition("/")
    said = str(value.get("architecture") or machine)
    return f"{value.get('os') or system}/{_MACHINES.get(said, said)}".lower()
