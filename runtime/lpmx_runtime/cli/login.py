"""`lpmx login`: keep a user and a password for a registry."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.cli.registry import (
    add_authfile,
    add_connection,
    add_registry,
    checks_certificates,
)
from lpmx_runtime.errors import NotFoundError, UsageError
from lpmx_runtime.images.registry.login import login
from lpmx_runtime.images.registry.wire.client import Repository
from lpmx_runtime.images.registry.wire.credentials import Credentials, find_credentials
from lpmx_runtime.images.registry.wire.settings import Endpoint
from lpmx_runtime.images.registry.wire.transport import Transport
from lpmx_runtime.reference import registry_name
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    import argparse

HELP = "keep a user and a password for a registry"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_registry(parser)
    parser.add_argument("-u", "--username", default="", metavar="USER", help="asked for if missing")
    parser.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input"
    )
    add_authfile(parser, "keep them there")
    parser.add_argument(
        "--show", action="store_true", help="say whose credentials are used, and why"
    )
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Ask for what is missing, try it, keep it."""
    registry = registry_name(args.registry)
    if args.show:
        return _show(registry, args.authfile)
    user = args.username or _ask("Username: ", secret=False)
    password = _read_password() if args.password_stdin else _ask("Password: ", secret=True)
    if not user or not password:
        raise UsageError(f"login to {registry}: a user and a password are needed")
    transport = Transport(verify=checks_certificates(args))
    place = Repository(transport, Endpoint(registry, ""), lambda: None, plain_http=args.plain_http)
    where = login(place, Credentials(user, password), authfile=args.authfile, environ=os.environ)
    print(f"logged in to {registry} as {shown(user)}: kept in {where}")
    return 0


def _show(registry: str, authfile: str) -> int:
    who = find_credentials(registry, "", authfile=authfile)
    if who is None:
        raise NotFoundError(f"{registry}: no credentials", hint=f"`lpmx login {registry}`")
    print(f"{registry}: {shown(who.user or 'a token')}, from {who.source}")
    return 0


def _read_password() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _ask(what: str, *, secret: bool) -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            "no terminal to ask for a user and a password",
            hint="give -u USER and --password-stdin",
        )
    if secret:
        return getpass.getpass(what)
    print(what, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()
