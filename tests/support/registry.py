"""A real registry (Debian's docker-registry) on loopback, and a proxy that breaks things."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from support.lpmx import run
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.tokens import TokenServer

USER, PASSWORD = "ada", "correct horse"
TLS = "  tls: {{certificate: {folder}/server.crt, key: {folder}/server.key}}\n"
CLIENTS = TLS.replace("}}", ", clientcas: [{folder}/ca.crt]}}")
HTPASSWD = "auth: {{htpasswd: {{realm: lab, path: {folder}/htpasswd}}}}\n"
CONFIG = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http:
  addr: 127.0.0.1:{port}
"""
BLOCK = 1 << 16
STALL = 120.0  # seconds that nothing comes


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_ca(folder: Path, host: str = "localhost") -> None:
    """A CA of the registry's own (ca.crt), and its certificate for @host and this machine."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl on this machine (Debian: openssl)")
    ca = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]
    run([*ca, "-subj", "/CN=lab CA", "-keyout", folder / "ca.key", "-out", folder / "ca.crt"])
    issue(folder, "server", host)


def issue(folder: Path, name: str, subject: str) -> None:
    """A key and a certificate (NAME.key, NAME.crt) by the CA in @folder."""
    request = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={subject}"]
    run([*request, "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.csr"])
    (folder / "names").write_text(f"subjectAltName=DNS:localhost,DNS:{subject},IP:127.0.0.1\n")
    sign = ["openssl", "x509", "-req", "-days", "30", "-CAcreateserial"]
    by = ["-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key", "-extfile", f"{folder}/names"]
    run([*sign, *by, "-in", folder / f"{name}.csr", "-out", folder / f"{name}.crt"])


def _know_user(folder: Path) -> None:
    if not shutil.which("htpasswd"):
        pytest.skip("no htpasswd on this machine (Debian: apache2-utils)")
    run(["htpasswd", "-Bbc", folder / "htpasswd", USER, PASSWORD])


@contextlib.contextmanager
def docker_registry(
    folder: Path,
    *,
    secured: bool = False,
    tls: bool = False,
    clients: bool = False,
    tokens: TokenServer | None = None,
) -> Iterator[str]:
    """`127.0.0.1:PORT` of a registry that keeps its data in @folder.

    @secured: it speaks TLS with a certificate of @folder/ca.crt and knows USER alone. @tls: that
    without a user; @clients: and it wants a certificate of the same CA. @tokens: it takes tokens.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("no registry on this machine (Debian: docker-registry)")
    folder.mkdir(exist_ok=True)
    port = free_port()
    more = ""
    if secured or tls or clients:
        if not (folder / "ca.crt").exists():
            make_ca(folder)
        more = CLIENTS if clients else TLS
    if secured:
        _know_user(folder)
        more += HTPASSWD
    more = more.format(folder=folder) + (tokens.settings() if tokens else "")
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port) + more)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [program, "serve", folder / "config.yml"], stdout=log, stderr=log, cwd=folder
        )
    try:
        until(lambda: _answers(port), what="the registry answers")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def push(archive: Path, place: str, *options: str) -> None:
    """Put a docker-save archive into a registry, certificates unseen."""
    if not shutil.which("skopeo"):
        pytest.skip("no skopeo on this machine (Debian: skopeo)")
    words = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false"]
    run([*words, *options, f"docker-archive:{archive}", f"docker://{place}"])


@contextlib.contextmanager
def proxied_registry(folder: Path, archive: Path, *names: str) -> Iterator[FaultProxy]:
    """A proxy before a registry in @folder that has the image of @archive by these names."""
    with docker_registry(folder / "registry") as address, FaultProxy(address) as proxy:
        for name in names:
            push(archive, f"{address}/{name}")
        yield proxy


