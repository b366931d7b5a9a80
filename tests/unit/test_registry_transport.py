"""When a request is tried again, and by which proxy it goes."""

from __future__ import annotations

import socket

import pytest

from lpmx_runtime.images.registry.wire import transport
from lpmx_runtime.images.registry.wire.errors import UnreachableError
from lpmx_runtime.images.registry.wire.transport import Transport
from lpmx_runtime.images.web.proxies import proxy_for


@pytest.fixture
def waits(monkeypatch):
    """A transport that notes how long it would sleep."""
    found: list[float] = []
    monkeypatch.setattr(transport, "_pause", lambda attempt: float(2**attempt))
    return Transport(sleep=found.append), found


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_host_that_never_answered_is_not_waited_for_long(waits):
    line, found = waits
    with pytest.raises(UnreachableError, match="connection refused"):
        line.request("GET", f"http://127.0.0.1:{closed_port()}/v2/", {})
    assert found == [1, 2]


def test_a_host_that_has_answered_is_waited_for(waits, tmp_path):
    """A registry that starts anew in the middle of a pull."""
    line, found = waits
    port = closed_port()
    line._reached.add(f"127.0.0.1:{port}")
    with pytest.raises(UnreachableError):
        line.request("GET", f"http://127.0.0.1:{port}/v2/", {})
    assert found == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(
    ("environ", "scheme", "place", "address", "login"),
    [
        ({}, "https", "reg.test", None, ""),
        ({"https_proxy": "http://p:3128"}, "https", "reg.test", "http://p:3128", ""),
        ({"https_proxy": "p:3128"}, "https", "reg.test:5000", "http://p:3128", ""),
        ({"https_proxy": "http://p:3128"}, "http", "reg.test", None, ""),
        ({"http_proxy": "http://p:3128"}, "http", "reg.test", "http://p:3128", ""),
        ({"all_proxy": "socks5h://p:1080"}, "https", "reg.test", "socks5h://p:1080", ""),
        ({"https_proxy": "http://u:p%40s@p:1"}, "https", "reg.test", "http://p:1", "u:p@s"),
        ({"https_proxy": "http://p:1", "no_proxy": "reg.test"}, "https", "reg.test", None, ""),
        ({"https_proxy": "p:1", "no_proxy": "reg.test:5000"}, "https", "reg.test:5000", None, ""),
        ({"https_proxy": "http://p:1"}, "https", "127.0.0.1:5000", None, ""),
        ({"https_proxy": "http://p:1"}, "https", "localhost:5000", None, ""),
        ({"https_proxy": "http://p:1"}, "https", "[::1]:5000", None, ""),
    ],
)  # fmt: skip
def test_which_proxy(environ, scheme, place, address, login, monkeypatch):
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = proxy_for(scheme, place)
    assert (found.address if found else None, found.login if found else "") == (address, login)


def test_a_proxy_s_url_has_its_password_back(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://u:p%40s@p:1")
    monkeypatch.delenv("no_proxy", raising=False)
    found = proxy_for("https", "reg.test")
    assert found.url == "http://u:p%40s@p:1"
    assert "p@s" not in repr(found.address)
