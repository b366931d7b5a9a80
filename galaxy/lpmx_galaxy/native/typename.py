"""The name of the container type, as a destination has it: `lpmx_enabled: true`."""

from __future__ import annotations

__all__ = ["TYPE"]

TYPE = "lpmx"
