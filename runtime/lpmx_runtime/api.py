"""What programs that embed lpmx use; `import lpmx_runtime` offers all of it.

    import lpmx_runtime as lpmx

    done = lpmx.run("debian:12", ["cat", "/etc/os-release"], stdout=subprocess.PIPE)
    print(done.status, done.stdout.decode())

These names keep their meaning within a major version; whatever is not offered here may change.
"""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from .compose.start import launch_options
from .container import record as containers
from .errors import LpmxError
from .launch.start import Options, draft_container, plan_launch, surroundings
from .launch.supervise import End
from .process import runs
from .process.scan import kill_container
from .store.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .launch.start import Draft, Launch
    from .plans.plan import LaunchPlan

__all__ = ["Result", "plan", "run"]


@dataclass(frozen=True)
class Result(End):
    """How a program ended (`status`, `signal`), and what of its output was asked for."""

    stdout: bytes | None = None  # None unless stdout=subprocess.PIPE
    stderr: bytes | None = None


def run(  # noqa: PLR0913  as subprocess.run
    image: str | os.PathLike[str],
    argv: Sequence[str] = (),
    *,
    options: Options | None = None,
    store: Store | None = None,
    environ: Mapping[str, str] | None = None,
    input: bytes | None = None,  # noqa: A002  as subprocess.run calls it
    stdin: int | IO[Any] | None = None,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    timeout: float | None = None,
) -> Result:
    """Run a program in a new container, wait for its end, and remove the container.

    @image: the name or id of an image, or an environment file. @argv: the command, else the
    image's. @options: everything that `lpmx run` takes besides; its `command` counts without @argv.
    @store: by default that of LPMX_HOME. @environ: the variables that the start looks at, by
    default this process's. @input, @stdin, @stdout, @stderr: as subprocess.run has them.
    @timeout: seconds; then all processes of the container are killed.

    Safe to call from several threads; no signal handler is installed. Raises ImageNotFoundError,
    UsageError for wrong options, StorageError for a disk that fails, LpmxError for everything else
    that keeps the program from starting, and TimeoutError.
    """
    start = _begun(store or Store.open(), image, argv, options, environ)
    try:
        return _run(start, input, stdin, stdout, stderr, timeout)
    finally:
        containers.discard_own(start.container, kill=True)


def plan(
    image: str | os.PathLike[str],
    argv: Sequence[str] = (),
    *,
    options: Options | None = None,
    store: Store | None = None,
    environ: Mapping[str, str] | None = None,
) -> LaunchPlan:
    """The plan that `run` would carry out; nothing is started or written.

    Parameters are those of `run`. Raises ImageNotFoundError, UsageError, LpmxError as it does.
    """
    return _draft(store or Store.open(), image, argv, options, environ)[1].plan


def _draft(
    store: Store,
    image: str | os.PathLike[str],
    argv: Sequence[str],
    options: Options | None,
    environ: Mapping[str, str] | None,
) -> tuple[Draft, Launch]:
    here = surroundings(environ)
    asked = options or Options()
    if argv:
        asked = replace(asked, command=tuple(argv))
    found, asked = launch_options(store, image, asked, here.environ)
    draft = draft_container(store, found, asked, here, auto_remove=True)
    return draft, plan_launch(store, draft.container, here)


def _begun(
    store: Store,
    image: str | os.PathLike[str],
    argv: Sequence[str],
    options: Options | None,
    environ: Mapping[str, str] | None,
) -> Launch:
    draft, start = _draft(store, image, argv, options, environ)
    container = draft.create(store)
    try:
        start = replace(start, container=container)
        start.prepare()
    except BaseException:
        containers.discard_own(container)
        raise
    return start


def _run(
    start: Launch,
    given: bytes | None,
    stdin: int | IO[Any] | None,
    stdout: int | IO[Any] | None,
    stderr: int | IO[Any] | None,
    timeout: float | None,
) -> Result:
    try:
        program = subprocess.Popen(
            start.argv,
            env=start.env,
            stdin=subprocess.PIPE if given is not None else stdin,
            stdout=stdout,
            stderr=stderr,
        )
    except OSError as error:
        raise LpmxError(f"{start.argv[0]}: {os.strerror(error.errno or 0)}") from error
    process = runs.process(program.pid)
    if process is not None:
        folder = start.container.path("runs")
        runs.register(folder, process, runs.MAIN, tuple(start.plan.argv))
    try:
        out, err = program.communicate(given, timeout=timeout)
    except BaseException as error:
        program.send_signal(signal.SIGKILL)
        kill_container(start.container.id)
        program.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            label = start.container.image_name
            raise TimeoutError(f"{label}: timed out after {timeout:g} s") from error
        raise
    code = program.returncode
    return Result(128 - code if code < 0 else code, max(0, -code), out, err)
