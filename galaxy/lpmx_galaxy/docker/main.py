"""`lpmx-docker`: finds the command's module, runs it, turns errors into a line and a status.

Galaxy starts it three times a job (inspect, run, kill), so only what a command needs is imported.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Protocol, cast

from lpmx_galaxy.frontend.goflags import Flag, parse, table
from lpmx_galaxy.frontend.main import guarded
from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "PROGRAM", "main"]

PROGRAM = "lpmx-docker"

# command: the module that carries it out, in a function of that name
COMMANDS = {
    "run": "run",
    "inspect": "inspect",
    "pull": "registries.pull",
    "push": "registries.push",
    "images": "images",
    "load": "images",
    "import": "images",
    "tag": "images",
    "rmi": "images",
    "login": "registries.accounts",
    "logout": "registries.accounts",
    "manifest": "registries.manifests",
    "save": "archives",
    "export": "archives",
    "cp": "archives",
    "kill": "containers",
    "stop": "containers",
    "rm": "containers",
    "ps": "containers",
    "port": "containers",
    "version": "about",
    "info": "about",
    "build": "about",
}
# `docker image ls` and its kin
_GROUPS = {
    "image": {
        "ls": "images", "list": "images", "rm": "rmi", "inspect": "inspect", "pull": "pull",
        "push": "push", "load": "load", "import": "import", "tag": "tag", "build": "build",
        "save": "save",
    },
    "container": {
        "ls": "ps", "list": "ps", "ps": "ps", "run": "run", "kill": "kill", "stop": "stop",
        "rm": "rm", "port": "port", "inspect": "inspect", "export": "export", "cp": "cp",
    },
    "system": {"info": "info"},
    "builder": {"build": "build"},
    "buildx": {"build": "build"},
}  # fmt: skip
# Docker's own, and what podman and udocker users put before the command. Only --config changes
# anything: there is no daemon to find.
_GLOBAL = table([
    Flag("host", ("-H", "--host")),
    Flag("context", ("-c", "--context")),
    Flag("config", ("--config",)),
    Flag("log-level", ("-l", "--log-level")),
    Flag("debug", ("-D", "--debug"), takes_value=False),
    Flag("tls", ("--tls", "--tlsverify"), takes_value=False),
    Flag("tls-file", ("--tlscacert", "--tlscert", "--tlskey")),
    Flag("quiet", ("-q", "--quiet"), takes_value=False),
    Flag("allow-root", ("--allow-root",), takes_value=False),
    Flag("version", ("-v", "--version"), takes_value=False),
    Flag("help", ("-h", "--help"), takes_value=False),
])  # fmt: skip


class Command(Protocol):
    """What carries a command out: its words without the command; the exit status."""

    def __call__(self, words: Sequence[str]) -> int:
        """Do it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the result is the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    return guarded(PROGRAM, lambda: _dispatch(words))


def _dispatch(words: Sequence[str]) -> int:
    options = parse(words, _GLOBAL, command=PROGRAM)
    if options.is_on("version"):
        from .about import version_line

        print(version_line())
        return 0
    if options.is_on("help") or not options.rest or options.rest[0] == "help":
        print(_help())
        return 0
    if options.last("config"):
        os.environ["DOCKER_CONFIG"] = options.last("config")  # where credentials are kept
    name, rest = _command_of(options.rest)
    return _find(name)(rest)


def _command_of(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The command and its words, `image ls` being `images`."""
    group = _GROUPS.get(words[0])
    if group is None:
        return words[0], words[1:]
    if len(words) < 2 or words[1] not in group:
        said = " ".join(words[:2])
        raise UsageError(
            f"{said}: there is no such command here",
            hint=f"`{PROGRAM} {words[0]}` has {', '.join(group)}",
        )
    if words[1] == "inspect":
        return "inspect", [f"--type={words[0]}", *words[2:]]
    return group[words[1]], words[2:]


def _find(name: str) -> Command:
    from importlib import import_module

    if name not in COMMANDS:
        raise UsageError(
            f"{name}: there is no such command here",
            hint=f"`{PROGRAM} --help` lists those there are; `lpmx --help` lists lpmx's own",
        )
    module = import_module(f"lpmx_galaxy.docker.{COMMANDS[name]}")
    return cast("Command", getattr(module, f"{name}_command"))


def _help() -> str:
    return "\n".join([
        f"usage: {PROGRAM} COMMAND ...",
        "",
        "Docker's command line over lpmx: no daemon, no root.",
        "",
        f"commands: {', '.join(COMMANDS)}",
        "`docs/galaxy.md` says what each flag does here.",
    ])  # fmt: skip
