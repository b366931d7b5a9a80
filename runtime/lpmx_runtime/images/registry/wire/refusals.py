"""What it means when a registry answers with a status that was not hoped for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime.text import shown

from .answers import error_of
from .errors import DeniedError, RateLimitError, RegistryError

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

    from .credentials import Credentials
    from .settings import Endpoint

__all__ = ["read_refused", "write_refused"]


def read_refused(
    answer: BaseHTTPResponse, place: Endpoint, who: Credentials | None, what: str
) -> RegistryError:
    """The error for @what was asked for at @place by @who."""
    host, name, status = place.host, place.registry, answer.status
    reason = _reason(answer)
    if status == 429:
        return RateLimitError(
            f"{name}: too many requests", hint="later, or from a mirror", status=status
        )
    if status not in {401, 403, 404}:
        return RegistryError(f"{what}: {host} answers {reason}", status=status)
    hint: str | None
    if status == 404:
        why = f"{host} has none of that name"
        hint = f"private images need `lpmx login {name}`" if who is None else None
    elif who is None:
        why, hint = f"{host} wants credentials", f"`lpmx login {name}`"
    else:
        why = f"{host} refuses the credentials of {who.source}"
        hint = f"`lpmx login {name}` again"
    return DeniedError(f"{what}: not found, or not for you: {why}", hint=hint, status=status)


def write_refused(
    answer: BaseHTTPResponse, place: Endpoint, who: Credentials | None, what: str
) -> RegistryError:
    """The error for @what was to be written at @place by @who."""
    host, name, status = place.host, place.registry, answer.status
    reason = _reason(answer)
    answer.drain_conn()
    if status not in {401, 403}:
        return RegistryError(f"{what}: {host} answers {reason}", status=status)
    if who is None:
        why, hint = f"{host} wants credentials", f"`lpmx login {name}`"
    else:
        why = f"{host} does not let {who.user or 'this token'} write there"
        hint = f"credentials: {who.source}; {reason}"
    return DeniedError(f"{what}: {why}", hint=hint, status=status)


def _reason(answer: BaseHTTPResponse) -> str:
    """Code and message, else the status."""
    return shown(": ".join(filter(None, error_of(answer))) or f"status {answer.status}")
