"""Connections to registries: certificates, proxies, redirects, and when to try again.

urllib3 does HTTP. Kept from it: redirects (the registry's credentials must not follow them),
retries (each kind has rules of its own) and the decoding of bodies (digests are of the bytes).
"""

from __future__ import annotations

import os
import random
import ssl
import time
import urllib.request
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import (
    HTTPError,
    LocationParseError,
    MaxRetryError,
    NameResolutionError,
    SSLError,
)
from urllib3.util import Timeout, make_headers

from .answers import check_limits, retry_after
from .errors import RegistryError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from urllib3.response import BaseHTTPResponse

__all__ = ["Transport"]

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
TRIES = 5  # beside the first one
UNREACHED_TRIES = 2  # of those without an answer: a host that was misspelt is not waited for long
WAIT_MAX = 60.0  # the longest Retry-After that is waited for
REDIRECTS = 10
_AGAIN = {408, 429, 499, 500, 502, 503, 504, 522}
_REDIRECT = {301, 302, 303, 307, 308}
_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)


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
        body: bytes | None = None,
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
        body: bytes | None,
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
        body: bytes | None,
        *,
        insecure: bool,
        first: tuple[str, str],
    ) -> BaseHTTPResponse:
        host = urlsplit(url).netloc
        try:
            return self._pool(url, insecure=insecure).request(
                method,
                url,
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except LocationParseError as error:
            raise RegistryError(f"{first[1]}: an address that is none: {url[:200]}") from error
        except SSLError as error:
            raise _untrusted(host, error) from error
        except MaxRetryError as error:
            if isinstance(error.reason, SSLError):
                raise _untrusted(host, error.reason) from error
            raise _unreachable(host, first[1], error.reason or error) from error
        except (HTTPError, OSError) as error:
            raise _unreachable(host, first[1], error) from error

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
        }
        if scheme == "https":
            checked = self.verify and not insecure
            options["ssl_context"] = _context(netloc, checked=checked, environ=self.environ)
            if not checked:
                options["assert_hostname"] = False
        proxy = _proxy(scheme, netloc)
        if not proxy:
            return urllib3.PoolManager(**options)  # type: ignore[arg-type]
        if proxy.startswith("socks"):
            try:
                from urllib3.contrib.socks import SOCKSProxyManager
            except ImportError as error:
                raise UnreachableError(
                    f"{netloc}: the proxy {_bare(proxy)} needs PySocks",
                    hint="`pip install PySocks`",
                ) from error
            return SOCKSProxyManager(proxy, **options)  # type: ignore[arg-type]
        user = urlsplit(proxy)
        given = f"{user.username}:{user.password or ''}" if user.username else None
        return urllib3.ProxyManager(
            _bare(proxy),
            proxy_headers=make_headers(proxy_basic_auth=given) if given else None,
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


def _bare(proxy: str) -> str:
    """A proxy's address without its user and password."""
    parts = urlsplit(proxy)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _proxy(scheme: str, netloc: str) -> str:
    host = urlsplit(f"//{netloc}").hostname or ""
    if host == "localhost" or host.startswith("127.") or host == "::1":
        return ""
    if urllib.request.proxy_bypass(netloc) or urllib.request.proxy_bypass(host):
        return ""
    proxies = urllib.request.getproxies()
    found = proxies.get(scheme) or proxies.get("all") or ""
    return found if "://" in found or not found else f"http://{found}"


def certificate_folders(netloc: str, environ: Mapping[str, str]) -> list[Path]:
    """Where certificates for a registry may lie, as docker and podman have it."""
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    own = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    tops = (own / "containers", Path("/etc/containers"), Path("/etc/docker"))
    return [top / "certs.d" / netloc for top in tops]


@lru_cache
def _context_of(checked: bool, bundles: tuple[str, ...], home: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not checked:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if not context.cert_store_stats()["x509_ca"]:
        # a Python that was built elsewhere looks for the system's certificates in another place
        bundles = (*bundles, *[path for path in _STORES if os.path.exists(path)][:1])
    for bundle in bundles:
        _load(context, bundle)
    for folder in map(Path, home.split("\0")):
        if not folder.is_dir():
            continue
        for path in sorted(folder.glob("*.crt")):
            _load(context, str(path))
        for path in sorted(folder.glob("*.cert")):
            key = path.with_suffix(".key")
            try:
                context.load_cert_chain(path, key)
            except (OSError, ssl.SSLError) as error:
                raise UnreachableError(f"{path}: no certificate with its key: {error}") from error
    return context


def _context(netloc: str, *, checked: bool, environ: Mapping[str, str]) -> ssl.SSLContext:
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    bundles = tuple(environ[name] for name in names if environ.get(name))
    folders = "\0".join(map(str, certificate_folders(netloc, environ)))
    return _context_of(checked, bundles, folders)


def _load(context: ssl.SSLContext, path: str) -> None:
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise UnreachableError(f"{path}: no certificates: {error}") from error


def _untrusted(host: str, error: Exception) -> UnreachableError:
    folder = f"~/.config/containers/certs.d/{host}"
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" not in text and "certificate" not in text:
        return UnreachableError(f"{host}: no TLS: {_reason(error)}", status=-1)
    why = text.partition("certificate verify failed: ")[2].partition(" (")[0] or _reason(error)
    return UnreachableError(
        f"{host}: certificate not trusted: {why}",
        hint=f"put the CA of the site, or of the proxy, into {folder}/ca.crt",
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, NameResolutionError):
        return "no such host"
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.errno:
            return os.strerror(inner.errno).lower()
        inner = inner.__cause__ or inner.__context__
    return str(error).rpartition(": ")[2][:200] or type(error).__name__


def _unreachable(host: str, first: str, error: BaseException) -> UnreachableError:
    reason = _reason(error)
    if host != first:
        return UnreachableError(
            f"{first} sends layers from {host}, which cannot be reached: {reason}",
            hint="a firewall on the way must let it through",
            status=-1,
            host=host,
        )
    return UnreachableError(f"{host}: cannot be reached: {reason}", status=-1, host=host)
