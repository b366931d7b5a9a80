"""Refusals in docker's words, which tools look for, with our reason behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError

if TYPE_CHECKING:
    from lpmx_runtime.reference import Reference

__all__ = ["DAEMON", "not_here", "refused"]

DAEMON = "Error response from daemon"


def not_here(reference: Reference, hint: str | None = None) -> LpmxError:
    """The image is not in the store, and nobody is to be asked for it."""
    return LpmxError(f"{DAEMON}: No such image: {reference}", hint=hint)


def refused(reference: Reference, error: LpmxError) -> LpmxError:
    """@error, for which @reference could not be had."""
    from lpmx_runtime.images.registry.wire.errors import DeniedError, RateLimitError

    said = error.message
    if isinstance(error, RateLimitError):
        said = f"toomanyrequests: {said}"
    elif isinstance(error, DeniedError) and error.status == 404:
        said = f"manifest for {reference} not found: manifest unknown: {said}"
    elif isinstance(error, DeniedError):
        said = (
            f"pull access denied for {reference.name}, repository does not exist or may require"
            f" 'docker login': denied: {said}"
        )
    return LpmxError(f"{DAEMON}: {said}", hint=error.hint, exit_code=error.exit_code)
