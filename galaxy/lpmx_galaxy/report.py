"""How a front end ends: an error is one line and a hint, never a traceback."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["guarded", "say"]


def say(program: str, error: LpmxError) -> None:
    """Print @error on stderr."""
    print(f"{program}: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  ({error.hint})", file=sys.stderr)


def guarded(program: str, action: Callable[[], int]) -> int:
    """Do @action; the result is the exit status. LPMX_DEBUG=1 shows where an error comes from."""
    try:
        return action()
    except LpmxError as error:
        if os.environ.get("LPMX_DEBUG"):
            raise
        say(program, error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 141
    except OSError as error:
        if os.environ.get("LPMX_DEBUG"):
            raise
        name = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
        say(program, LpmxError(f"{name}{os.strerror(error.errno or 0)}"))
        return 1
    finally:
        _flush()


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
