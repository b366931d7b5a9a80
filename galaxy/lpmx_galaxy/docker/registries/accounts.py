"""`lpmx-docker` login, logout: in docker's words, kept where docker and podman look for them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lpmx_galaxy import accounts
from lpmx_galaxy.frontend.goflags import Flag, parse, table
from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_galaxy.frontend.goflags import Parsed

__all__ = ["login_command", "logout_command"]

LOGIN, LOGOUT = "lpmx-docker login", "lpmx-docker logout"
_HUB_SHOWN = "https://index.docker.io/v1/"  # what docker calls its own registry
_AUTHFILE = Flag("authfile", ("--authfile",))  # podman's, like --tls-verify
_LOGIN = table([
    Flag("username", ("-u", "--username")),
    Flag("password", ("-p", "--password")),
    Flag("password-stdin", ("--password-stdin",), takes_value=False),
    Flag("tls-verify", ("--tls-verify",), takes_value=False),
    _AUTHFILE,
])  # fmt: skip
_LOGOUT = table([_AUTHFILE])


def login_command(words: Sequence[str]) -> int:
    """Keep a user and a password, once the registry has taken them."""
    from lpmx_runtime.images.registry.wire.credentials import Credentials
    from lpmx_runtime.images.registry.wire.errors import DeniedError

    parsed = parse(words, _LOGIN, command=LOGIN, interspersed=True)
    registry = _registry(parsed, LOGIN)
    user, password = parsed.last("username"), accounts.password_of(parsed, LOGIN)
    if parsed.is_on("password-stdin") and not user:
        raise UsageError(f"{LOGIN}: Must provide --username with --password-stdin")
    authfile = parsed.last("authfile")
    who = None if user or password else accounts.known(registry, authfile=authfile)
    if who is not None:
        print(f"Authenticating with existing credentials... [Username: {shown(who.user)}]")
    else:
        user = user or accounts.ask("Username: ", secret=False)
        who = Credentials(user, password or accounts.ask("Password: ", secret=True))
    if not who.user or not who.password:
        raise UsageError(f"{LOGIN}: a user and a password are needed")
    verify = parsed.last("tls-verify", "true") == "true"
    try:
        where = accounts.keep(registry, who, authfile=authfile, verify=verify)
    except DeniedError as error:
        raise LpmxError(
            f"Error response from daemon: login attempt to https://{registry}/v2/ failed with"
            f" status: {error.status} Unauthorized: incorrect username or password"
        ) from error
    if not where.startswith("docker-credential-"):
        print(f"WARNING! Your credentials are stored unencrypted in '{where}'.", file=sys.stderr)
    print("Login Succeeded")
    return 0


def logout_command(words: Sequence[str]) -> int:
    """Forget them, wherever they are kept."""
    parsed = parse(words, _LOGOUT, command=LOGOUT, interspersed=True)
    registry = _registry(parsed, LOGOUT)
    shown_as = _HUB_SHOWN if registry == accounts.HUB else registry
    if accounts.forget(registry, authfile=parsed.last("authfile")):
        print(f"Removing login credentials for {shown_as}")
    else:
        print(f"Not logged in to {shown_as}")
    return 0


def _registry(parsed: Parsed, command: str) -> str:
    if len(parsed.rest) > 1:
        raise UsageError(f"{command}: name one registry")
    return accounts.registry_of(parsed.rest[0] if parsed.rest else "")
