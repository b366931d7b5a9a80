"""Start a kernel in place of this process, for clients that know no provisioners.

`python -m lpmx_kernels.launch --spec DIR -f FILE` (also `lpmx kernel launch`) prepares the start
and becomes the kernel by exec, so that the pid, the signals and the exit status a client sees are
the kernel's own. The provisioner makes the same start itself, which saves it a Python, and looks
after it.

Installed kernel specs name this module.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lpmx_kernels.spec.settings import read_spec
from lpmx_kernels.start import fetch
from lpmx_kernels.start.kernel import KernelRequest, prepare_kernel, register, remove_leftovers
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.launch.start import exec_in_place
from lpmx_runtime.process.streams import begin_program
from lpmx_runtime.store.store import Store
from lpmx_runtime.text import say_error

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["become_kernel", "main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Become the kernel of a spec, for clients that know no provisioners."""
    begin_program()
    parser = argparse.ArgumentParser(prog="lpmx kernel launch", description=main.__doc__)
    parser.add_argument("--spec", required=True, metavar="NAME|DIR", help="the kernel spec")
    parser.add_argument("-f", dest="connection_file", required=True, metavar="FILE")
    args = parser.parse_args(arguments)
    become_kernel(args.spec, args.connection_file)


def become_kernel(spec_name: str, connection_file: str) -> NoReturn:
    """Start the kernel in place of this process."""
    spec = read_spec(_spec_directory(spec_name))
    if spec.settings.launcher:
        from lpmx_kernels.nodes import relay

        sys.exit(relay.run(spec, connection_file))
    env = dict(os.environ)
    fetch.fetch_here(spec.settings, env)
    request = KernelRequest(
        connection_file=os.path.realpath(connection_file),
        env=env,
        asked={name: env[name] for name in spec.env if name in env},
        cwd=str(Path.cwd()),
        marker=str(uuid.uuid4()),
    )
    start = prepare_kernel(spec.settings, request)
    remove_leftovers(Store.open(spec.settings.store or None))
    for note in start.notes:
        print(f"lpmx: {note}", file=sys.stderr)
    assert start.launch
    if not spec.settings.host_kernel:
        exec_in_place(start.launch)
    register(start, os.getpid())
    os.execve(start.argv[0], list(start.argv), dict(start.env))  # noqa: S606


def _spec_directory(name: str) -> Path:
    if os.sep in name:
        return Path(name)
    from lpmx_kernels.spec.kernelspec import find_spec

    return find_spec(name).directory


if __name__ == "__main__":
    try:
        main()
    except LpmxError as error:
        say_error("lpmx", error)
        sys.exit(error.exit_code)
