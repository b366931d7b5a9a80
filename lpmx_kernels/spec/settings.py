"""What a kernel spec says about its container: the `config` of its provisioner stanza, typed.

The provisioner gets the same keys as traits; the launcher, which other clients start, reads them
from kernel.json.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lpmx_kernels.errors import KernelSpecError
from lpmx_runtime.config.values import POLICIES
from lpmx_runtime.smallfile import read_small_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROVISIONER = "lpmx-provisioner"
CONNECTION_FILE = "{connection_file}"
PAYLOAD_INSIDE = "/run/lpmx-kernel"
"""Where a payload is seen in the container."""
SHELL_INSIDE = "/run/lpmx-shell"
"""Where the shell of a kernel on the host finds its cells."""


@dataclass(frozen=True)
class KernelSettings:
    """How the kernels of one spec are started."""

    image: str
    command: tuple[str, ...]  # in the image; `{connection_file}` stands for that file
    binds: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    persist: str = (
        ""  # name of the container that keeps what kernels write; empty: a fresh one each
    )
    user: str = ""
    store: str = ""  # where it is not the default store of whoever starts the kernel
    payload: str = ""  # id of the payload that brings ipykernel; empty: the image has its own
    map: tuple[str, ...] = ()  # the exec map: as after -m
    batch: str = ""  # as after --batch
    gpus: str = ""  # as after --gpus
    survive: bool = False  # outlive the server
    host_kernel: str = ""  # "shell": the kernel runs on the host, `command` is the image's shell
    launcher: str = ""  # the batch system that finds a node for it; empty: this machine
    launcher_options: tuple[str, ...] = ()  # for that system's client
    notebook_images: tuple[str, ...] | None = None  # what notebooks may choose; None: any
    pull: str = ""  # as --pull, for the start; empty: as is configured

    def to_config(self) -> dict[str, Any]:
        """As the stanza holds it: only what differs from the defaults."""
        config: dict[str, Any] = {"image": self.image, "command": list(self.command)}
        if self.binds:
            config["binds"] = list(self.binds)
        if self.map:
            config["map"] = list(self.map)
        if self.env:
            config["env"] = dict(self.env)
        if self.launcher_options:
            config["launcher_options"] = list(self.launcher_options)
        if self.notebook_images is not None:
            config["notebook_images"] = list(self.notebook_images)
        for name in (
            "persist",
            "user",
            "store",
            "payload",
            "batch",
            "gpus",
            "survive",
            "host_kernel",
            "launcher",
            "pull",
        ):
            if value := getattr(self, name):
                config[name] = value
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, where: str) -> KernelSettings:
        """Read a stanza's `config`; keys that are the provisioner's alone are left out."""
        names = {f.name for f in dataclasses.fields(cls)}
        chosen = {key: value for key, value in config.items() if key in names}
        if not isinstance(chosen.get("image"), str) or not chosen["image"]:
            raise KernelSpecError(f"{where}: names no image", hint=_AGAIN)
        if not _is_strings(chosen.get("command")) or not chosen["command"]:
            raise KernelSpecError(f"{where}: names no command to start in the image", hint=_AGAIN)
        if not _is_strings(chosen.get("map", [])):
            raise KernelSpecError(f"{where}: map is a list of NAME=TARGET")
        if not _is_strings(chosen.get("binds", [])) or not isinstance(chosen.get("env", {}), dict):
            raise KernelSpecError(f"{where}: binds is a list and env a mapping of strings")
        if not _is_strings(chosen.get("launcher_options", [])):
            raise KernelSpecError(f"{where}: launcher_options is a list of words")
        if chosen.get("pull") not in (None, "", *POLICIES):
            raise KernelSpecError(f"{where}: pull is one of {', '.join(POLICIES)}")
        if chosen.get("notebook_images") is not None:
            if not _is_strings(chosen["notebook_images"]):
                raise KernelSpecError(f"{where}: notebook_images is a list of patterns")
            chosen["notebook_images"] = tuple(chosen["notebook_images"])
        chosen["launcher_options"] = tuple(chosen.get("launcher_options", ()))
        chosen["command"] = tuple(chosen["command"])
        chosen["map"] = tuple(chosen.get("map", ()))
        chosen["binds"] = tuple(chosen.get("binds", ()))
        return cls(**chosen)


@dataclass(frozen=True)
class SpecFile:
    """A kernel.json of ours, as the launcher reads it."""

    path: Path
    display_name: str
    language: str
    settings: KernelSettings
    env: Mapping[str, str]  # the spec's own `env`, which the client has merged into ours


def read_spec(directory: Path) -> SpecFile:
    """The kernel spec in `directory`, which must be one of ours."""
    path = directory / "kernel.json"
    raw = read_json(path)
    stanza = our_config(raw)
    if stanza is None:
        raise KernelSpecError(
            f"{path}: is not a kernel of lpmx", hint="`lpmx kernel list` lists those"
        )
    return SpecFile(
        path=path,
        display_name=str(raw.get("display_name", directory.name)),
        language=str(raw.get("language", "python")),
        settings=KernelSettings.from_config(stanza, where=str(path)),
        env={str(k): str(v) for k, v in raw.get("env", {}).items()},
    )


def read_json(path: Path) -> dict[str, Any]:
    """A kernel.json as it stands."""
    try:
        raw = json.loads(read_small_text(path))
    except OSError as error:
        raise KernelSpecError(
            f"{path}: {error.strerror}", hint="`lpmx kernel list` lists the kernels"
        ) from error
    except ValueError as error:
        raise KernelSpecError(f"{path}: is not JSON: {error}", hint=_AGAIN) from error
    if not isinstance(raw, dict):
        raise KernelSpecError(f"{path}: is not a kernel spec", hint=_AGAIN)
    return raw


def provisioner_stanza(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The config of our stanza in a kernel.json; None where the spec is somebody else's."""
    stanza = raw.get("metadata", {}).get("kernel_provisioner", {})
    if not isinstance(stanza, dict) or stanza.get("provisioner_name") != PROVISIONER:
        return None
    config = stanza.get("config", {})
    return config if isinstance(config, dict) else {}


def our_config(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a kernel.json of ours says about its container, also where it has no stanza."""
    stanza = provisioner_stanza(raw)
    if stanza is not None:
        return stanza
    config = our_facts(raw).get("config")
    return config if isinstance(config, dict) else None


def our_facts(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `lpmx kernel install` noted in a kernel.json for its reader."""
    facts = raw.get("metadata", {}).get("lpmx", {})
    return facts if isinstance(facts, dict) else {}


def _is_strings(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


_AGAIN = "install the kernel again with `lpmx kernel install`"
