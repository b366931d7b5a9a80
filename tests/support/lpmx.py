"""The `lpmx` command line as tests use it: a private store, captured output, a deadline."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEADLINE = 300.0
# What the caller's own set-up must not bring into a test
NOT_INHERITED = ("LPMX_HOME", "LPMX_STORE_PATH", "LPMX_ENGINE", "LPMX_DEBUG", "PYTHONPATH")

Completed = subprocess.CompletedProcess[str]


class CommandFailedError(AssertionError):
    """A command that had to succeed did not; shows all it said."""


def lpmx_command() -> tuple[str, ...]:
    """The lpmx of the Python that runs the tests."""
    script = Path(sys.executable).with_name("lpmx")
    return (str(script),) if script.exists() else (sys.executable, "-m", "lpmx_runtime")


def engine_environment() -> dict[str, str]:
    """LPMX_TEST_ENGINE runs any tests with one of the engines: trap, fast or eager."""
    engine = os.environ.get("LPMX_TEST_ENGINE", "")
    return {"LPMX_ENGINE": engine} if engine else {}


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The present environment without what could change a result."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return kept | dict(extra or {})


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    check: bool = True,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = DEADLINE,
) -> Completed:
    """Run @command to its end. With @check a status other than 0 is a failed assertion."""
    done = subprocess.run(
        command,
        check=False,
        input=text or "",
        capture_output=True,
        text=True,
        errors="replace",
        env=clean_environment(env),
        cwd=cwd,
        timeout=timeout,
    )  # fmt: skip
    if check and done.returncode != 0:
        raise CommandFailedError(describe(done))
    return done


def describe(done: Completed) -> str:
    """All there is to know of a finished command, for a failed assertion."""
    words = " ".join(str(word) for word in done.args)
    return (
        f"`{words}` ended with {done.returncode}\n"
        f"--- stdout\n{done.stdout[-4000:]}\n--- stderr\n{done.stderr[-4000:]}"
    )


@dataclass(frozen=True)
class Lpmx:
    """lpmx with a store of its own at @home."""

    home: Path
    prefix: tuple[str, ...] = ()  # put before every command: another user, a tracer, a denier
    command: tuple[str, ...] = field(default_factory=lpmx_command)

    def __call__(
        self,
        *arguments: str | os.PathLike[str],
        check: bool = True,
        text: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = DEADLINE,
    ) -> Completed:
        """Run `lpmx ARGUMENTS` and capture what it prints."""
        return run(
            [*self.prefix, *self.command, *arguments],
            check=check, text=text, env=self.environment(env), cwd=cwd, timeout=timeout,
        )  # fmt: skip

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """What must be in the environment of anything that uses this store."""
        return {"LPMX_HOME": str(self.home), **engine_environment(), **(extra or {})}
