"""Answers of registries and token services: small bodies, errors in them, and how long to wait.

Lists come in pages; the header Link names the next one (RFC 8288; distribution-spec, "Listing
Tags"). Retry-After is RFC 9110's (10.2.3). Docker Hub's limit of pulls (docs.docker.com, "Pull rate
limit") is a status 429 with an error TOOMANYREQUESTS and, mostly, `RateLimit-Limit: 100;w=21600`.
"""

from __future__ import annotations

import json
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from urllib3.exceptions import HTTPError

from .errors import RateLimitError, RegistryError, TransferCutError
from .settings import registry_at

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

__all__ = ["ANSWER_MAX", "check_limits", "error_of", "next_query", "read_small", "retry_after"]

ANSWER_MAX = 1 << 20
_ERROR_MAX = 1 << 16
_BLOCK = 1 << 16
_HUB_HEADERS = ("RateLimit-Limit", "Docker-RateLimit-Source")
_PULLS = "pull rate limit"
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')


def read_small(answer: BaseHTTPResponse, limit: int, *, host: str, what: str) -> bytes:
    """The whole body of an answer.

    Raises RegistryError when @what is of more than @limit bytes, TransferCutError when it breaks
    off.
    """
    data = b""
    try:
        while block := answer.read(min(_BLOCK, limit + 1 - len(data))):
            data += block
            if len(data) > limit:
                answer.close()
                raise RegistryError(f"{host}: {what} is larger than {limit} bytes")
    except (OSError, HTTPError) as error:
        raise TransferCutError(f"{host}: {what} was cut off") from error
    return data


def next_query(answer: BaseHTTPResponse) -> str:
    """The query of the page after @answer, `n=1000&last=x`; "" after the last one."""
    link = _NEXT.search(answer.headers.get("Link", ""))
    return urlsplit(link[1]).query if link else ""


def error_of(answer: BaseHTTPResponse) -> tuple[str, str]:
    """Code and message of the first error in a registry's answer; "" where there is none."""
    try:
        value: Any = json.loads(answer.read(_ERROR_MAX))
        first = value["errors"][0]
        return str(first.get("code") or "")[:60], str(first.get("message") or "")[:300]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, HTTPError):
        return "", ""


def retry_after(answer: BaseHTTPResponse) -> float | None:
    """Seconds, from a number or a date; None: the header is not there or makes no sense."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def check_limits(answer: BaseHTTPResponse, host: str, wait: float | None, longest: float) -> None:
    """RateLimitError for a limit of pulls, and for more than @longest seconds to @wait."""
    name = registry_at(host)
    when = f", or wait until {_clock(wait)}" if wait else ", or wait"
    if answer.status == 429 and _is_pull_limit(answer):
        raise RateLimitError(
            f"{name}: pull limit reached{_limit(answer)}",
            hint=f"`lpmx login {name}`, use a mirror{when}",
            status=answer.status,
        )
    if wait is not None and wait > longest:
        busy = "too many requests" if answer.status == 429 else f"answers {answer.status}"
        raise RateLimitError(
            f"{name}: {busy}", hint=f"it takes more at {_clock(wait)}", status=answer.status
        )


def _is_pull_limit(answer: BaseHTTPResponse) -> bool:
    """Docker Hub's: nothing but time, a login or a mirror helps. Reads the body."""
    code, text = error_of(answer)
    known = any(header in answer.headers for header in _HUB_HEADERS)
    return known or (code == "TOOMANYREQUESTS" and _PULLS in text.lower())


def _limit(answer: BaseHTTPResponse) -> str:
    """`, 100 in 6 h`, as far as the registry states it."""
    number, _, window = answer.headers.get("RateLimit-Limit", "").partition(";w=")
    if not number.isdecimal():
        return ""
    if not window.isdecimal():
        return f", {number} pulls"
    seconds = int(window)
    span = f"{seconds // 3600} h" if seconds >= 3600 else f"{seconds} s"
    return f", {number} in {span}"


def _clock(wait: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(time.time() + wait))
