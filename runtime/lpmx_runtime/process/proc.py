"""The one way we start other programs: no shell, an argument list, errors that quote it."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["run"]


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    check: bool = True,
    capture: bool = True,
    text_input: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run @argv to its end. With @check, a failure raises an LpmxError that quotes it."""
    command = [os.fspath(word) for word in argv]
    try:
        done = subprocess.run(
            command,
            input=text_input,
            stdin=subprocess.DEVNULL if text_input is None else None,
            stdout=subprocess.PIPE if capture else None,
            stderr=subprocess.PIPE if capture else None,
            env=env,
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise LpmxError(f"{command[0]}: command not found", exit_code=127) from error
    except PermissionError as error:
        raise LpmxError(f"{command[0]}: permission denied", exit_code=126) from error
    except subprocess.TimeoutExpired as error:
        raise LpmxError(f"{shlex.join(command)}: no end after {timeout:g} s") from error
    if check and done.returncode != 0:
        words = (done.stderr or b"").decode(errors="replace").strip().splitlines()
        reason = words[-1] if words else f"exit status {done.returncode}"
        raise LpmxError(f"{command[0]}: {reason}", hint=f"the command was: {shlex.join(command)}")
    return done
