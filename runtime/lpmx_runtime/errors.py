"""What can go wrong, sorted by what the caller can do about it.

A message says what, which object and why, in one line without a full stop; the hint says what to
do. Libraries raise these, only the command line and the kernel provisioner print them.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "LpmxError",
    "UsageError",
    "NotFoundError",
    "ImageNotFoundError",
    "InUseError",
    "ArchiveError",
    "StorageError",
    "NativeMissingError",
    "pass_over",
    "storage_errors",
]

_passed_over: set[str] = set()
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LpmxError(Exception):
    """An error with a message for the user, perhaps a hint, and the exit status it asks for."""

    many_lines = False  # are line ends in the message meant as such?

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


class UsageError(LpmxError):
    """The command or the call is wrong: say it differently."""

    def __init__(self, message: str, *, hint: str | None = None, exit_code: int = 2) -> None:
        super().__init__(message, hint=hint, exit_code=exit_code)


class NotFoundError(LpmxError):
    """The named thing is not there."""


class ImageNotFoundError(NotFoundError):
    """No such image in the store: load or pull it."""


class InUseError(LpmxError):
    """Something else still needs the thing: stop or remove that first."""


class ArchiveError(LpmxError):
    """The image archive is damaged, hostile or of a kind we do not read: get another copy."""


class StorageError(LpmxError):
    """The disk said no: make room, or mend permissions."""


class NativeMissingError(LpmxError):
    """The compiled parts are not there: build or install again."""


def pass_over(error: LpmxError) -> None:
    """Name on standard error what is left out because of @error, once; all else goes on."""
    if error.message not in _passed_over:
        _passed_over.add(error.message)
        hint = f" ({error.hint})" if error.hint else ""
        print(f"lpmx: passed over: {shown(error.message + hint)}", file=sys.stderr)


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn an OSError of the store's disk into a StorageError about @what."""
    try:
        yield
    except OSError as error:
        raise storage_error(what, error) from error


def storage_error(what: str, error: OSError) -> StorageError:
    """The StorageError that says @error about @what."""
    if error.errno is not None and error.errno in _FULL:
        hint = "make room (`lpmx gc`), or put the store elsewhere with LPMX_HOME"
        reason = (
            "no space left" if error.errno == errno.ENOSPC else os.strerror(error.errno).lower()
        )
        return StorageError(f"{what}: {reason}", hint=hint)
    reason = os.strerror(error.errno) if error.errno else str(error)
    where = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, (str, bytes)) else ""
    return StorageError(f"{what}: {reason}{where}")