def lone_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pull, with a home that has nobody's credentials, and no variable that names some."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LPMX_PULL", "missing")
    for name in (
        "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "XDG_RUNTIME_DIR",
        "XDG_CONFIG_HOME",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


@dataclass
class Rule:
    """What to do with requests that @match fits (a regular expression on "METHOD PATH").

    larger: of those with a body, only those with more bytes. do: status (code, headers, body), drop
    (after so many bytes of the request's body), cut, reset or stall (after), short (after), flip
    (at), norange, headers (to be added), redirect (to), pass. All that are passed on may be slow
    (rate).
    """

    match: str
    do: str
    times: int = 1 << 30
    code: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: int = 0
    at: int = 0
    rate: int = 0  # bytes a second; 0: as fast as it goes
    to: str = ""
    larger: int = -1


@dataclass
class Request:
    """One that came."""

    method: str
    path: str
    range: str
    authorization: str  # its scheme
    at: float = field(default_factory=time.monotonic)
    sent: int = 0  # bytes of the answer's body that left
    taken: int = 0  # bytes of its own body that came
    piece: str = ""  # its Content-Range


class FaultProxy:
    """Stands before a registry; `rules` and `requests` may be changed and looked at meanwhile."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.rules: list[Rule] = []
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._guard = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # clients go away in the middle
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def begin(self, *rules: Rule) -> None:
        """New rules, and nothing remembered."""
        self.rules, self.requests = list(rules), []

    def take(self, what: str, size: int = 0) -> Rule:
        """The first rule that fits and is not used up."""
        with self._guard:
            for rule in self.rules:
                if rule.times > 0 and size > rule.larger and re.search(rule.match, what):
                    rule.times -= 1
                    return rule
        return Rule("", "pass")

    def blobs(self) -> list[str]:
        """The digests of the blobs that were asked for, one for each request."""
        paths = [one.path for one in self.requests if one.method == "GET"]
        return [path.rpartition(":")[2] for path in paths if "/blobs/" in path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultProxy
    seen: Request
    data: bytes

    def serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        rule = self.owner.take(f"{self.command} {self.path}", size)
        scheme = (self.headers.get("Authorization") or "").partition(" ")[0]
        self.seen = Request(self.command, self.path, self.headers.get("Range") or "", scheme)
        self.seen.piece = self.headers.get("Content-Range") or ""
        self.owner.requests.append(self.seen)
        self.data = self.rfile.read(min(size, rule.after) if rule.do == "drop" else size)
        self.seen.taken = len(self.data)
        if rule.do == "drop":
            self.drop()
        elif rule.do == "status":
            self.answer(rule.code, rule.headers, rule.body)
        elif rule.do == "redirect":
            self.answer(307, {"Location": rule.to + self.path}, b"")
        else:
            self.forward(rule)

    def answer(self, code: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def drop(self) -> None:
        """Pass on what came of the request's body, and break off on both sides."""
        with contextlib.closing(http.client.HTTPConnection(self.owner.upstream)) as upstream:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders()
            upstream.send(self.data)
        self.break_off("reset")

    def forward(self, rule: Rule) -> None:
        upstream = http.client.HTTPConnection(self.owner.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name != "Connection"}
        if rule.do == "norange":
            headers.pop("Range", None)
        upstream.request(self.command, self.path, self.data or None, headers)
        got = upstream.getresponse()
        length = int(got.getheader("Content-Length") or 0)
        if rule.do == "short":
            length = min(length, rule.after)
        self.send_response(got.status)
        for name, value in got.getheaders():
            if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
                self.send_header(name, value)
        if rule.do == "headers":
            for name, value in rule.headers.items():
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):
                self.body(got, length, rule)
        upstream.close()

    def body(self, got: http.client.HTTPResponse, left: int, rule: Rule) -> None:
        sent = 0
        while left > 0 and (block := got.read(min(BLOCK, left))):
            if rule.do == "flip" and sent <= rule.at < sent + len(block):
                at = rule.at - sent
                block = block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]
            if rule.do in {"cut", "reset", "stall"} and sent + len(block) > rule.after:
                self.wfile.write(block[: rule.after - sent])
                self.wfile.flush()
                self.seen.sent = rule.after
                self.break_off(rule.do)
                return
            self.wfile.write(block)
            sent += len(block)
            left -= len(block)
            self.seen.sent = sent
            if rule.rate:
                time.sleep(len(block) / rule.rate)

    def break_off(self, how: str) -> None:
        """End the body before its end: at once, as a router forgets it, or not at all."""
        self.close_connection = True
        if how == "stall":
            self.owner.ended.wait(STALL)
        if how == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815  http.server wants these names

    def log_message(self, *_: Any) -> None:
        pass


def json_body(code: str, message: str) -> bytes:
    """An error as registries write it."""
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()
