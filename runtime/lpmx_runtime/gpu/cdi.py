"""CDI specifications: what a vendor says a container needs to use its device.

Container Device Interface 1.0: https://github.com/cncf-tags/container-device-
interface/blob/main/SPEC.md Device nodes, mounts and variables are taken as they stand. Hooks are
programs of the vendor that edit a container's root; there is no root to edit, so the two that
every NVIDIA specification has are done in our own way (the links to libraries, the loader's cache)
and others are named in a note.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..smallfile import read_small_text
from .errors import GpuError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .host import GpuHost

__all__ = ["Edits", "Registry", "load_registry"]

# Hooks whose work is done without them, or that only matter where devices are hidden.
_SIZE_MAX = 16 << 20
_NEEDLESS_HOOKS = {
    "update-ldcache",
    "chmod",
    "disable-device-node-modification",
    "enable-cuda-compat",
}


@dataclass(frozen=True)
class Edits:
    """What a specification asks for."""

    env: dict[str, str]
    nodes: tuple[tuple[str, str], ...]  # host path, container path
    mounts: tuple[tuple[str, str, bool], ...]  # host path, container path, read-only
    links: tuple[tuple[str, str], ...]  # target, container path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Device:
    edits: dict[str, Any]
    spec: dict[str, Any]
    file: str


@dataclass(frozen=True)
class Registry:
    """All devices of all specifications, by qualified name; and what was wrong with some files."""

    devices: dict[str, _Device]
    problems: tuple[str, ...] = ()

    def names(self, kind: str) -> list[str]:
        """The names of devices of @kind ("nvidia.com/gpu"), without it."""
        return [name.partition("=")[2] for name in self.devices if name.startswith(f"{kind}=")]

    def edits(self, names: Sequence[str]) -> Edits:
        """What is to be done for the devices @names. GpuError for one that no file defines."""
        chosen = []
        for name in names:
            if name not in self.devices:
                raise GpuError(
                    f"--gpus {name}: no CDI specification has this device", hint=self._hint()
                )
            chosen.append(self.devices[name])
        parts = [device.edits for device in chosen]
        specs = {device.file: device.spec.get("containerEdits") or {} for device in chosen}
        return _merge([*specs.values(), *parts])

    def _hint(self) -> str:
        known = ", ".join(sorted(self.devices)[:8]) or "there is none at all"
        return f"known devices: {known}" + "".join(f"; {text}" for text in self.problems)


def load_registry(host: GpuHost) -> Registry:
    """Read every specification. Of two in different folders that define a device the later wins."""
    devices: dict[str, _Device] = {}
    problems = []
    for folder in host.cdi_dirs:
        here: dict[str, _Device] = {}
        for path in _files(folder):
            try:
                spec = _read(path)
            except (OSError, ValueError) as error:
                problems.append(f"{path}: {error}")
                continue
            for device in spec["devices"]:
                name = f"{spec['kind']}={device['name']}"
                if name in here:
                    problems.append(f"{path}: {name} is defined in {here[name].file} too")
                here[name] = _Device(device.get("containerEdits") or {}, spec, path)
        devices |= here
    return Registry(devices, tuple(problems))


def _files(folder: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        if name.endswith((".json", ".yaml", ".yml")):
            yield os.path.join(folder, name)


def _read(path: str) -> dict[str, Any]:
    text = read_small_text(path, limit=_SIZE_MAX)
    if path.endswith(".json"):
        spec = json.loads(text)
    else:
        import yaml

        try:
            spec = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(str(error).replace("\n", " ")) from error
    if not isinstance(spec, dict) or not isinstance(spec.get("kind"), str):
        raise ValueError("not a CDI specification: it has no kind")
    devices = spec.get("devices")
    if not isinstance(devices, list) or not all(
        isinstance(device, dict) and isinstance(device.get("name"), (str, int))
        for device in devices
    ):
        raise ValueError("not a CDI specification: its devices have no names")
    return spec


def _merge(parts: Iterable[dict[str, Any]]) -> Edits:
    env: dict[str, str] = {}
    nodes, mounts, links, notes = [], [], [], []
    for part in parts:
        env |= dict(entry.split("=", 1) for entry in part.get("env") or () if "=" in entry)
        nodes += [
            (node.get("hostPath") or node["path"], node["path"])
            for node in part.get("deviceNodes") or ()
        ]
        for mount in part.get("mounts") or ():
            where = mount.get("containerPath", "")
            if mount.get("type") not in (None, "", "bind", "rbind"):
                notes.append(f"a mount of type {mount['type']} at {where} is not made")
                continue
            read_only = "ro" in (mount.get("options") or ())
            mounts.append((mount.get("hostPath", ""), where, read_only))
        for hook in part.get("hooks") or ():
            done, note = _hook(hook)
            links += done
            notes += note
    unique = dict.fromkeys
    return Edits(env, (*unique(nodes),), (*unique(mounts),), (*unique(links),), (*unique(notes),))


def _hook(hook: dict[str, Any]) -> tuple[list[tuple[str, str]], list[str]]:
    """The links that a hook makes, and a note when it does something else."""
    words = [str(word) for word in hook.get("args") or ()][1:]
    words = words[1:] if words[:1] == ["hook"] else words  # nvidia-ctk hook NAME
    if words[:1] == ["create-symlinks"]:
        values = [word.removeprefix("--link=") for word in words[1:] if word != "--link"]
        pairs = [value.split("::", 1) for value in values if "::" in value]
        return [(target, path) for target, path in pairs], []
    if words and words[0] in _NEEDLESS_HOOKS:
        return [], []
    return [], [f"the hook {hook.get('path', '')} {' '.join(words)}".rstrip() + " is not run"]
