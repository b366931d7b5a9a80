"""Connections to registries: certificates, proxies, redirects, and when to try again.

urllib3 does HTTP. Kept from it: redirects (the registry's credentials must not follow them),
retries (each kind has rules of its own) and the decoding of bodies (digests are of the bytes).
"""

from __future__ import annotations

import os
import random
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import (
    HTTPError,
    LocationParseError,
    MaxRetryError,
    NameResolutionError,
    ProxyError,
    SSLError,
)
from urllib3.util import Timeout, make_headers

from lpmx_runtime.images.web.certificates import context_for, explain
from lpmx_runtime.images.web.proxies import proxy_for

from .answers import check_limits, retry_after
from .errors import RegistryError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from urllib3.response import BaseHTTPResponse

    from lpmx_runtime.images.web.proxies import Proxy

__all__ = ["Body", "Transport"]

BLOCK = 1 << 16  # bytes of a body that are handed over at a time, each within SEND_SECONDS
CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
SEND_SECONDS, KEEP_SECONDS = 60.0, 300.0  # with a body: registries put large ones elsewhere
TRIES = 5  # beside the first one
UNREACHED_TRIES = 2  # of those without an answer: a host that was misspelt is not waited for long
WAIT_MAX = 60.0  # the longest Retry-After that is waited for
REDIRECTS = 10
_AGAIN = {408, 429, 499, 500, 502, 503, 504, 522}
_REDIRECT = {301, 302, 303, 307, 308}


class Body(Protocol):
    """What is sent with a request, of the length that the request's headers state."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, @size at most; none at the end."""


@dataclass
class Transport:
    """How to reach hosts; used by several threads at once."""

    verify: bool = True  # False: certificates are not looked at
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    sleep: Callable[[float], None] = time.sleep
    warn: Callable[[str], None] = lambda _text: None
    _pools: dict[tuple[str, bool], urllib3.PoolManager] = field(default_factory=dict)
    _warned: set[str] = field(default_factory=set)
    _reached: set[str] = field(default_factory=set)  # hosts that have answered

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        body: bytes | Body | None = None,
        insecure: bool = False,
        again: bool = True,
    ) -> BaseHTTPResponse:
        """The answer to a request, its body still to be read; redirects of GET and HEAD followed.

        @again: try again after answers that are said to pass, and when there is no connection.
        Raises UnreachableError and RateLimitError; any other status is the caller's.
        """
        for attempt in range(TRIES + 1):
            last = attempt == TRIES or not again
            try:
                answer = self._follow(method, url, headers, body, insecure=insecure)
            except UnreachableError as error:  # one without status: certificates do not get better
                tries = TRIES if error.host in self._reached else UNREACHED_TRIES
                if last or not error.status or attempt >= tries:
                    raise
                self.sleep(_pause(attempt))
                continue
            if answer.status not in _AGAIN or last:
                return answer
            wait = retry_after(answer)
            check_limits(answer, urlsplit(url).netloc, wait, WAIT_MAX)
            answer.drain_conn()
            self.sleep(_pause(attempt) if wait is None else wait)
        raise AssertionError("unreachable")

    def _follow(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Body | None,
        *,
        insecure: bool,
    ) -> BaseHTTPResponse:
        first = _origin(url)
        for _ in range(REDIRECTS + 1):
            sent = {"Accept-Encoding": "identity", "User-Agent": "lpmx", **headers}
            if _origin(url) != first:
                sent = {k: v for k, v in sent.items() if k.lower() != "authorization"}
            if urlsplit(url).scheme not in {"http", "https"}:
                raise RegistryError(f"{first[1]}: redirects to what is no web address: {url[:200]}")
            answer = self._once(method, url, sent, body, insecure=insecure, first=first)
            self._reached.add(urlsplit(url).netloc)
            for text in answer.headers.getlist("Warning"):
                self._tell(first[1], text)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECT or not location or method not in {"GET", "HEAD"}:
                return answer
            answer.drain_conn()
            url = urljoin(url, location)
        raise RegistryError(f"{first[1]}: redirects without an end")

    def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Body | None,
        *,
        insecure: bool,
        first: tuple[str, str],
    ) -> BaseHTTPResponse:
        scheme, host = _origin(url)
        seconds = (CONNECT_SECONDS, READ_SECONDS) if body is None else (SEND_SECONDS, KEEP_SECONDS)
        try:
            return self._pool(url, insecure=insecure).request(
                method,
                url,
                body=body,  # type: ignore[arg-type]  # it only reads
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=Timeout(
                    connect=seconds[0], read=seconds[1]
                ),  # `connect` is for sending, too
            )
        except LocationParseError as error:
            raise RegistryError(f"{first[1]}: an address that is none: {url[:200]}") from error
        except SSLError as error:
            raise _without_tls(host, error) from error
        except MaxRetryError as error:
            if isinstance(error.reason, SSLError):
                raise _without_tls(host, error.reason) from error
            why = error.reason or error
            raise _unreachable(host, first[1], why, proxy_for(scheme, host)) from error
        except (HTTPError, OSError) as error:
            raise _unreachable(host, first[1], error, proxy_for(scheme, host)) from error

    def _pool(self, url: str, *, insecure: bool) -> urllib3.PoolManager:
        parts = urlsplit(url)
        key = (f"{parts.scheme}://{parts.netloc}", insecure)
        if key not in self._pools:
            self._pools[key] = self._make_pool(parts.scheme, parts.netloc, insecure=insecure)
        return self._pools[key]

    def _make_pool(self, scheme: str, netloc: str, *, insecure: bool) -> urllib3.PoolManager:
        options: dict[str, object] = {
            "timeout": Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            "maxsize": 8,
            "blocksize": BLOCK,
        }
        if scheme == "https":
            checked = self.verify and not insecure
            options["ssl_context"] = context_for(netloc, self.environ, checked=checked)
            if not checked:
                options["assert_hostname"] = False
        proxy = proxy_for(scheme, netloc)
        if proxy is None:
            return urllib3.PoolManager(**options)  # type: ignore[arg-type]
        if proxy.is_socks:
            try:
                from urllib3.contrib.socks import SOCKSProxyManager
            except ImportError as error:
                raise UnreachableError(
                    f"{netloc}: the proxy {proxy.address} needs PySocks",
                    hint="`pip install PySocks`",
                ) from error
            return SOCKSProxyManager(proxy.url, **options)  # type: ignore[arg-type]
        headers = make_headers(proxy_basic_auth=proxy.login) if proxy.login else None
        return urllib3.ProxyManager(
            proxy.address,
            proxy_headers=headers,
            **options,  # type: ignore[arg-type]
        )

    def _tell(self, host: str, header: str) -> None:
        """`299 - "text"`: what the registry wants the user to know, once."""
        said = header.partition('"')[2].rpartition('"')[0][:500]
        text = f"{host} warns: {said}" if said else ""
        if text and text not in self._warned:
            self._warned.add(text)
            self.warn(text)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _pause(attempt: int) -> float:
    return float(2**attempt) * random.uniform(0.75, 1.25)  # noqa: S311  so that not all come at once


