"""`lpmx-singularity registry` and `remote`: who one is for a registry; the variables for one pull.

APPTAINER_DOCKER_USERNAME and _PASSWORD (SINGULARITY_ too) name the user of the pulls of this
command, as does --docker-login, which asks. --authfile and APPTAINER_AUTHFILE name the one file
of credentials.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lpmx_galaxy import accounts
from lpmx_galaxy.docker.flags import switch, value
from lpmx_galaxy.frontend.goflags import parse, table
from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.text import shown

from .messages import info

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lpmx_galaxy.frontend.goflags import Parsed

__all__ = ["account_of", "registry_command", "remote_command"]

_LOGIN = table([
    value("-u", "--username"),
    value("-p", "--password"),
    value("--authfile"),
    switch("--password-stdin"),
    switch("-i", "--insecure"),
])  # fmt: skip
_LOGOUT = table([value("--authfile")])
_OURS = ("LPMX_REGISTRY_USER", "LPMX_REGISTRY_PASSWORD")


def registry_command(words: Sequence[str]) -> int:
    """`registry login|logout|list`."""
    return _dispatch("registry", words)


def remote_command(words: Sequence[str]) -> int:
    """`remote login|logout|list`: the same, under the name it had before Apptainer 1.2."""
    return _dispatch("remote", words)


def _dispatch(group: str, words: Sequence[str]) -> int:
    actions = {"login": _login, "logout": _logout, "list": _list}
    if not words or words[0] not in actions:
        raise UsageError(
            f"{group} {' '.join(words[:1])}: there is no such command here",
            hint=f"`lpmx-singularity {group}` has {', '.join(actions)}",
        )
    return actions[words[0]](f"lpmx-singularity {group} {words[0]}", words[1:])


def _login(command: str, words: Sequence[str]) -> int:
    from lpmx_runtime.images.registry.wire.credentials import Credentials
    from lpmx_runtime.images.registry.wire.errors import DeniedError

    parsed = parse(words, _LOGIN, command=command, interspersed=True)
    registry = _registry(command, parsed.rest)
    user = parsed.last("username") or _variable("LOGIN_USERNAME", os.environ)
    password = accounts.password_of(parsed, command) or _variable("LOGIN_PASSWORD", os.environ)
    user = user or accounts.ask("Username: ", secret=False)
    password = password or accounts.ask("Password: ", secret=True)
    who, insecure = Credentials(user, password), parsed.is_on("insecure")
    authfile = parsed.last("authfile") or _variable("AUTHFILE", os.environ)
    try:
        where = accounts.keep(registry, who, authfile=authfile, verify=not insecure, plain=insecure)
    except DeniedError as error:
        raise LpmxError(f"while login to {registry}: {error.message}", hint=error.hint) from error
    info(f"Token stored in {where}")
    return 0


def _logout(command: str, words: Sequence[str]) -> int:
    parsed = parse(words, _LOGOUT, command=command, interspersed=True)
    registry = _registry(command, parsed.rest)
    authfile = parsed.last("authfile") or _variable("AUTHFILE", os.environ)
    if not accounts.forget(registry, authfile=authfile):
        raise LpmxError(f"{registry}: no credentials are kept for it")
    info("Logout succeeded")
    return 0


def _list(command: str, words: Sequence[str]) -> int:
    parsed = parse(words, {}, command=command, interspersed=True)
    if parsed.rest:
        raise UsageError(f"{command}: takes no argument")
    from lpmx_runtime.columns import table as columns

    print(columns(("URI", "SECURE?"), [(f"docker://{name}", "✓") for name in _kept(os.environ)]))
    return 0


def _kept(environ: Mapping[str, str]) -> list[str]:
    """The registries that files of credentials name."""
    from pathlib import Path

    from lpmx_runtime.images.registry.wire.credentials import candidate_files, host_of, read_file

    only = _variable("AUTHFILE", environ) or environ.get("REGISTRY_AUTH_FILE")
    found: dict[str, None] = {}
    for path in [Path(only)] if only else candidate_files(environ):
        config = read_file(path) or {}
        for field in ("auths", "credHelpers"):
            listed = config.get(field)
            hosts = [host_of(key) for key in listed] if isinstance(listed, dict) else []
            found.update(dict.fromkeys(filter(None, hosts)))
    return sorted(found)


def _registry(command: str, rest: Sequence[str]) -> str:
    if len(rest) != 1 or not rest[0].startswith(("docker://", "oras://")):
        raise UsageError(
            f"{command}: {shown(' '.join(rest)) or 'no registry is named'}",
            hint="docker://HOST or oras://HOST; there is no account at a library here",
        )
    return accounts.registry_of(rest[0])


# ---- for the pulls of one command


def _variable(name: str, environ: Mapping[str, str]) -> str:
    return environ.get(f"APPTAINER_{name}") or environ.get(f"SINGULARITY_{name}") or ""


@contextmanager
def account_of(parsed: Parsed) -> Iterator[None]:
    """Pull as who the flags and variables of the command say; as found in files if they do not."""
    user = _variable("DOCKER_USERNAME", os.environ)
    password = _variable("DOCKER_PASSWORD", os.environ)
    if parsed.is_on("docker-login"):
        user = user or accounts.ask("Enter Docker Username: ", secret=False)
        password = password or accounts.ask("Enter Docker Password: ", secret=True)
    authfile = parsed.last("authfile") or _variable("AUTHFILE", os.environ)
    wanted = dict(zip(_OURS, (user, password), strict=True)) if user and password else {}
    if authfile:
        wanted["REGISTRY_AUTH_FILE"] = authfile
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, old in before.items():
            os.environ.pop(name, None)
            if old is not None:
                os.environ[name] = old
