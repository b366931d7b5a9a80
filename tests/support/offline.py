"""A machine without a network: every registry is unreachable at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

NOWHERE = "http://127.0.0.1:9"  # nothing listens at the port that discards


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """For what runs in this process; what is tried again is tried without waiting."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "LPMX_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LPMX_PULL", "missing")
    monkeypatch.setattr("lpmx_runtime.images.registry.wire.transport._pause", lambda _attempt: 0.0)
