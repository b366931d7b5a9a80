"""`lpmx`: finds the subcommand's module, runs it, turns errors into a line and an exit status.

Only the module of the subcommand that is called is imported, and nothing of the store before it:
the start of a container passes through here.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol, cast

from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.process.streams import begin_program, finish_output, os_error_text
from lpmx_runtime.text import say_error

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main"]

# In the order of the help. A name here is a module of this folder; others come by the entry point
# group below.
COMMANDS = (
    "load",
    "pull",
    "push",
    "copy",
    "search",
    "login",
    "logout",
    "images",
    "inspect",
    "tag",
    "save",
    "rmi",
    "gc",
    "run",
    "create",
    "start",
    "exec",
    "ps",
    "diff",
    "commit",
    "cp",
    "export",
    "logs",
    "stop",
    "rm",
    "env",
    "expose",
    "unexpose",
    "why",
    "config",
    "doctor",
)
GROUP = "lpmx.commands"


class Command(Protocol):
    """What a subcommand's module offers. LISTS = True lets --json follow the subcommand too."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Do it; the result is the exit status."""


def _plugins() -> dict[str, str]:
    """Subcommands of other packages: name to module."""
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=GROUP)}


def _module(name: str) -> Command | None:
    """The module of subcommand @name, None when there is no such subcommand."""
    from importlib import import_module

    if name in COMMANDS:
        return cast("Command", import_module(f"lpmx_runtime.cli.{name}"))
    target = _plugins().get(name)
    return cast("Command", import_module(target)) if target else None


def _help() -> str:
    lines = [
        "usage: lpmx [--json] [--debug] COMMAND ...",
        "       lpmx COMMAND --help",
        "",
        "Rootless containers that compose.",
        "",
        "commands:",
    ]
    for name in (*COMMANDS, *sorted(_plugins())):
        try:
            module = _module(name)
        except ImportError:
            continue
        if module is not None:
            lines.append(f"  {name:<10}{module.HELP}")
    lines += [
        "",
        "options:",
        "  --json      lists and inspections as JSON; pull: events, one object a line",
        "  --debug     a traceback for errors (also LPMX_DEBUG=1)",
        "  --version   the version, and that of the loader",
        "  -h, --help  this help",
    ]
    return "\n".join(lines)


def _instead_of(name: str) -> str:
    """A hint for who typed what docker and apptainer call it, or mistyped."""
    from lpmx_runtime.similar import did_you_mean

    other = {
        "build": "`lpmx run --name NAME --fakeroot IMAGE bash`, then `lpmx commit NAME NEW`",
        "shell": "`lpmx run IMAGE bash`",
        "import": "`lpmx load FILE`",
        "kill": "`lpmx stop CONTAINER`",
        "attach": "`lpmx start -a CONTAINER`, or `lpmx exec CONTAINER bash`",
    }.get(name)
    return other or did_you_mean(name, COMMANDS) or "`lpmx --help` lists the commands"


def _version() -> str:
    from lpmx_runtime import __version__, native
    from lpmx_runtime.process import proc

    try:
        done = proc.run([native.loader_path(), "--version"])
        loader = (done.stdout + done.stderr).decode().strip()
    except LpmxError as error:
        loader = f"no loader: {error.message}"
    return f"lpmx {__version__}\n{loader}"


def _split(argv: Sequence[str]) -> tuple[set[str], str | None, list[str]]:
    """Global options, subcommand, the rest."""
    options: set[str] = set()
    for position, word in enumerate(argv):
        if not word.startswith("-"):
            return options, word, list(argv[position + 1 :])
        if word not in {"--json", "--debug", "--version", "-h", "--help"}:
            raise UsageError(f"unknown option {word}", hint="`lpmx --help` lists the options")
        options.add(word)
    return options, None, []


def _dispatch(argv: Sequence[str]) -> int:
    options, name, rest = _split(argv)
    if "--version" in options:
        print(_version())
        return 0
    if name is None or options & {"-h", "--help"} or (name == "help" and not rest):
        print(_help())
        return 0 if name or options & {"-h", "--help"} else 2
    module = _module(name)
    if module is None:
        raise UsageError(f"unknown command {name!r}", hint=_instead_of(name))

    import argparse

    parser = argparse.ArgumentParser(
        prog=f"lpmx {name}", description=module.HELP, allow_abbrev=False
    )
    module.add_arguments(parser)
    parser.set_defaults(json=False, debug=False)
    if getattr(module, "LISTS", False):
        parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(rest)
    args.json = args.json or "--json" in options
    args.debug = "--debug" in options
    return module.run(args)


def _report(error: LpmxError) -> None:
    say_error("lpmx", error)


def _unexpected(error: BaseException) -> int:
    """An error nobody foresaw: one line for the user, the traceback only when asked for."""
    if isinstance(error, OSError) and error.errno is not None:
        _report(LpmxError(os_error_text(error)))
    else:
        hint = "please report it with the output of the same command under `lpmx --debug`"
        _report(LpmxError(f"internal error: {type(error).__name__}: {error}", hint=hint))
    return 1


def _end(status: int, error: OSError | None = None) -> int:
    """Write out what was printed; the exit status, which is an error's if it cannot be written.

    @error is what the command itself has met: usually the same one.
    """
    unwritten = finish_output()
    if unwritten is None:
        return _unexpected(error) if error else status
    _report(LpmxError(os_error_text(unwritten)))
    return status or 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the result is the exit status."""
    begin_program()
    words = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in words[:3] or bool(os.environ.get("LPMX_DEBUG"))
    try:
        return _end(_dispatch(words))
    except SystemExit as end:  # argparse's: help, or a mistake that it has told
        return _end(end.code if isinstance(end.code, int) else 0)
    except LpmxError as error:
        if debug:
            raise
        _report(error)
        finish_output()
        return error.exit_code
    except KeyboardInterrupt:
        return _end(130)
    except BrokenPipeError:
        return _end(141)
    except Exception as error:
        if debug:
            raise
        return _end(1, error) if isinstance(error, OSError) else _end(_unexpected(error))


if __name__ == "__main__":
    sys.exit(main())
