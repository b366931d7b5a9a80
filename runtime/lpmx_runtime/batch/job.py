"""A submission and what becomes of it: the values that the adapters of the batch systems share.

An adapter is a function from a `Submission` to a `Rewritten`. It decides all, touches nothing, and
asks `Inside` where things of the container are on the host.
"""

from __future__ import annotations

import os
import posixpath
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from lpmx_runtime.errors import UsageError
from lpmx_runtime.plans.binds import find_bind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lpmx_runtime.plans.plan import Bind

__all__ = ["Inside", "JobEnv", "Reader", "Rewritten", "Submission", "job_command", "wrapper"]

JOBS = "/.lpmx-jobs"  # where the container sees the scripts of its jobs
PAYLOAD = "script"  # the job's own script, in the job's folder
ENV = "env"  # its environment there: NUL-terminated entries


class Reader(Protocol):
    """Reads a file of the container; raises LpmxError when it cannot."""

    def __call__(self, path: str) -> bytes:
        """The contents of @path, a container path."""


@dataclass(frozen=True)
class Inside:
    """The container that a job is submitted from, and comes back to."""

    loader: str  # host paths
    plan: str
    upper: str
    folder: str  # of this job
    binds: tuple[Bind, ...]
    cwd: str  # container path where the submission was made
    home: str
    env: Mapping[str, str]  # of the program that submits
    base_env: Mapping[str, str]  # that a new program of the container gets

    def to_host(self, path: str, what: str) -> str:
        """The host path of container path @path. UsageError when only the container has it."""
        if not path.startswith("/"):
            return path  # relative to a directory that is translated itself
        path = posixpath.normpath(path)
        bind = find_bind(self.binds, path)
        if bind is None:
            raise UsageError(
                f"{what} {path}: a path of the container alone, which the batch system cannot see",
                hint="use a path below a bind, such as your home",
            )
        return (
            bind.src.rstrip("/") + path[len(bind.dst.rstrip("/")) :]
            if path != bind.dst
            else bind.src
        )

    def absolute(self, path: str) -> str:
        """Container path @path from the directory of the submission."""
        return posixpath.normpath(posixpath.join(self.cwd, path))

    def payload_inside(self) -> str:
        """The job's own script, as the container sees it."""
        return f"{JOBS}/{os.path.basename(self.folder)}/{PAYLOAD}"


@dataclass(frozen=True)
class JobEnv:
    """Which variables a job gets: all of the submitter's or those of a new program, and more."""

    everything: bool
    names: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()

    def resolve(self, inside: Inside) -> dict[str, str]:
        """The variables themselves."""
        env = dict(inside.env if self.everything else inside.base_env)
        env.update({name: inside.env[name] for name in self.names if name in inside.env})
        env.update(self.settings)
        return env


@dataclass(frozen=True)
class Submission:
    """A submit command as called in the container; @stdin is read only when it is the script."""

    program: str
    argv: tuple[str, ...]
    read: Reader
    stdin: Reader


@dataclass(frozen=True)
class Rewritten:
    """What to call on the host instead.

    @script goes into the job's folder under @script_name, and its path follows @argv, then
    @operands; with @as_stdin it is the input instead. @follow: the command waits for the job, so
    it is executed in place and nothing is recorded.
    """

    argv: tuple[str, ...]
    script: str = ""
    script_name: str = ""
    operands: tuple[str, ...] = ()
    as_stdin: bool = False
    payload: bytes = b""
    env: JobEnv = field(default_factory=lambda: JobEnv(everything=False))
    follow: bool = False
    plain: bool = False  # nothing of ours: @argv is what was called


# ---- coming back


def job_command(inside: Inside, command: Iterable[str], *, cwd: str, take: str) -> str:
    """A line of shell that becomes @command in the container, in its directory @cwd.

    @take: the variables of the node that a job gets, as `lpmx-exec --take` wants them.
    """
    words = (
        inside.loader, "--plan", inside.plan, "--env", os.path.join(inside.folder, ENV),
        "--take", take, "--cwd", cwd, "--", *command,
    )  # fmt: skip
    return f"exec {shlex.join(words)}"


def wrapper(directives: Iterable[str], line: str, *, binds: Iterable[Bind] = ()) -> str:
    """The script that the batch system gets: the directives of the job, and the way back in.

    A scratch directory that the batch system makes is passed on only where the container shows it.
    """
    shown = sorted({bind.dst for bind in binds if bind.src == bind.dst and not bind.file})
    patterns = "|".join(f"{shlex.quote(path)}|{shlex.quote(path)}/*" for path in shown)
    scratch = (
        f'case "${{TMPDIR-}}" in {patterns}) ;; *) unset TMPDIR TMP ;; esac\n' if shown else ""
    )
    head = "".join(f"{text}\n" for text in directives)
    note = "# lpmx: the job's own script runs in its container again\n"
    return f"#!/bin/sh\n{head}{note}{scratch}{line}\n"


def script_command(inside: Inside, payload: bytes, shell: str, args: Iterable[str]) -> list[str]:
    """How the job's own script is started in the container: by @shell, by its #! line, or by sh."""
    path = inside.payload_inside()
    if shell:
        return [shell, path, *args]
    return [path, *args] if payload.startswith(b"#!") else ["/bin/sh", path, *args]
