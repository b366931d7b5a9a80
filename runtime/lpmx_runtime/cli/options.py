"""The options that `run`, `create` and `exec` share, and how they become launch.Options."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.config.values import POLICIES
from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lpmx_runtime.container.record import Container
    from lpmx_runtime.fetch.obtain import Finder
    from lpmx_runtime.launch.start import Launch, Options, Surroundings
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = [
    "add_create",
    "add_map",
    "add_process",
    "add_pull",
    "command_of",
    "end_in_order",
    "environment",
    "from_create",
    "launch_errors",
    "resolve",
    "tell",
    "tell_hidden",
]

EXIT_LPMX = 125  # as docker and podman: the container was not even started


def add_process(parser: argparse.ArgumentParser) -> None:
    """Options of whatever starts a program."""
    parser.add_argument(
        "-e",
        "--env",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        help="set a variable; without a value, take the host's",
    )
    parser.add_argument(
        "--env-file",
        metavar="FILE",
        action="append",
        default=[],
        help="set the variables of a file with lines NAME=VALUE",
    )
    parser.add_argument("-w", "--workdir", metavar="DIR", default="", help="directory to start in")
    parser.add_argument(
        "-u",
        "--user",
        metavar="NAME|UID[:GROUP|GID]",
        default="",
        help="user and group that the program sees; default: the image's, else your own",
    )
    parser.add_argument(
        "--fakeroot",
        action="store_true",
        help="be root as far as programs can see: owners, modes and devices are remembered, so"
        " that packages can be installed",
    )
    parser.add_argument(
        "-i", "--interactive", action="store_true", help="accepted: the input is always connected"
    )
    parser.add_argument(
        "-t", "--tty", action="store_true", help="accepted: the terminal, if there is one, is yours"
    )


def add_create(parser: argparse.ArgumentParser) -> None:
    """Options of whatever makes a container."""
    parser.add_argument(
        "-v",
        "--volume",
        metavar="SRC:DST[:ro]",
        action="append",
        default=[],
        help="show a file or directory of the host in the container",
    )
    parser.add_argument(
        "--no-bind",
        metavar="RULE[,RULE...]",
        action="append",
        default=[],
        help="without these default binds: home, cwd, tmp, resolv, hosts, localtime, proc, dev,"
        " sys; all: the first six",
    )
    parser.add_argument(
        "--gpus",
        metavar="all|N|device=ID[,ID...]|CDI-NAME",
        default="",
        help="show the host's GPUs and the libraries of their driver",
    )
    parser.add_argument(
        "--batch",
        choices=("auto", "none", "slurm", "sge", "pbs", "lsf"),
        default="",
        help="jobs that the container submits come back into it; auto: to the system found here",
    )
    parser.add_argument(
        "--entrypoint", metavar="CMD", help="in place of the image's ENTRYPOINT; '' for none"
    )
    parser.add_argument(
        "--read-only", action="store_true", help="the container's own files cannot be changed"
    )
    add_map(parser)
    add_pull(parser)
    add_process(parser)
    parser.add_argument("image", metavar="IMAGE", help="name or id; or an environment, ENV.yaml")
    add_command(parser, "what to run; default: what the image says")


def add_pull(parser: argparse.ArgumentParser) -> None:
    """When images are fetched."""
    parser.add_argument(
        "--pull",
        choices=POLICIES,
        default="",
        help="fetch images that are missing (the default, unless configured otherwise), always look"
        " for newer ones, or never",
    )


def add_map(parser: argparse.ArgumentParser) -> None:
    """The exec map."""
    parser.add_argument(
        "-m",
        "--map",
        metavar="NAME=TARGET",
        action="append",
        default=[],
        help="run command NAME somewhere else: NAME=host[:COMMAND],"
        " NAME=image:IMAGE[:PATH], NAME=env:FILE[:COMMAND]",
    )


def add_command(parser: argparse.ArgumentParser, text: str) -> None:
    """The command: all that follows, options and all."""
    parser.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help=text)


def command_of(words: Sequence[str]) -> tuple[str, ...]:
    """The command without the `--` that may stand before it."""
    return tuple(words[1:] if words[:1] == ["--"] else words)


def environment(args: argparse.Namespace) -> dict[str, str]:
    """The variables of --env-file and -e; -e wins."""
    if not args.env and not args.env_file:
        return {}
    from lpmx_runtime.plans.variables import parse_env, parse_env_file
    from lpmx_runtime.smallfile import read_small_text

    env: dict[str, str] = {}
    for name in args.env_file:
        try:
            text = read_small_text(name, errors="surrogateescape")
        except OSError as error:
            raise UsageError(f"--env-file {name}: {error.strerror}") from error
        env.update(parse_env_file(text, os.environ, name=name))
    env.update(parse_env(args.env, os.environ))
    return env


def from_create(args: argparse.Namespace, find: Finder | None = None) -> Options:
    """What the arguments of `add_create` ask for; @find: the images of mapped commands."""
    from lpmx_runtime.compose.mapwords import parse_map
    from lpmx_runtime.launch.start import Options
    from lpmx_runtime.plans.binds import parse_no_bind

    return Options(
        command=command_of(args.command),
        entrypoint=_entrypoint(args.entrypoint),
        env=environment(args),
        cwd=args.workdir,
        user=args.user,
        volumes=tuple(args.volume),
        no_bind=parse_no_bind(args.no_bind),
        read_only=args.read_only,
        fakeroot=args.fakeroot,
        gpus=args.gpus,
        batch=args.batch,
        commands=parse_map(args.map, find),
    )


def resolve(store: Store, args: argparse.Namespace) -> tuple[Image, Options]:
    """The image that the arguments of `add_create` name, or that of an environment file.

    It and those of mapped commands are fetched as --pull says; --print-plan fetches nothing.
    """
    from lpmx_runtime.fetch.obtain import finder

    find = finder(store, "never" if getattr(args, "print_plan", False) else args.pull)
    asked = from_create(args, find)
    if not args.image.endswith((".yaml", ".yml")):  # YAML is not even imported
        return find(args.image), asked
    from lpmx_runtime.compose.start import launch_options

    return launch_options(store, args.image, asked, os.environ, find=find)


def _entrypoint(text: str | None) -> tuple[str, ...] | None:
    """A program, or a JSON list of a program and its first arguments."""
    if not text:
        return None if text is None else ()
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return tuple(words)
        raise UsageError(f"--entrypoint {text}: not a JSON list of strings")
    return (text,)


def tell(start: Launch) -> None:
    """Say on stderr what the user should know about a start."""
    for note in start.notes:
        print(f"lpmx: {shown(note)}", file=sys.stderr)


def tell_hidden(
    here: Surroundings, container: Container, args: argparse.Namespace, without: frozenset[str]
) -> None:
    """Say on stderr if the user's working directory or home is nowhere in the container."""
    from lpmx_runtime.plans.binds import hidden_places

    without = without | {"cwd"} if args.workdir else without
    for note in hidden_places(here.place, container.binds, without):
        print(f"lpmx: {shown(note)}", file=sys.stderr)


@contextlib.contextmanager
def launch_errors() -> Iterator[None]:
    """Give errors of ours before the start the status 125: none that a program would have."""
    try:
        yield
    except LpmxError as error:
        if error.exit_code in (1, 2):
            error.exit_code = EXIT_LPMX
        raise


def end_in_order() -> None:
    """Let SIGTERM end the command as an error does: what is half done goes."""
    import signal

    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
