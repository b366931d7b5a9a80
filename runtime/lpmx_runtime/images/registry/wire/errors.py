"""What a registry, or the way to it, can refuse."""

from __future__ import annotations

from lpmx_runtime.errors import LpmxError

__all__ = [
    "DeniedError",
    "RateLimitError",
    "RegistryError",
    "TransferCutError",
    "UnreachableError",
    "WrongDataError",
]


class RegistryError(LpmxError):
    """The registry answers with an error, or with what makes no sense."""

    def __init__(self, message: str, *, hint: str | None = None, status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status  # of HTTP; 0: no answer


class DeniedError(RegistryError):
    """Not found, or not for this user: registries do not tell the one from the other."""


class RateLimitError(RegistryError):
    """Too many requests, for longer than is worth waiting."""


class UnreachableError(RegistryError):
    """No connection to @host: name service, firewall, proxy, certificate."""

    def __init__(
        self, message: str, *, hint: str | None = None, status: int = 0, host: str = ""
    ) -> None:
        super().__init__(message, hint=hint, status=status)
        self.host = host


class TransferCutError(RegistryError):
    """The connection broke within a body; what came is good."""


class WrongDataError(RegistryError):
    """What came has another checksum than it was asked for by."""
