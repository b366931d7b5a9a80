"""How a front end ends: an error is one line and a hint, never a traceback."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError
from lpmx_runtime.process.streams import begin_program, finish_output, os_error_text
from lpmx_runtime.text import say_error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["guarded", "say"]


def say(program: str, error: LpmxError) -> None:
    """Print @error on stderr."""
    say_error(program, error)


def guarded(program: str, action: Callable[[], int]) -> int:
    """Do @action; the result is the exit status. LPMX_DEBUG=1 shows where an error comes from."""
    begin_program()
    debug = os.environ.get("LPMX_DEBUG")
    try:
        return _end(program, action())
    except LpmxError as error:
        if debug:
            raise
        say(program, error)
        finish_output()
        return error.exit_code
    except KeyboardInterrupt:
        return _end(program, 130)
    except BrokenPipeError:
        return _end(program, 141)
    except OSError as error:
        if debug:
            raise
        return _end(program, 1, error)


def _end(program: str, status: int, error: OSError | None = None) -> int:
    """Write out what was printed; the exit status, which is an error's if it cannot be written."""
    unwritten = finish_output()
    if unwritten is not None:
        say(program, LpmxError(os_error_text(unwritten)))
        return status or 1
    if error is not None:
        say(program, LpmxError(os_error_text(error)))
    return status
