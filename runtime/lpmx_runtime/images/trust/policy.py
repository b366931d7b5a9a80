"""Whose signature an image needs: `trust.yaml` of the user and of the site, and `--verify`.

    quay.io/lab/: {keys: [~/keys/lab.pub]}
    docker.io/library/: accept
    "*": refuse

A key is the beginning of names in full (`docker.io/library/debian`), up to a `/` or to their end;
the longest that fits counts, and of the same one the user's. What containers' policy.json
(containers-policy.json(5)) rejects is refused as well; its other rules are not read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import LpmxError
from lpmx_runtime.text import parse_json
from lpmx_runtime.yamlfile.source import EnvFileError, read_source

from .keys import SignatureError, read_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lpmx_runtime.reference import Reference
    from lpmx_runtime.yamlfile.source import Value

    from .keys import Key

__all__ = ["Requirement", "requirements"]

SITE_FILE = "/etc/lpmx/trust.yaml"
SYSTEM_POLICY = "/etc/containers/policy.json"
POLICY_MAX = 1 << 20
_ALL = "*"


@dataclass(frozen=True)
class Requirement:
    """A signature by one of @keys is needed; @why names what asks for it."""

    why: str
    keys: tuple[Key, ...]


def requirements(
    reference: Reference, verify: Sequence[str] = (), environ: Mapping[str, str] | None = None
) -> list[Requirement]:
    """What signatures @reference needs: by the keys in files @verify, and by trust.yaml.

    Each of them has to be met. Raises SignatureError for an image that is refused and for a key
    that cannot be used, LpmxError for a file that is wrong.
    """
    environ = os.environ if environ is None else environ
    found = []
    if verify:
        keys = tuple(read_key(os.path.expanduser(path), "--verify") for path in verify)
        found.append(Requirement("--verify", keys))
    rule = _rule(f"{reference.registry}/{reference.repository}", environ)
    if rule is not None:
        found += _of_rule(rule, reference)
    _check_policy(reference, environ)
    return found


# ---- trust.yaml


def _rule(name: str, environ: Mapping[str, str]) -> tuple[str, Value] | None:
    """The longest prefix of @name in the files, with its value; of the same the user's."""
    found: dict[str, Value] = {}
    for path in (SITE_FILE, _user_file(environ)):
        found |= dict(_read(path))
    fitting = [prefix for prefix in found if _fits(prefix, name)]
    if not fitting:
        return None
    best = max(fitting, key=lambda prefix: len(prefix) if prefix != _ALL else 0)
    return best, found[best]


def _user_file(environ: Mapping[str, str]) -> str:
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        base = os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".config")
    return os.path.join(base, "lpmx/trust.yaml")


def _fits(prefix: str, name: str) -> bool:
    bare = prefix.rstrip("/")
    return prefix == _ALL or name.startswith(f"{bare}/") or name == prefix


def _read(path: str) -> Iterator[tuple[str, Value]]:
    if not os.path.lexists(path):
        return
    source = read_source(path)
    if source.kind == "null":
        return
    if source.kind != "object":
        raise EnvFileError(source.place, "is not a mapping from names of images to what they need")
    for prefix, place, value in source.items():
        host = prefix.partition("/")[0]
        if prefix != _ALL and not ("." in host or ":" in host or host == "localhost"):
            raise EnvFileError(
                place,
                f"{prefix!r} does not begin with a registry",
                hint=f"names in full, such as docker.io/{prefix}, or '*' for all others",
            )
        _check(prefix, value)
        yield prefix, value


def _check(prefix: str, value: Value) -> None:
    """EnvFileError unless it is `accept`, `refuse` or `{keys: [FILE, ...]}`."""
    if value.kind == "string" and value.data in {"accept", "refuse"}:
        return
    keys = value.get("keys")
    right = (
        keys is not None
        and len(value.keys) == 1
        and keys.kind == "array"
        and keys.data
        and all(one.kind == "string" for one in keys.data)
    )
    if not right:
        raise EnvFileError(
            value.place, f"{prefix!r} is neither accept, refuse nor {{keys: [FILE, ...]}}"
        )


def _of_rule(rule: tuple[str, Value], reference: Reference) -> Iterator[Requirement]:
    prefix, value = rule
    if value.data == "accept":
        return
    if value.data == "refuse":
        raise SignatureError(f"{reference}: refused by {value.place} ({prefix})")
    base = os.path.dirname(value.place.file)
    paths = (os.path.join(base, os.path.expanduser(one.text)) for one in value["keys"].data)
    why = str(value.place)
    yield Requirement(why, tuple(read_key(path, why) for path in paths))


# ---- policy.json


def _check_policy(reference: Reference, environ: Mapping[str, str]) -> None:
    """SignatureError for an image that policy.json of podman and skopeo rejects."""
    home = environ.get("HOME") or os.path.expanduser("~")
    own = os.path.join(home, ".config/containers/policy.json")
    for path in (own, SYSTEM_POLICY):
        if os.path.lexists(path):
            break
    else:
        return
    for rule in _policy_rules(_policy(path), reference):
        if isinstance(rule, dict) and rule.get("type") == "reject":
            raise SignatureError(f"{reference}: rejected by {path}")


def _policy(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            value = parse_json(file.read(POLICY_MAX + 1)[:POLICY_MAX])
    except OSError as error:
        raise LpmxError(f"{path}: {(error.strerror or '').lower()}") from error
    except ValueError as error:
        raise LpmxError(f"{path}: not JSON") from error
    if not isinstance(value, dict):
        raise LpmxError(f"{path}: not a JSON object")
    return value


def _policy_rules(policy: dict[str, Any], reference: Reference) -> list[Any]:
    """The requirements of the most specific scope of transport docker, else the default."""
    transports = policy.get("transports")
    scopes = transports.get("docker") if isinstance(transports, dict) else None
    for scope in _scopes(reference) if isinstance(scopes, dict) else ():
        found = scopes.get(scope) if isinstance(scopes, dict) else None
        if isinstance(found, list):
            return found
    found = policy.get("default")
    return found if isinstance(found, list) else []


def _scopes(reference: Reference) -> Iterator[str]:
    name = f"{reference.registry}/{reference.repository}"
    if reference.digest:
        yield f"{name}@{reference.digest}"
    yield f"{name}:{reference.tag or 'latest'}"
    parts = name.split("/")
    for length in range(len(parts), 0, -1):
        yield "/".join(parts[:length])
    labels = reference.registry.partition(":")[0].split(".")
    for at in range(1, len(labels)):
        yield f"*.{'.'.join(labels[at:])}"
    yield ""
