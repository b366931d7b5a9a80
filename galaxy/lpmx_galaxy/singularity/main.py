"""`lpmx-singularity`, also under the names `apptainer` and `singularity`: finds the command.

Nextflow calls it with nothing but PATH in the environment: nothing here may need HOME or a variable
of ours. Errors end with 255, as Apptainer's do.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, cast

from lpmx_galaxy.frontend.goflags import Flag, parse, table
from lpmx_galaxy.frontend.main import guarded
from lpmx_runtime.errors import LpmxError, UsageError

from .messages import set_level

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["COMMANDS", "main"]

EXIT = 255
# What --version answers: clients look for a number, and ask for 1.0 and later of Apptainer
VERSION = "apptainer version 1.3.6"
NAMES = ("apptainer", "singularity")
COMMANDS = {
    "exec": "start",
    "run": "start",
    "shell": "start",
    "pull": "images",
    "build": "images",
    "inspect": "images",
    "registry": "accounts",
    "remote": "accounts",
}
_GLOBAL = table([
    Flag("config", ("-c", "--config")),
    Flag("debug", ("-d", "--debug"), takes_value=False),
    Flag("nocolor", ("--nocolor",), takes_value=False),
    Flag("quiet", ("-q", "--quiet"), takes_value=False),
    Flag("silent", ("-s", "--silent"), takes_value=False),
    Flag("verbose", ("-v", "--verbose"), takes_value=False),
    Flag("build-config", ("--build-config",), takes_value=False),
    Flag("version", ("--version",), takes_value=False),
    Flag("help", ("-h", "--help"), takes_value=False),
])  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the result is the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    name = os.path.basename(sys.argv[0])
    return guarded(name if name in NAMES else "lpmx-singularity", lambda: _dispatch(words))


def _dispatch(words: Sequence[str]) -> int:
    try:
        options = parse(words, _GLOBAL, command="lpmx-singularity")
        if options.is_on("version") or options.rest[:1] == ["version"]:
            print(VERSION if options.is_on("version") else VERSION.rpartition(" ")[2])
            return 0
        if options.is_on("help") or not options.rest or options.rest[0] == "help":
            print(_help())
            return 0
        set_level(options)
        return _find(options.rest[0])(options.rest[1:])
    except LpmxError as error:
        if error.exit_code in (1, 2, 125):
            error.exit_code = EXIT
        raise


def _find(name: str) -> Callable[[Sequence[str]], int]:
    from importlib import import_module

    if name not in COMMANDS:
        raise UsageError(
            f"{name}: there is no such command here",
            hint="`lpmx-singularity --help` lists those there are",
        )
    module = import_module(f"lpmx_galaxy.singularity.{COMMANDS[name]}")
    return cast("Callable[[Sequence[str]], int]", getattr(module, f"{name}_command"))


def _help() -> str:
    return "\n".join([
        "usage: lpmx-singularity COMMAND ...",
        "",
        "Apptainer's command line over lpmx: no setuid program, no namespaces.",
        "",
        f"commands: {', '.join(COMMANDS)}",
        "`docs/galaxy.md` says what each flag does here.",
    ])  # fmt: skip
