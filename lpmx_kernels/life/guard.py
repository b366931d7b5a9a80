"""A shell that waits for the end of this process, and clears up after it if it was killed.

It reads from a pipe that only this process can write to. A line means that all is cleared up; the
end of the pipe without one, that nobody is left who would: then the shell becomes a Python that
does it (container/owned.py). It is in a session of its own, so what kills a terminal's or a
job's processes does not reach it, and it costs a megabyte. Where even it is killed, the next start
of a kernel and `lpmx gc` clear up.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

from lpmx_kernels.spec.client_env import MARKER
from lpmx_kernels.spec.interpreter import module_argv

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = "trap '' HUP INT TERM; read -r _ && exit 0; exec \"$@\""
PATIENCE = 5.0
_guards: dict[str, subprocess.Popen[bytes]] = {}
"""Those of this process, by record. Kept here: a client may drop a kernel that still runs."""


def watch(root: Path, name: str) -> None:
    """Have the record `name` settled when this process ends without `dismiss`."""
    if name in _guards:
        return
    argv = ["/bin/sh", "-c", SCRIPT, "lpmx-guard", *module_argv("lpmx_runtime.container.owned")]
    # Of another kernel, where this process is one of its own, and ends with it.
    env = {key: value for key, value in os.environ.items() if key != MARKER}
    with contextlib.suppress(OSError):
        _guards[name] = subprocess.Popen(
            [*argv, os.fspath(root), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=env,
            start_new_session=True,
        )


def dismiss(name: str) -> None:
    """Let the guard of record `name` go: there is nothing left to do."""
    process = _guards.pop(name, None)
    if process is None:
        return
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.close()
        process.wait(PATIENCE)
