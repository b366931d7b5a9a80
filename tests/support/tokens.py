"""A token service for docker-registry: docker's docs/content/spec/auth/{token,oauth,jwt}.

Tokens are JWT of RS256 with the signer's certificate as `x5c`, which docker-registry 2.8 tries
first; it takes them for 60 s longer than they say.
"""

from __future__ import annotations

import base64
import json
import shutil
import ssl
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from support.lpmx import run

if TYPE_CHECKING:
    from pathlib import Path

SERVICE, ISSUER = "lab-registry", "lab-issuer"
LEEWAY = 60  # seconds that docker-registry takes a token beyond its end
AUTH = """\
auth:
  token: {{realm: "{realm}", service: {service}, issuer: {issuer}, rootcertbundle: {bundle}}}
"""


@dataclass
class User:
    """One who may ask: @repositories are patterns of names with the actions they allow."""

    password: str = ""
    repositories: dict[str, str] = field(default_factory=dict)


@dataclass
class Grant:
    """A request for a token that came."""

    method: str
    user: str
    scopes: list[str]
    authorization: str  # its scheme
    status: int


class TokenServer:
    """The service; `users`, `seconds` and `grants` may be changed and looked at meanwhile.

    users: "" is everybody. seconds: how long tokens are good, less than 0 for one that ends before.
    """

    def __init__(self, folder: Path, *, tls: tuple[Path, Path] | None = None) -> None:
        if not shutil.which("openssl"):
            pytest.skip("no openssl on this machine (Debian: openssl)")
        folder.mkdir()
        self.folder, self.seconds = folder, 300
        self.users: dict[str, User] = {}
        self.refresh: dict[str, str] = {}  # users by identity tokens
        self.grants: list[Grant] = []
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]
        names = ["-subj", "/CN=lab tokens", "-keyout", str(self.key), "-out", str(self.certificate)]
        run([*words, *names])
        pem = self.certificate.read_text()
        self.chain = "".join(line for line in pem.splitlines() if not line.startswith("-"))
        server = self

        class Handler(_Handler):
            owner = server

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        port = self._server.server_address[1]
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.realm = f"{'https' if tls else 'http'}://127.0.0.1:{port}/token"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def key(self) -> Path:
        """What signs."""
        return self.folder / "token.key"

    @property
    def certificate(self) -> Path:
        """Of the key, its own root."""
        return self.folder / "token.crt"

    def __enter__(self) -> TokenServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def settings(self) -> str:
        """The part of docker-registry's configuration."""
        return AUTH.format(
            realm=self.realm, service=SERVICE, issuer=ISSUER, bundle=self.certificate
        )

    def begin(self, seconds: int = 300, **users: User) -> None:
        """Other users (`anonymous`: everybody), and nothing remembered."""
        self.users = {("" if name == "anonymous" else name): user for name, user in users.items()}
        self.seconds, self.grants = seconds, []

    def scopes(self) -> list[str]:
        """The scopes of all tokens that were given, in order."""
        return [scope for one in self.grants if one.status == 200 for scope in one.scopes]

    def token(self, user: str, scopes: list[str]) -> str:
        """A signed token for @user."""
        now = int(time.time())
        access = [self._access(user, scope) for scope in scopes]
        claims = {
            "iss": ISSUER, "sub": user, "aud": SERVICE, "exp": now + self.seconds,
            "nbf": now - 10, "iat": now, "jti": uuid.uuid4().hex, "access": access,
        }  # fmt: skip
        head = {"typ": "JWT", "alg": "RS256", "x5c": [self.chain]}
        text = f"{_base64(json.dumps(head).encode())}.{_base64(json.dumps(claims).encode())}"
        words = ["openssl", "dgst", "-sha256", "-sign", str(self.key)]
        signed = subprocess.run(words, input=text.encode(), capture_output=True, check=True)
        return f"{text}.{_base64(signed.stdout)}"

    def _access(self, user: str, scope: str) -> dict[str, Any]:
        """What @scope comes to for @user: less than was asked for, and no error."""
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        known = self.users.get(user, User()).repositories
        allowed = {
            word for glob, may in known.items() if fnmatch(name, glob) for word in may.split(",")
        }
        granted = [action for action in actions.split(",") if action in allowed]
        return {"type": kind, "name": name, "actions": granted}

    def is_right(self, name: str, password: str) -> bool:
        """Does @name exist with this password?"""
        return bool(name) and name in self.users and self.users[name].password == password


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: TokenServer

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        scheme, _, value = (self.headers.get("Authorization") or "").partition(" ")
        user = ""
        if scheme.lower() == "basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            if not self.owner.is_right(user, password):
                self.refuse(user, _scopes(query), scheme)
                return
        self.grant(user, query, offline=query.get("offline_token") == ["true"], scheme=scheme)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())
        secret = form.get("refresh_token", [""])[0]
        if form.get("grant_type") != ["refresh_token"] or secret not in self.owner.refresh:
            self.refuse("", _scopes(form), "")
            return
        self.grant(self.owner.refresh[secret], form, offline=False, scheme="")

    def grant(self, user: str, asked: dict[str, list[str]], *, offline: bool, scheme: str) -> None:
        scopes = _scopes(asked)
        token = self.owner.token(user, scopes)
        answer: dict[str, Any] = {"access_token": token, "expires_in": self.owner.seconds}
        if self.command == "GET":
            answer["token"] = token
        if offline and user:
            answer["refresh_token"] = uuid.uuid4().hex
            self.owner.refresh[answer["refresh_token"]] = user
        self.owner.grants.append(Grant(self.command, user, scopes, scheme, 200))
        self.answer(200, answer)

    def refuse(self, user: str, scopes: list[str], scheme: str) -> None:
        self.owner.grants.append(Grant(self.command, user, scopes, scheme, 401))
        error = {"code": "UNAUTHORIZED", "message": "no such user or password"}
        self.answer(401, {"errors": [error]})

    def answer(self, code: int, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _scopes(asked: dict[str, list[str]]) -> list[str]:
    return [scope for value in asked.get("scope", []) for scope in value.split(" ")]


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