def _without_tls(host: str, error: BaseException) -> UnreachableError:
    folder = f"~/.config/containers/certs.d/{host}"
    text, inner = str(error), _ssl_error(error)
    why = explain(inner) if inner is not None else _reason(error)
    if "certificate verify failed" in text:
        why = text.partition("certificate verify failed: ")[2].partition(" (")[0] or why
        return UnreachableError(
            f"{host}: certificate not trusted: {why}",
            hint=f"put the CA of the site, or of the proxy, into {folder}/ca.crt",
        )
    if "certificate" in why:  # an alert: what the registry thinks of ours
        return UnreachableError(
            f"{host}: wants a certificate of its clients: {why}",
            hint=f"put it into {folder}/client.cert, and its key into client.key there",
        )
    return UnreachableError(f"{host}: no TLS: {why}", status=-1, host=host)


def _ssl_error(error: BaseException | None) -> ssl.SSLError | None:
    """The error of TLS that is behind @error."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        inner = error.args[0] if error.args else None
        error = inner if isinstance(inner, BaseException) else error.__cause__
    return None


def _reason(error: BaseException) -> str:
    if isinstance(error, NameResolutionError):
        return "no such host"
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.errno and not isinstance(inner, ssl.SSLError):
            return os.strerror(inner.errno).lower()
        inner = inner.__cause__ or inner.__context__
    if isinstance(error, ProxyError):
        return str(error.original_error)[:200]
    return str(error).rpartition(": ")[2][:200] or type(error).__name__


def _unreachable(
    host: str, first: str, error: BaseException, proxy: Proxy | None
) -> UnreachableError:
    reason = _reason(error)
    by = f" through the proxy {proxy.address}" if proxy else ""
    if host != first:
        return UnreachableError(
            f"{first} sends layers from {host}, which cannot be reached{by}: {reason}",
            hint="a firewall on the way must let it through",
            status=-1,
            host=host,
        )
    return UnreachableError(f"{host}: cannot be reached{by}: {reason}", status=-1, host=host)
