"""Who one is for a registry, from where the user's other tools keep it.

In this order: what the caller gives, LPMX_REGISTRY_USER and _PASSWORD; `--authfile` or
REGISTRY_AUTH_FILE, which then is the only file; DOCKER_AUTH_CONFIG (JSON); podman's auth.json of
the session and of the configuration; docker's config.json; Apptainer's. The form of the files is
docker's (docker/cli, cli/config/configfile), with podman's keys of parts of a registry
(containers-auth.json(5)), and so is the protocol of helpers (docker/docker-credential-helpers).
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpmx_runtime.text import parse_json

from . import helpers
from .errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Credentials", "candidate_files", "find_credentials"]

FILE_MAX = 1 << 20
_HUB = "docker.io"
_HUB_KEY = "https://index.docker.io/v1/"  # what docker calls its registry in files and to helpers
_HUB_NAMES = {"docker.io", "index.docker.io", "registry-1.docker.io"}
TOKEN_USER = "<token>"  # noqa: S105  what a helper answers for an identity token


@dataclass(frozen=True)
class Credentials:
    """A name and a password, or a token; @source says where they were found, for messages."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)  # to be exchanged for access tokens
    registry_token: str = field(default="", repr=False)  # to be sent as it is
    source: str = ""

    @property
    def basic(self) -> str:
        """The value of the header Authorization."""
        pair = f"{self.user}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


def find_credentials(
    registry: str,
    repository: str,
    *,
    authfile: str = "",
    environ: Mapping[str, str] | None = None,
) -> Credentials | None:
    """The credentials for @repository of @registry (`docker.io` for the Hub); None: there are none.

    Raises RegistryError for a file that cannot be read and for a helper that fails: then nobody
    should go on without a name.
    """
    environ = os.environ if environ is None else environ
    user, password = environ.get("LPMX_REGISTRY_USER"), environ.get("LPMX_REGISTRY_PASSWORD")
    if user and password is not None:
        return Credentials(user, password, source="LPMX_REGISTRY_USER")
    only = authfile or environ.get("REGISTRY_AUTH_FILE", "")
    if not only and environ.get("DOCKER_AUTH_CONFIG"):
        where = "DOCKER_AUTH_CONFIG"
        config = _parse(environ["DOCKER_AUTH_CONFIG"].encode(), where)
        found = _in_auths(config, registry, repository, where)
        if found is not None:
            return found
    for path in [Path(only)] if only else candidate_files(environ):
        found = _in_file(path, registry, repository, must_exist=bool(authfile))
        if found is not None:
            return found
    return None


def candidate_files(environ: Mapping[str, str]) -> Iterator[Path]:
    """The files that are looked into, in order, there or not."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    yield (
        Path(runtime) / "containers/auth.json"
        if runtime
        else Path(f"/run/containers/{os.getuid()}/auth.json")
    )
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json"
    yield docker_file(environ)
    yield home / ".apptainer/docker-config.json"


def docker_file(environ: Mapping[str, str]) -> Path:
    """Docker's own file, where `lpmx login` writes."""
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    return Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def read_file(path: Path, *, must_exist: bool = False) -> dict[str, Any] | None:
    """What is in a file of credentials; None where there is none."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_MAX + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        if must_exist:
            raise RegistryError(f"{path}: no such file") from error
        return None
    except PermissionError:
        return None  # /run/containers of another user
    except OSError as error:
        raise RegistryError(f"{path}: {os.strerror(error.errno or 0).lower()}") from error
    if len(data) > FILE_MAX:
        raise RegistryError(f"{path}: too large for a file of credentials")
    return _parse(data, str(path)) if data.strip() else {}


def _parse(data: bytes, where: str) -> dict[str, Any]:
    try:
        config = parse_json(data)
    except ValueError as error:
        raise RegistryError(
            f"{where}: not JSON", hint="mend it, or `lpmx login` into another file by --authfile"
        ) from error
    if not isinstance(config, dict):
        raise RegistryError(f"{where}: not a JSON object")
    return config


def _in_file(path: Path, registry: str, repository: str, *, must_exist: bool) -> Credentials | None:
    config = read_file(path, must_exist=must_exist)
    if config is None:
        return None
    where = str(path)
    helper = _own_helper(config, registry)
    found = None if helper else _in_auths(config, registry, repository, where)
    helper = helper or helper_of(config, registry)
    if found is not None or not helper:
        return found
    return _from_helper(helper, key_of(registry), where)


def key_of(registry: str) -> str:
    """What a registry is called in files of credentials and to helpers."""
    return _HUB_KEY if registry == _HUB else registry


def helper_of(config: dict[str, Any], registry: str) -> str:
    """The helper that keeps the credentials of @registry, by a file's own words; "": none does."""
    store = config.get("credsStore")
    return _own_helper(config, registry) or (store if isinstance(store, str) else "")


def _own_helper(config: dict[str, Any], registry: str) -> str:
    """The helper that a file names for @registry alone."""
    listed = config.get("credHelpers")
    if not isinstance(listed, dict):
        return ""
    found = (listed[name] for name in _names(registry) if isinstance(listed.get(name), str))
    return next(filter(None, found), "")


def _names(registry: str) -> list[str]:
    return [registry] if registry != _HUB else [_HUB_KEY, *sorted(_HUB_NAMES)]


def _in_auths(
    config: dict[str, Any], registry: str, repository: str, where: str
) -> Credentials | None:
    """The entry with the longest key that fits: a repository, what is above it, the registry."""
    auths = config.get("auths")
    if not isinstance(auths, dict):
        return None
    parts = repository.split("/")
    for length in range(len(parts), 0, -1):
        entry = auths.get("/".join([registry, *parts[:length]]))
        if isinstance(entry, dict) and entry:
            return _entry(entry, where)
    for key, entry in auths.items():
        if isinstance(entry, dict) and entry and host_of(key) == registry:
            return _entry(entry, where)
    return None


def host_of(key: str) -> str:
    """`https://index.docker.io/v1/` is docker.io; what names a part of a registry is none."""
    bare = key.removeprefix("https://").removeprefix("http://")
    host, _, rest = bare.partition("/")
    if rest and rest.rstrip("/") not in {"v1", "v2"} and bare == key:
        return ""
    return _HUB if host in _HUB_NAMES else host


def _entry(entry: dict[str, Any], where: str) -> Credentials | None:
    user, password = "", ""
    auth = entry.get("auth")
    if isinstance(auth, str) and auth:
        try:
            pair = base64.b64decode(auth, validate=False).decode(errors="surrogateescape")
        except (binascii.Error, ValueError) as error:
            raise RegistryError(f"{where}: an entry's auth is not base64") from error
        user, _, password = pair.rstrip("\0").partition(":")
    else:
        user = str(entry.get("username") or "")
        password = str(entry.get("password") or "")
    found = Credentials(
        user,
        password,
        str(entry.get("identitytoken") or ""),
        str(entry.get("registrytoken") or ""),
        where,
    )
    return found if user or found.identity_token or found.registry_token else None


def _from_helper(name: str, server: str, where: str) -> Credentials | None:
    pair = helpers.get(name, server, where)
    if pair is None:
        return None
    user, secret = pair
    source = f"{helpers.program_of(name)} ({where})"
    if user == TOKEN_USER:
        return Credentials(identity_token=secret, source=source)
    return Credentials(user, secret, source=source)
