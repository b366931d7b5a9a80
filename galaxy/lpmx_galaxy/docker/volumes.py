"""-v, --mount, --tmpfs and --volumes-from: what docker means by them, as lpmx's binds.

A missing host directory of -v is made, as docker does; one of --mount is an error, as with docker.
Volumes that a daemon would keep by name do not exist here.
"""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError, storage_errors

if TYPE_CHECKING:
    from lpmx_galaxy.frontend.goflags import Parsed
    from lpmx_runtime.store.store import Store

__all__ = ["Volumes", "bind_text", "parse_mount", "parse_volume", "read_volumes"]

_SOURCE = ("source", "src")
_TARGET = ("target", "destination", "dst")
_KEYS = {
    *_SOURCE, *_TARGET, "type", "readonly", "ro", "bind-propagation", "consistency",
    "bind-nonrecursive", "bind-recursive", "tmpfs-size", "tmpfs-mode", "volume-nocopy",
    "relabel", "rw",
}  # fmt: skip
# Options of -v that are understood, most of them of mounts and SELinux
_OPTIONS = {
    "ro", "rw", "z", "Z", "U", "O", "cached", "delegated", "consistent", "nocopy", "exec",
    "bind", "rbind", "shared", "rshared", "slave", "rslave", "private", "rprivate",
}  # fmt: skip


@dataclass(frozen=True)
class Volumes:
    """Binds as lpmx spells them, folders that begin empty, those wanted if the image has none."""

    binds: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    anonymous: tuple[str, ...] = ()


def read_volumes(store: Store, parsed: Parsed) -> Volumes:
    """All that @parsed asks for."""
    binds, fresh, anonymous = [], [], []
    for name in parsed.all("volumes-from"):
        binds += _of_container(store, name)
    for text in parsed.all("volume"):
        source, target, mode = parse_volume(text)
        if source:
            _make(source, text)
            binds.append(bind_text(source, target, mode))
        else:
            anonymous.append(target)
    for text in parsed.all("mount"):
        kind, source, target, read_only = parse_mount(text)
        if kind == "bind":
            if not os.path.lexists(source):
                raise UsageError(f"--mount {text}: {source} does not exist on this host")
            binds.append(bind_text(source, target, "ro" if read_only else ""))
        else:
            fresh.append(target)
    fresh += [text.split(":")[0] for text in parsed.all("tmpfs")]
    return Volumes(tuple(binds), tuple(fresh), tuple(anonymous))


def bind_text(source: str, target: str, mode: str) -> str:
    """A bind as lpmx reads it."""
    words = [source.replace(":", "\\:"), target.replace(":", "\\:")]
    return ":".join([*words, mode] if mode else words)


def parse_volume(text: str) -> tuple[str, str, str]:
    """Source ("" for an anonymous volume), target and options of -v @text."""
    parts = _split(text)
    if len(parts) == 1:
        source, target, mode = "", parts[0], ""
    elif len(parts) == 2:
        source, target, mode = parts[0], parts[1], ""
    elif len(parts) == 3:
        source, target, mode = parts
    else:
        raise UsageError(
            f"-v {text}: more than two colons", hint="--mount takes names with colons in them"
        )
    if not target.startswith("/"):
        raise UsageError(f"-v {text}: {target or 'nothing'} is not an absolute path")
    if len(parts) > 1 and not source:
        raise UsageError(f"-v {text}: no host path before the colon")
    if source and not source.startswith(("/", ".", "~")):
        raise UsageError(
            f"-v {text}: named volumes are not kept here",
            hint=f"name a directory of the host: -v /path/{source}:{target}",
        )
    return source, target, _mode(text, mode)


def _split(text: str) -> list[str]:
    """At every colon, as docker does; but a host path with colons, if only one can be its end.

    Docker refuses such a -v. cwltool tells a command like this one of such paths by -v only.
    """
    source, between, target = text.partition(":/")
    if ":" not in source or not between or ":/" in target:
        return text.split(":")
    target, _, mode = f"/{target}".rpartition(":")
    if target and set(mode.split(",")) <= _OPTIONS:
        return [source, target, mode]
    return [source, f"{target}:{mode}" if target else mode]


def _mode(text: str, mode: str) -> str:
    """The options, without those that mean nothing here."""
    words = set(mode.split(",")) if mode else set()
    if unknown := words - _OPTIONS:
        raise UsageError(f"-v {text}: unknown option {min(unknown)!r}", hint="ro or rw")
    return "ro" if "ro" in words else ""


def parse_mount(text: str) -> tuple[str, str, str, bool]:
    """Type, source, target of --mount @text, and whether it is read-only.

    A CSV line as docker reads it: a field with commas or quotes stands in quotes, as a whole.
    """
    fields: dict[str, str] = {}
    for item in next(csv.reader([text]), []):
        key, sign, value = item.partition("=")
        key = key.strip().lower()
        if key not in _KEYS:
            raise UsageError(f"--mount {text}: unknown key {key!r}")
        fields[key] = value if sign else "true"
    kind = fields.get("type", "volume")
    source = next((fields[key] for key in _SOURCE if key in fields), "")
    target = next((fields[key] for key in _TARGET if key in fields), "")
    read_only = any(fields.get(key, "false").lower() in ("true", "1") for key in ("readonly", "ro"))
    if kind not in ("bind", "tmpfs", "volume"):
        raise UsageError(f"--mount {text}: type {kind} is not known", hint="bind or tmpfs")
    if not target.startswith("/"):
        raise UsageError(f"--mount {text}: the target is not an absolute path")
    if kind == "bind" and not source:
        raise UsageError(f"--mount {text}: no source")
    if kind == "volume" and source:
        raise UsageError(
            f"--mount {text}: named volumes are not kept here",
            hint="bind a directory of the host: type=bind,source=DIR,target=...",
        )
    return kind, source, target, read_only


def _make(source: str, text: str) -> None:
    if not os.path.lexists(source):
        with storage_errors(f"-v {text}: making {source}"):
            os.makedirs(source, exist_ok=True)


def _of_container(store: Store, name: str) -> list[str]:
    """The binds that another container was given."""
    from lpmx_runtime.container import record as containers
    from lpmx_runtime.plans.binds import RULES

    base, _, mode = name.partition(":")
    defaults = set(RULES.values())
    return [
        bind_text(bind.src, bind.dst, "ro" if bind.read_only or mode == "ro" else "")
        for bind in containers.find(store, base).binds
        if bind.dst not in defaults and not bind.seed
    ]
