"""What stands in the way of an upload: a line that breaks, and a registry that is particular."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

BLOCK = 1 << 16


class BreakingLine:
    """Passes on what comes for @upstream, and breaks after @after bytes sent, @times times."""

    def __init__(self, upstream: str, *, after: int, times: int) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._after, self._times = after, times
        self._guard = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.broken = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._upstream) as server:
            back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
            back.start()
            self._copy(client, server, counted=True)
            back.join(5)

    def _copy(self, source: socket.socket, target: socket.socket, *, counted: bool = False) -> None:
        seen = 0
        try:
            while data := source.recv(BLOCK):
                seen += len(data)
                if counted and seen > self._after and self._break():
                    break
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def _break(self) -> bool:
        with self._guard:
            if self.broken >= self._times:
                return False
            self.broken += 1
            return True


class ParticularRegistry:
    """A registry in memory: no large bodies, relative locations with a query, parts in order."""

    def __init__(self, *, largest: int) -> None:
        self.largest = largest
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.parts = 0
        registry = self

        class Handler(_Handler):
            owner = registry

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: ParticularRegistry

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes | None:
        size = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(size)
        if size > self.owner.largest:
            self._answer(413)
            return None
        return data

    def do_HEAD(self) -> None:
        digest = self.path.rpartition("/")[2]
        self._answer(200 if digest in self.owner.blobs else 404)

    def do_POST(self) -> None:
        name = f"u{len(self.owner.uploads)}"
        self.owner.uploads[name] = bytearray()
        self._answer(202, Location=f"{self.path.partition('?')[0]}{name}?state=a%2Fb")

    def do_PATCH(self) -> None:
        upload = self.owner.uploads[self._upload()]
        data = self._body()
        if data is None:
            return
        match = re.fullmatch(r"(\d+)-(\d+)", self.headers.get("Content-Range", ""))
        if "state=a%2Fb" not in self.path or match is None or int(match[1]) != len(upload):
            self._answer(416, Range=f"0-{max(0, len(upload) - 1)}")
            return
        upload += data
        self.owner.parts += 1
        self._answer(202, Location=self.path, Range=f"0-{len(upload) - 1}")

    def do_PUT(self) -> None:
        data = self._body()
        if data is None:
            return
        if "/manifests/" in self.path:
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            kind = self.headers.get("Content-Type", "")
            self.owner.manifests[self.path.rpartition("/")[2]] = (kind, data)
            self._answer(201, Docker_Content_Digest=digest)
            return
        whole = bytes(self.owner.uploads[self._upload()]) + data
        digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
        if not self.path.endswith(f"digest={digest}"):
            problem = {"errors": [{"code": "DIGEST_INVALID", "message": "not its digest"}]}
            self._answer(400, json.dumps(problem).encode())
            return
        self.owner.blobs[digest] = whole
        self._answer(201)

    def _upload(self) -> str:
        return self.path.partition("?")[0].rpartition("/")[2]
