"""Carries out a submission made inside a container: the host's end of sbatch, qsub, bsub.

The host agent starts this program with the host's environment, and with all variables of the
caller under names that begin with LPMX_CALLER_. It rewrites the submission (slurm.py and its kin),
puts the job's script and environment into the container's folder, calls the real command, and
notes the job's number, so that the container is kept for as long as the job is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from lpmx_runtime.errors import LpmxError
from lpmx_runtime.plans.plan import Bind
from lpmx_runtime.plans.variables import HOST_PASSED
from lpmx_runtime.process.streams import begin_program
from lpmx_runtime.text import say_error
from lpmx_runtime.union.paths import inside_path
from lpmx_runtime.union.tree import Tree

from . import jobs
from .job import ENV, PAYLOAD, Inside, Rewritten, Submission
from .systems import system_module
from .wiring import NOTE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["main"]

CALLER = "LPMX_CALLER_"  # COMMAND_ASIDE_PREFIX of preload/engine/plan.h
EXIT_LPMX = 125
SCRIPT_MAX = 64 << 20  # bytes of a job script: batch systems take 4 MiB or so


def main(argv: Sequence[str]) -> int:
    """Submit; the result is the status of the real command."""
    begin_program()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end as any submit command would
    system, command, *words = argv
    program = posixpath.basename(command)
    caller = {
        name.removeprefix(CALLER): value
        for name, value in os.environ.items()
        if name.startswith(CALLER)
    }
    host = _host_environment(os.environ, caller)
    try:
        return _submit(system, command, words, caller, host)
    except LpmxError as error:
        say_error(f"lpmx: {program}", error)
        return EXIT_LPMX


def _host_environment(environ: Mapping[str, str], caller: Mapping[str, str]) -> dict[str, str]:
    """The host's own variables, and of the caller's those that every host command gets."""
    env = {name: value for name, value in environ.items() if not name.startswith(CALLER)}
    return env | {name: value for name, value in caller.items() if _is_passed(name)}


def _is_passed(name: str) -> bool:
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in HOST_PASSED
    )


def _read_note(caller: Mapping[str, str]) -> dict[str, Any]:
    path = caller.get(NOTE_VARIABLE, "")
    try:
        with open(path, "rb") as file:
            data: dict[str, Any] = json.load(file)
    except (OSError, ValueError) as error:
        raise LpmxError(
            f"{path or NOTE_VARIABLE}: the container that submits is not known any more",
            hint="start it again",
        ) from error
    return data


def _submit(
    system: str,
    command: str,
    words: Sequence[str],
    caller: Mapping[str, str],
    host: Mapping[str, str],
) -> int:
    data = _read_note(caller)
    with Tree(data["plan"], "the container") as tree:
        rewritten, inside = _rewrite(system, command, words, caller, data, tree)
    if rewritten.plain:
        _execute(command, [*words], host)
    try:
        _write(inside, rewritten)
    except OSError as error:
        raise LpmxError(f"{inside.folder}: {os.strerror(error.errno or 0)}") from error
    return _call(system, command, inside, rewritten, host)


def _rewrite(
    system: str,
    command: str,
    words: Sequence[str],
    caller: Mapping[str, str],
    data: Mapping[str, Any],
    tree: Tree,
) -> tuple[Rewritten, Inside]:
    """The submission as the batch system gets it, and where its job will run."""
    cwd = _cwd(tree, caller)
    inside = Inside(
        loader=data["loader"],
        plan=data["plan"],
        upper=data["upper"],
        folder=jobs.new_folder(data["container"]),
        binds=tuple(Bind(**bind) for bind in data["binds"]),
        cwd=cwd,
        home=data["home"],
        env={name: value for name, value in caller.items() if name != NOTE_VARIABLE},
        base_env=data["env"],
    )
    submission = Submission(
        posixpath.basename(command),
        tuple(words),
        read=lambda path: tree.read(os.fsencode(posixpath.join(cwd, path)), SCRIPT_MAX),
        stdin=lambda _: sys.stdin.buffer.read(),
    )
    return system_module(system).adapt(submission, inside), inside


def _cwd(tree: Tree, caller: Mapping[str, str]) -> str:
    """The caller's directory: by its PWD, if that leads to this one, else as the tree shows it."""
    here = os.getcwd()
    named = caller.get("PWD", "")
    if named.startswith("/"):
        hit = tree.find(os.fsencode(named))
        with contextlib.suppress(OSError):
            if hit is not None and os.path.samefile(hit.host, here):
                return named
    found = inside_path(tree, here)
    if found is None:
        raise LpmxError(f"{here}: the container does not show this directory")
    return found


def _write(inside: Inside, rewritten: Rewritten) -> None:
    """Put the job's folder on disk: its environment, its own script, and the one around it."""
    os.makedirs(inside.folder, mode=0o700)
    entries = [f"{name}={value}" for name, value in rewritten.env.resolve(inside).items()]
    _file(inside.folder, ENV, b"".join(os.fsencode(entry) + b"\0" for entry in entries), 0o600)
    if rewritten.payload:
        _file(inside.folder, PAYLOAD, rewritten.payload, 0o500)
    if rewritten.script and not rewritten.as_stdin:
        os.mkdir(os.path.join(inside.folder, "submit"), 0o700)
        text = rewritten.script.encode("utf-8", "surrogateescape")
        _file(inside.folder, f"submit/{rewritten.script_name}", text, 0o700)


def _file(folder: str, name: str, data: bytes, mode: int) -> None:
    path = os.path.join(folder, name)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)  # the node may read it through another server's cache


def _call(
    system: str,
    command: str,
    inside: Inside,
    rewritten: Rewritten,
    host: Mapping[str, str],
) -> int:
    words = [*rewritten.argv[1:]]
    if rewritten.script and not rewritten.as_stdin:
        words.append(os.path.join(inside.folder, "submit", rewritten.script_name))
    words += rewritten.operands
    if rewritten.follow:
        _execute(command, words, host)
    job = jobs.Job(inside.folder, system, command, list(rewritten.argv), env=host)
    job.note()  # before the job can be there, so that the container is not removed under it
    child = subprocess.Popen(
        [command, *words],
        stdin=subprocess.PIPE if rewritten.as_stdin else None,
        stdout=subprocess.PIPE,
        env=dict(host),
    )
    if child.stdin:
        with child.stdin as pipe:
            pipe.write(rewritten.script.encode("utf-8", "surrogateescape"))
    assert child.stdout
    said = b""
    for line in child.stdout:  # the answer comes before a command that waits for its job ends
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()
        said += line
        if not job.number and (number := jobs.number_in(said.decode(errors="replace"))):
            job = job.with_number(number)
            job.note()
    status = child.wait()
    if not job.number and status:
        job.forget()  # else there may be a job, whatever the answer meant
    return status if status >= 0 else 128 - status


def _execute(command: str, words: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    os.execve(command, [command, *words], dict(env))  # noqa: S606
