"""A web proxy as sites have them: CONNECT for https, whole addresses for http, maybe a password.

Whatever name a client asks for, it is led to the one server that the test has; so a registry can
be called as registries are, without a name service.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

BLOCK = 1 << 16


class WebProxy:
    """Leads all to @upstream (`HOST:PORT`); `asked` are the names that clients asked for."""

    def __init__(self, upstream: str, *, user: str = "") -> None:
        self.upstream, self.asked = upstream, []
        self.wanted = f"Basic {base64.b64encode(user.encode()).decode()}" if user else ""
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  clients go
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> WebProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: WebProxy

    def is_known(self) -> bool:
        wanted = self.owner.wanted
        if not wanted or self.headers.get("Proxy-Authorization") == wanted:
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="site"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def do_CONNECT(self) -> None:
        self.owner.asked.append(self.path)
        if not self.is_known():
            return
        host, _, port = self.owner.upstream.partition(":")
        with socket.create_connection((host, int(port)), 20) as far:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(far, self.connection), daemon=True)
            back.start()
            _pump(self.connection, far)
            back.join(20)
        self.close_connection = True

    def do_GET(self) -> None:
        at = urlsplit(self.path)
        self.owner.asked.append(at.netloc)
        if not self.is_known():
            return
        upstream = http.client.HTTPConnection(self.owner.upstream, timeout=60)
        headers = {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy-")}
        upstream.request(self.command, f"{at.path}?{at.query}".rstrip("?"), None, headers)
        got = upstream.getresponse()
        body = got.read()
        self.send_response(got.status)
        for name, value in got.getheaders():
            if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", got.getheader("Content-Length") or str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  http.server wants these names

    def log_message(self, *_: Any) -> None:
        pass


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(BLOCK):
            target.sendall(block)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
