"""Definition files that only name an image and say what to run in it.

    Bootstrap: docker
    From: debian:12
    %environment
        export LC_ALL=C.UTF-8
    %runscript
        exec /bin/bash "$@"

Sections that would change files (%post, %setup, %files) are refused: building is not done here.
Format: https://apptainer.org/docs/user/main/definition_files.html.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.smallfile import read_small_text

from .sif import read_exports

if TYPE_CHECKING:
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["Definition", "build", "parse_definition"]

_SECTION = re.compile(r"^%([a-z]+)\b", re.IGNORECASE)
_HEADER = re.compile(r"^([A-Za-z]+)\s*:\s*(\S.*?)\s*$")
_CHANGES = ("post", "setup", "files", "pre", "arguments")
_BOOTSTRAPS = ("docker", "docker-archive", "oci", "oci-archive", "oras", "localimage")


@dataclass(frozen=True)
class Definition:
    """What a definition file says."""

    bootstrap: str
    source: str
    sections: dict[str, str] = field(default_factory=dict)  # without those of comments alone


def parse_definition(text: str, name: str) -> Definition:
    """Read the definition @text of file @name. UsageError for what is not done here."""
    header: dict[str, str] = {}
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.splitlines():
        section = _SECTION.match(line)
        if section:
            current = sections.setdefault(section[1].lower(), [])
        elif current is not None:
            current.append(line)
        elif match := _HEADER.match(line):
            header[match[1].lower()] = match[2]
    full = {key: "\n".join(lines) for key, lines in sections.items() if _says(lines)}
    changes = [f"%{key}" for key in full if key in _CHANGES or key.startswith("app")]
    if changes:
        raise UsageError(
            f"{name}: {changes[0]} would build an image, which is not done here",
            hint="build it with apptainer elsewhere and give the SIF file",
        )
    bootstrap = header.get("bootstrap", "").lower()
    if bootstrap not in _BOOTSTRAPS or "from" not in header:
        raise UsageError(
            f"{name}: Bootstrap {bootstrap or 'nothing'}, From {header.get('from', 'nothing')}",
            hint=f"known are {', '.join(_BOOTSTRAPS)}",
        )
    return Definition(bootstrap, header["from"], full)


def _says(lines: list[str]) -> bool:
    return any(line.strip() and not line.strip().startswith("#") for line in lines)


def build(store: Store, path: str) -> Image:
    """The image that the definition file @path describes, recorded in the store."""
    from .sources import find_image

    try:
        definition = parse_definition(read_small_text(path, errors="replace"), path)
    except OSError as error:
        raise LpmxError(f"{path}: {error.strerror}") from error
    local = definition.bootstrap == "localimage"
    text = definition.source if local else f"{definition.bootstrap}:{definition.source}"
    base = find_image(store, text)
    return _changed(store, base, definition) if definition.sections else base


def _changed(store: Store, base: Image, definition: Definition) -> Image:
    """@base with another configuration: its layers stay what they are."""
    run = base.config.get("config")
    run = dict(run) if isinstance(run, dict) else {}
    env = {**base.env, **read_exports(definition.sections.get("environment", ""))}
    run["Env"] = [f"{name}={value}" for name, value in env.items()]
    script = definition.sections.get("runscript")
    if script:
        run["Entrypoint"] = ["/bin/sh", "-c", script, "runscript"]
        run["Cmd"] = []
    config = json.dumps({**base.config, "config": run}, sort_keys=True).encode()
    with store.adding():
        return store.add_image(config, hashlib.sha256(config).hexdigest(), base.diff_ids)
