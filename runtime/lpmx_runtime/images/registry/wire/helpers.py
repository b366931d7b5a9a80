"""Programs that keep credentials: `docker-credential-NAME` (docker/docker-credential-helpers)."""

from __future__ import annotations

import json
import os
import subprocess

from .errors import RegistryError

__all__ = ["erase", "get", "program_of", "store"]

SECONDS = 30.0
_NONE = "credentials not found"  # in native keychain: what helpers print with status 1


def program_of(name: str) -> str:
    """The program of helper @name."""
    return f"docker-credential-{name}"


def get(name: str, server: str, where: str) -> tuple[str, str] | None:
    """User and secret that helper @name has for @server; None when it has nothing.

    @where names the file that names the helper, for messages. Raises RegistryError when the helper
    is missing or fails.
    """
    status, said = _call(name, "get", server, where)
    if status:
        if _NONE in said:
            return None
        raise _failed(name, status, said, where)
    try:
        answer = json.loads(said)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryError(f"{program_of(name)}: an answer that is no credentials") from error
    return (user, secret) if user and secret else None


def store(name: str, server: str, user: str, secret: str, where: str) -> None:
    """Have helper @name keep a secret. RegistryError when it does not."""
    value = {"ServerURL": server, "Username": user, "Secret": secret}
    status, said = _call(name, "store", json.dumps(value), where)
    if status:
        raise _failed(name, status, said, where)


def erase(name: str, server: str, where: str) -> bool:
    """Have helper @name forget @server; False when it had nothing."""
    return not _call(name, "erase", server, where)[0]


def _failed(name: str, status: int, said: str, where: str) -> RegistryError:
    why = said.splitlines()[0][:300] if said else f"status {status}"
    return RegistryError(f"{program_of(name)}: {why}", hint=f"{where} names this helper")


def _call(name: str, verb: str, text: str, where: str) -> tuple[int, str]:
    """The status, and what the helper printed: on standard output, else as errors."""
    program = program_of(name)
    try:
        done = subprocess.run(
            [program, verb], input=text.encode(), capture_output=True, timeout=SECONDS, check=False
        )
    except OSError as error:
        raise RegistryError(
            f"{program}: {os.strerror(error.errno or 0).lower()}",
            hint=f"{where} names this helper: install it, or remove its name there",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise RegistryError(
            f"{program}: no answer within {SECONDS:g} s", hint=f"{where} names this helper"
        ) from error
    said = (done.stdout.strip() or done.stderr.strip()).decode(errors="replace")
    return done.returncode, said
