"""Small answers of registries and token services: their bodies and their errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import HTTPError

from .errors import RegistryError

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

__all__ = ["ANSWER_MAX", "error_of", "read_small"]

ANSWER_MAX = 1 << 20
_ERROR_MAX = 1 << 16
_BLOCK = 1 << 16


def read_small(answer: BaseHTTPResponse, limit: int, *, host: str, what: str) -> bytes:
    """The whole body of an answer. RegistryError: @what is larger than @limit, or cut off."""
    data = b""
    try:
        while block := answer.read(min(_BLOCK, limit + 1 - len(data))):
            data += block
            if len(data) > limit:
                answer.close()
                raise RegistryError(f"{host}: {what} is larger than {limit} bytes")
    except (OSError, HTTPError) as error:
        raise RegistryError(f"{host}: {what} was cut off") from error
    return data


def error_of(answer: BaseHTTPResponse) -> tuple[str, str]:
    """Code and message of the first error in a registry's answer; "" where there is none."""
    try:
        value: Any = json.loads(answer.read(_ERROR_MAX))
        first = value["errors"][0]
        return str(first.get("code") or "")[:60], str(first.get("message") or "")[:300]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, HTTPError):
        return "", ""
