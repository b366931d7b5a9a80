"""Rootless containers that compose: the store, the importers, the launcher and the command line."""

from __future__ import annotations

__version__ = "0.1.0.dev0"
