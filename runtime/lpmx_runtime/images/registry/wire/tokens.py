"""Token services: docker's distribution/distribution, docs/content/spec/auth/{token,oauth}."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from .answers import ANSWER_MAX, read_small
from .errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from urllib3.response import BaseHTTPResponse

    from .credentials import Credentials
    from .transport import Transport

__all__ = ["TOKEN_SECONDS", "Token", "TokenService"]

TOKEN_SECONDS = 60.0  # the least that a token is good for
_CLIENT = "lpmx"
_REFUSED = {400, 401, 403, 404}


@dataclass(frozen=True)
class Token:
    """An access token, and for how long the service says that it is good."""

    text: str = field(repr=False)
    seconds: float = TOKEN_SECONDS
    identity: str = field(default="", repr=False)  # a token that stands for the password


@dataclass(frozen=True)
class TokenService:
    """The service at @realm, as a challenge names it; @name is what the registry calls itself."""

    transport: Transport
    realm: str
    name: str = ""
    insecure: bool = False

    def require_encryption(self, host: str, who: Credentials | None) -> None:
        """RegistryError when registry @host wants a secret of @who sent to a place without TLS."""
        secret = who is not None and bool(who.identity_token or who.user)
        if secret and urlsplit(self.realm).scheme != "https":
            raise RegistryError(
                f"{host}: wants the password sent to {self.realm}, which is not encrypted"
            )

    def ask(
        self, scopes: Sequence[str], who: Credentials | None, *, offline: bool = False
    ) -> Token | None:
        """A token for @scopes (`repository:NAME:ACTIONS`); None: refused.

        @offline: with an identity token, if the service has such. Raises RegistryError when what
        answers is no token service.
        """
        asked = [("service", self.name)] if self.name else []
        asked += [("scope", scope) for scope in scopes]
        if who is not None and who.identity_token:
            answer = self._refresh(asked, who.identity_token)
        else:
            if offline:
                asked += [("offline_token", "true"), ("client_id", _CLIENT)]
            answer = self._get(asked, who)
        with answer:
            if answer.status in _REFUSED:
                answer.drain_conn()
                return None
            host = urlsplit(self.realm).netloc
            data = read_small(answer, ANSWER_MAX, host=host, what="the token")
            if answer.status != 200:
                raise RegistryError(
                    f"{host}: no token: status {answer.status}", status=answer.status
                )
        return self._read(data)

    def _get(self, asked: list[tuple[str, str]], who: Credentials | None) -> BaseHTTPResponse:
        headers = {}
        if who is not None:
            asked = [*asked, ("account", who.user)]
            headers["Authorization"] = who.basic
        sign = "&" if "?" in self.realm else "?"
        url = f"{self.realm}{sign}{urlencode(asked)}" if asked else self.realm
        return self.transport.request("GET", url, headers, insecure=self.insecure)

    def _refresh(self, asked: list[tuple[str, str]], identity_token: str) -> BaseHTTPResponse:
        """By an identity token; OAuth2 has all scopes in one parameter."""
        scopes = " ".join(value for key, value in asked if key == "scope")
        form = {
            "service": self.name,
            **({"scope": scopes} if scopes else {}),
            "grant_type": "refresh_token",
            "refresh_token": identity_token,
            "client_id": _CLIENT,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(form).encode()
        return self.transport.request(
            "POST", self.realm, headers, body=body, insecure=self.insecure
        )

    def _read(self, data: bytes) -> Token | None:
        try:
            value = json.loads(data)
            text = value.get("token") or value.get("access_token")
            seconds = float(value.get("expires_in") or TOKEN_SECONDS)
        except (ValueError, AttributeError, TypeError) as error:
            host = urlsplit(self.realm).netloc
            raise RegistryError(f"{host}: an answer that is no token") from error
        return Token(str(text), seconds, str(value.get("refresh_token") or "")) if text else None
