"""Users and passwords for registries: what `docker login` and `apptainer registry login` share."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError
from lpmx_runtime.reference import registry_name

if TYPE_CHECKING:
    from lpmx_galaxy.frontend.goflags import Parsed
    from lpmx_runtime.images.registry.wire.credentials import Credentials

__all__ = ["ask", "forget", "keep", "known", "password_of", "registry_of"]

HUB = "docker.io"
_SCHEME = re.compile(r"^[a-z]+://")


def registry_of(text: str) -> str:
    """The registry that SERVER, https://SERVER/v2/ or docker://SERVER means; "": Docker Hub."""
    host = _SCHEME.sub("", text).partition("/")[0]
    return registry_name(host) if host else HUB


def keep(
    registry: str, who: Credentials, *, authfile: str = "", verify: bool = True, plain: bool = False
) -> str:
    """Keep @who for @registry once it has taken them; the file or helper that has them now.

    Raises DeniedError when it refuses them.
    """
    from lpmx_runtime.images.registry.login import login
    from lpmx_runtime.images.registry.wire.client import Repository
    from lpmx_runtime.images.registry.wire.settings import Endpoint
    from lpmx_runtime.images.registry.wire.transport import Transport

    transport = Transport(verify=verify)
    place = Repository(transport, Endpoint(registry, ""), lambda: None, plain_http=plain)
    return login(place, who, authfile=authfile, environ=os.environ)


def known(registry: str, *, authfile: str = "") -> Credentials | None:
    """The user and the password that are kept for @registry; None where there are none."""
    from lpmx_runtime.images.registry.wire.credentials import find_credentials

    who = find_credentials(registry, "", authfile=authfile)
    return who if who is not None and who.user else None


def forget(registry: str, *, authfile: str = "") -> list[str]:
    """The files and helpers that had credentials for @registry, and have none now."""
    from lpmx_runtime.images.registry.login import logout

    return logout(registry, authfile=authfile, environ=os.environ)


def password_of(parsed: Parsed, command: str) -> str:
    """The password of --password or --password-stdin; "" where neither is given."""
    given = parsed.last("password")
    if parsed.is_on("password-stdin"):
        if given:
            raise UsageError(f"{command}: --password and --password-stdin: give one of them")
        return sys.stdin.readline().rstrip("\r\n")
    if given:
        print("WARNING! Using --password via the CLI is insecure. Use --password-stdin.",
              file=sys.stderr)  # fmt: skip
    return given


def ask(prompt: str, *, secret: bool) -> str:
    """What the user types at @prompt. UsageError without a terminal."""
    if not sys.stdin.isatty():
        raise UsageError(
            "Error: Cannot perform an interactive login from a non TTY device",
            hint="give -u USER and --password-stdin",
        )
    if secret:
        import getpass

        return getpass.getpass(prompt)
    print(prompt, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()
