"""Tokens of one repository: when they are asked for, by several threads too."""

from __future__ import annotations

import io
import json
import threading
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from urllib3.response import HTTPResponse

from lpmx_runtime.images.registry.wire.client import Repository
from lpmx_runtime.images.registry.wire.credentials import Credentials
from lpmx_runtime.images.registry.wire.errors import DeniedError, RegistryError
from lpmx_runtime.images.registry.wire.settings import Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

REALM = "https://auth.test/token"
CHALLENGE = {"WWW-Authenticate": f'Bearer realm="{REALM}",service="reg"'}


class Line:
    """A transport with a registry and its token service at the other end; @valid tokens count."""

    def __init__(self, *, threads: int = 1, seconds: float = 300) -> None:
        self.tokens = 0
        self.valid: set[str] = set()
        self.seconds = seconds
        self.asked: list[dict[str, list[str]]] = []
        self.requests: list[str] = []  # each one's Authorization
        self.together = threading.Barrier(threads)
        self.verify, self.warnings = True, []
        self.warn = self.warnings.append

    def request(
        self, _method: str, url: str, headers: Mapping[str, str], **_: object
    ) -> HTTPResponse:
        if url.startswith(REALM):
            self.tokens += 1
            self.asked.append(parse_qs(urlsplit(url).query))
            token = f"t{self.tokens}"
            self.valid.add(f"Bearer {token}")
            return answer(200, json.dumps({"token": token, "expires_in": self.seconds}).encode())
        used = headers.get("Authorization", "")
        self.requests.append(used)
        if used in self.valid:
            return answer(200, b"blob")
        if used:
            self.together.wait(20)  # all are refused before one asks for a token
        return answer(401, b"", CHALLENGE)


def answer(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> HTTPResponse:
    return HTTPResponse(io.BytesIO(body), dict(headers or {}), status, preload_content=False)


def repository(line: Line, who: Credentials | None = None) -> Repository:
    return Repository(line, Endpoint("reg.test", "lab/x"), lambda: who)  # type: ignore[arg-type]


def test_one_token_serves_all_requests():
    line = Line()
    place = repository(line)
    for _ in range(3):
        place.blob("sha256:" + "a" * 64)
    assert (line.tokens, line.requests) == (1, ["", "Bearer t1", "Bearer t1", "Bearer t1"])
    assert line.asked == [{"service": ["reg"], "scope": ["repository:lab/x:pull"]}]


def test_threads_that_meet_an_expired_token_get_one_new_one():
    line = Line(threads=3)
    place = repository(line)
    place.blob("sha256:" + "a" * 64)
    line.valid.clear()
    threads = [threading.Thread(target=place.blob, args=("sha256:" + "a" * 64,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert line.tokens == 2
    assert line.requests.count("Bearer t2") == 3


@pytest.mark.parametrize(("seconds", "least"), [(300, 290), (5, 50), (0, 50), (-55, 50)])
def test_a_token_is_good_for_a_minute_at_least_and_renewed_early(monkeypatch, seconds, least):
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    line = Line(seconds=seconds)
    place = repository(line)
    place.blob("sha256:" + "a" * 64)
    now[0] += least - 1
    place.blob("sha256:" + "a" * 64)
    assert line.tokens == 1
    now[0] += 2
    place.blob("sha256:" + "a" * 64)
    assert line.tokens == 2


def test_a_refused_new_token_is_the_end():
    line = Line()
    place = repository(line)
    line.valid = set_that_stays_empty()
    with pytest.raises(DeniedError, match="wants credentials"):
        place.blob("sha256:" + "a" * 64)
    assert line.tokens == 1


def set_that_stays_empty() -> set[str]:
    class Nothing(set):
        def add(self, _: str) -> None:
            pass

    return Nothing()


@pytest.mark.parametrize("secret", [{"user": "ada", "password": "p"}, {"identity_token": "i"}])
def test_no_secret_goes_to_a_realm_without_tls(secret):
    line = Line()
    place = repository(line, Credentials(**secret))
    challenge = CHALLENGE["WWW-Authenticate"].replace("https", "http")
    line.request = lambda *_a, **_k: answer(401, b"", {"WWW-Authenticate": challenge})
    with pytest.raises(RegistryError, match="which is not encrypted"):
        place.manifest("1")
