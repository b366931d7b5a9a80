"""Credentials kept and forgotten: where docker, podman and others look for them, too."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import storage_errors
from lpmx_runtime.store.store import atomic_write

from .credentials import (
    HELPER_SECONDS,
    Credentials,
    candidate_files,
    docker_file,
    helper_of,
    host_of,
    key_of,
    read_file,
)
from .errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .client import Repository

__all__ = ["login", "logout"]


def login(
    place: Repository, who: Credentials, *, authfile: str = "", environ: Mapping[str, str]
) -> str:
    """Keep @who for the registry of @place, once it has taken them; where they are kept.

    Raises DeniedError when the registry refuses them, RegistryError and StorageError when they
    cannot be kept.
    """
    registry = place.endpoint.registry
    place.check(who)
    path = Path(authfile or environ.get("REGISTRY_AUTH_FILE") or docker_file(environ))
    config = read_file(path) or {}
    helper = helper_of(config, registry)
    if helper:
        secret = {"ServerURL": key_of(registry), "Username": who.user, "Secret": who.password}
        _call(helper, "store", json.dumps(secret), path)
        return f"docker-credential-{helper}"
    auths = config.setdefault("auths", {})
    if not isinstance(auths, dict):
        raise RegistryError(f"{path}: its `auths` is no object", hint="mend it, or use --authfile")
    pair = f"{who.user}:{who.password}".encode()
    auths[key_of(registry)] = {"auth": base64.b64encode(pair).decode("ascii")}
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
        if helper and _call(helper, "erase", key_of(registry), path):
            found.append(f"docker-credential-{helper}")
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


def _call(helper: str, verb: str, text: str, path: Path) -> bool:
    """Whether the helper has done it; to erase what it has not is no error."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb],
            input=text.encode(),
            capture_output=True,
            timeout=HELPER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = os.strerror(error.errno or 0).lower() if isinstance(error, OSError) else "no answer"
        raise RegistryError(f"{program}: {why}", hint=f"{path} names this helper") from error
    if done.returncode and verb == "store":
        said = (done.stdout or done.stderr).decode(errors="replace").strip()
        raise RegistryError(f"{program}: {said or f'status {done.returncode}'}")
    return not done.returncode
