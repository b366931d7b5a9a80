"""Web proxies, as the usual variables name them: https_proxy, http_proxy, all_proxy, no_proxy."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

__all__ = ["Proxy", "proxy_for"]


@dataclass(frozen=True)
class Proxy:
    """A proxy at @address, which has neither user nor password; @login is `USER:PASSWORD` or ""."""

    address: str
    login: str = ""

    @property
    def is_socks(self) -> bool:
        """Is it one of SOCKS?"""
        return self.address.startswith("socks")

    @property
    def url(self) -> str:
        """The address with user and password; not for messages."""
        from urllib.parse import quote

        user, _, password = self.login.partition(":")
        scheme, _, rest = self.address.partition("://")
        pair = f"{quote(user, safe='')}:{quote(password, safe='')}@" if self.login else ""
        return f"{scheme}://{pair}{rest}"


def proxy_for(scheme: str, netloc: str) -> Proxy | None:
    """The proxy that leads to @netloc; none leads to this machine."""
    host = urlsplit(f"//{netloc}").hostname or ""
    if host == "localhost" or host.startswith("127.") or host == "::1":
        return None
    if urllib.request.proxy_bypass(netloc) or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    found = proxies.get(scheme) or proxies.get("all") or ""
    if not found:
        return None
    parts = urlsplit(found if "://" in found else f"http://{found}")
    pair, _, place = parts.netloc.rpartition("@")
    user, _, password = pair.partition(":")
    login = f"{unquote(user)}:{unquote(password)}" if pair else ""
    return Proxy(parts._replace(netloc=place).geturl(), login)
