"""Credentials kept and forgotten: where docker, podman and others look for them, too."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import storage_errors
from lpmx_runtime.store.store import atomic_write

from .wire import helpers
from .wire.credentials import (
    TOKEN_USER,
    Credentials,
    candidate_files,
    docker_file,
    helper_of,
    host_of,
    key_of,
    read_file,
)
from .wire.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .wire.client import Repository

__all__ = ["login", "logout"]


def login(
    place: Repository, who: Credentials, *, authfile: str = "", environ: Mapping[str, str]
) -> str:
    """Keep @who for the registry of @place, once it has taken them; where they are kept.

    What a token service gives in place of the password is kept instead of it, as docker does.
    Raises DeniedError when the registry refuses them, RegistryError and StorageError when they
    cannot be kept.
    """
    registry = place.endpoint.registry
    identity = place.check(who)
    path = Path(authfile or environ.get("REGISTRY_AUTH_FILE") or docker_file(environ))
    config = read_file(path) or {}
    helper = helper_of(config, registry)
    if helper:
        user, secret = (TOKEN_USER, identity) if identity else (who.user, who.password)
        helpers.store(helper, key_of(registry), user, secret, str(path))
        return helpers.program_of(helper)
    auths = config.setdefault("auths", {})
    if not isinstance(auths, dict):
        raise RegistryError(f"{path}: its `auths` is no object", hint="mend it, or use --authfile")
    pair = f"{who.user}:{'' if identity else who.password}".encode()
    entry = {"auth": base64.b64encode(pair).decode("ascii")}
    auths[key_of(registry)] = entry | ({"identitytoken": identity} if identity else {})
    _write(path, config)
    return str(path)


def logout(registry: str, *, authfile: str = "", environ: Mapping[str, str]) -> list[str]:
    """Forget the credentials for @registry wherever they are; the places."""
    only = authfile or environ.get("REGISTRY_AUTH_FILE", "")
    paths: Iterable[Path] = [Path(only)] if only else candidate_files(environ)
    found = []
    for path in paths:
        config = read_file(path)
        if not config:
            continue
        helper = helper_of(config, registry)
        if helper and helpers.erase(helper, key_of(registry), str(path)):
            found.append(helpers.program_of(helper))
        auths = config.get("auths")
        keys = [key for key in auths if host_of(key) == registry] if isinstance(auths, dict) else []
        if keys and isinstance(auths, dict):
            for key in keys:
                del auths[key]
            _write(path, config)
            found.append(str(path))
    return found


def _write(path: Path, config: dict[str, Any]) -> None:
    with storage_errors(str(path)):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_write(os.path.realpath(path), json.dumps(config, indent=2).encode() + b"\n")
