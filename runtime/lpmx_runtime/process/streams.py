"""What a program of ours does first and last: mind what its caller has left it, and its output.

First: descriptors 0 to 2 that the caller has closed get a placeholder, or the next file opened
would take their place and be read or written as input or output. A placeholder is closed by
execve, so that a container's program finds what the caller left. And the locale that Python chose
for itself (PEP 538) is taken out of the environment: it is not the caller's.

What is printed passes a guard (text.py).

Last: what was printed is written while it can still be said that it could not be.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.text import guard_output

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["begin_program", "finish_output", "os_error_text", "without_coerced_locale"]

_UNWRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EBADF, errno.EIO}

_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
# How a placeholder is opened. Reading the input and writing the output still answer EBADF; what is
# written on a closed stderr nobody can read, and that is no error of its own.
_PLACEHOLDERS = (
    ("stdin", "r", os.O_WRONLY),
    ("stdout", "w", os.O_RDONLY),
    ("stderr", "w", os.O_WRONLY),
)


def begin_program() -> None:
    """To be called by every main function, before it opens anything."""
    _hold_descriptors()
    guard_output()
    if _locale_is_coerced(os.environ):
        del os.environ["LC_CTYPE"]


def _hold_descriptors() -> None:
    for fd, (name, mode, flags) in enumerate(_PLACEHOLDERS):
        try:
            os.fstat(fd)
        except OSError:
            taken = os.open(os.devnull, flags)
            if taken != fd:
                os.dup2(taken, fd, inheritable=False)
                os.close(taken)
        if getattr(sys, name) is None:  # so Python marks one that was closed at its start
            stream = open(fd, mode, closefd=False, errors="backslashreplace")  # noqa: SIM115
            setattr(sys, name, stream)


def without_coerced_locale(environ: Mapping[str, str]) -> dict[str, str]:
    """@environ, which began as this process's own, without the locale that Python chose for it."""
    env = dict(environ)
    if _locale_is_coerced(env):
        del env["LC_CTYPE"]
    return env


def _locale_is_coerced(environ: Mapping[str, str]) -> bool:
    """Has Python set LC_CTYPE? Then it is not in the environment that the kernel gave it."""
    if environ.get("LC_CTYPE") not in _COERCED:
        return False
    with contextlib.suppress(OSError), open("/proc/self/environ", "rb") as file:
        return not any(entry.startswith(b"LC_CTYPE=") for entry in file.read().split(b"\0"))
    return False


def finish_output() -> OSError | None:
    """Write out stdout; the error that kept it from being written, if one did.

    After an error nothing more is tried, neither by us nor by Python at its end.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _abandon_output()
    except OSError as error:
        _abandon_output()
        return error
    return None


def os_error_text(error: OSError) -> str:
    """An error that nobody has put into words, in one line. One without a name is the output's."""
    reason = os.strerror(error.errno) if error.errno is not None else str(error)
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {reason}"
    return f"write error: {reason}" if error.errno in _UNWRITTEN else reason


def _abandon_output() -> None:
    fd = os.open(os.devnull, os.O_WRONLY)
    os.dup2(fd, 1)
    os.close(fd)
