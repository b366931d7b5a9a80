"""registries.conf: other places, mirrors, blocked and insecure registries.

As podman and skopeo read it (containers-registries.conf(5), version 2): the file that
CONTAINERS_REGISTRIES_CONF names, else the user's, else the system's, then the files of the folders
registries.conf.d in both places. Short names are docker's, whatever the file says of search lists:
a name means one image. LPMX_MIRROR (`docker.io=mirror.site:5000/hub`, several by commas), else
`mirrors` of lpmx's config.yaml, adds mirrors for people without such a file.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpmx_runtime.config.values import mirrors
from lpmx_runtime.errors import UsageError

from .errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lpmx_runtime.reference import Reference

__all__ = ["Endpoint", "endpoints", "registry_at"]

_NAME = "registries.conf"
_HUB, _HUB_HOST = "docker.io", "registry-1.docker.io"
_PULLS = {"all", "digest-only", "tag-only"}


@dataclass(frozen=True)
class Endpoint:
    """One place to ask for an image: `host[:port]`, and what the repository is called there."""

    registry: str  # as names and credentials have it: docker.io
    repository: str
    insecure: bool = False  # plain http and unknown certificates are taken
    is_mirror: bool = False

    @property
    def host(self) -> str:
        """The host to connect to."""
        return _HUB_HOST if self.registry == _HUB else self.registry


def registry_at(host: str) -> str:
    """What the registry at @host is called in names of images."""
    return _HUB if host == _HUB_HOST else host


@dataclass(frozen=True)
class _Mirror:
    location: str
    insecure: bool = False
    pulls: str = "all"


@dataclass(frozen=True)
class _Rule:
    prefix: str
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirrors: tuple[_Mirror, ...] = ()
    source: str = ""


def endpoints(reference: Reference, environ: Mapping[str, str] | None = None) -> list[Endpoint]:
    """Where to look for @reference: its mirrors in order, then the registry itself.

    Raises RegistryError for a file that cannot be read and for a registry that is blocked.
    """
    environ = os.environ if environ is None else environ
    name = f"{reference.registry}/{reference.repository}"
    rule = _best(_rules(environ), name)
    if rule is not None and rule.blocked:
        raise RegistryError(f"{reference.registry}: blocked by {rule.source}")
    found = []
    for mirror in _additional(environ, reference.registry):
        place = f"{mirror.location}/{reference.repository}"
        found.append(_endpoint(place, insecure=mirror.insecure, is_mirror=True))
    if rule is not None:
        rest = _rest(rule.prefix, name)
        wanted = "digest-only" if reference.digest else "tag-only"
        found += [
            _endpoint(mirror.location + rest, insecure=mirror.insecure, is_mirror=True)
            for mirror in rule.mirrors
            if mirror.pulls in {"all", wanted}
        ]
        place = rule.location + rest if rule.location else name
        return [*found, _endpoint(place, insecure=rule.insecure)]
    return [*found, Endpoint(reference.registry, reference.repository)]


def _endpoint(place: str, *, insecure: bool, is_mirror: bool = False) -> Endpoint:
    registry, _, repository = place.partition("/")
    return Endpoint(registry, repository, insecure, is_mirror)


def _additional(environ: Mapping[str, str], registry: str) -> Iterator[_Mirror]:
    """The mirrors that are given in another way than by registries.conf."""
    if environ.get("LPMX_MIRROR"):
        return _from_environ(environ, registry)
    return (_Mirror(place) for name, place in mirrors() if name == registry)


def _from_environ(environ: Mapping[str, str], registry: str) -> Iterator[_Mirror]:
    for word in filter(None, environ.get("LPMX_MIRROR", "").split(",")):
        name, sign, location = word.strip().partition("=")
        if not sign or not name or not location:
            raise UsageError(
                f"LPMX_MIRROR: {word!r} is not REGISTRY=PLACE",
                hint="for example LPMX_MIRROR=docker.io=mirror.site:5000/hub",
            )
        if name == registry:
            yield _Mirror(location.rstrip("/"))


def _best(rules: Mapping[str, _Rule], name: str) -> _Rule | None:
    fitting = [rule for rule in rules.values() if _fits(rule.prefix, name)]
    return max(fitting, key=lambda rule: len(rule.prefix), default=None)


def _fits(prefix: str, name: str) -> bool:
    if prefix.startswith("*."):
        return name.partition("/")[0].endswith(prefix[1:])
    return name == prefix or name.startswith(f"{prefix}/")


def _rest(prefix: str, name: str) -> str:
    """What follows the prefix in @name; of a wildcard only the host is replaced."""
    return name[len(name.partition("/")[0]) :] if prefix.startswith("*.") else name[len(prefix) :]


def _rules(environ: Mapping[str, str]) -> dict[str, _Rule]:
    rules: dict[str, _Rule] = {}
    for path in _files(environ):
        for rule in _read(path):
            rules[rule.prefix] = rule
    return rules


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    own = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers"
    system = Path("/etc/containers")
    named = environ.get("CONTAINERS_REGISTRIES_CONF")
    for path in [Path(named)] if named else [own / _NAME, system / _NAME]:
        if path.exists():
            yield path
            break
    if named:
        return
    for folder in (system, own):
        yield from sorted((folder / f"{_NAME}.d").glob("*.conf"))


def _read(path: Path) -> Iterator[_Rule]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        with open(path, "rb") as file:
            value = tomllib.load(file)
    except OSError as error:
        raise RegistryError(f"{path}: {os.strerror(error.errno or 0).lower()}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RegistryError(
            f"{path}: {error}", hint="mend the file: it says whom to trust"
        ) from error
    listed = value.get("registry", [])
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise RegistryError(f"{path}: `registry` is not a list of tables")
    for item in listed:
        yield _rule(item, path)


def _rule(item: dict[str, Any], path: Path) -> _Rule:
    location = _text(item, "location", path)
    prefix = _text(item, "prefix", path) or location
    if not prefix:
        raise RegistryError(f"{path}: a registry with neither prefix nor location")
    by_digest = item.get("mirror-by-digest-only") is True
    mirrors = item.get("mirror", [])
    if not isinstance(mirrors, list) or not all(isinstance(one, dict) for one in mirrors):
        raise RegistryError(f"{path}: the mirrors of {prefix} are not a list of tables")
    return _Rule(
        prefix,
        location,
        item.get("insecure") is True,
        item.get("blocked") is True,
        tuple(
            replace(one, pulls="digest-only") if by_digest else one
            for one in (_mirror(mirror, prefix, path) for mirror in mirrors)
        ),
        str(path),
    )


def _mirror(item: dict[str, Any], prefix: str, path: Path) -> _Mirror:
    location = _text(item, "location", path)
    pulls = _text(item, "pull-from-mirror", path) or "all"
    if not location or pulls not in _PULLS:
        raise RegistryError(f"{path}: a mirror of {prefix} that makes no sense")
    return _Mirror(location, item.get("insecure") is True, pulls)


def _text(item: dict[str, Any], key: str, path: Path) -> str:
    value = item.get(key, "")
    if not isinstance(value, str):
        raise RegistryError(f"{path}: {key} is not a text")
    return value.rstrip("/")
