"""Reference files: what `pull` and `build` write in place of a SIF.

The layers are in the store already; what a workflow system wants is a file that stands for the
image. It is a line that no SIF has and a JSON object, so it can be copied and kept anywhere.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from lpmx_runtime.errors import InUseError, storage_errors
from lpmx_runtime.store.image import is_hex_digest

__all__ = [
    "Reference",
    "in_folder",
    "read_reference",
    "refuse_existing",
    "umask",
    "write_reference",
]

HEAD = b"#!/usr/bin/env -S lpmx-singularity run\n# lpmx image reference 1\n"
_FOLDER_FILE = ".lpmx-image"  # in a folder made by `build --sandbox`
_LIMIT = 4096


@dataclass(frozen=True)
class Reference:
    """An image's id (hex) and the name it was got by, "" where it had none."""

    id: str
    name: str


def in_folder(path: str) -> str:
    """Where the reference of the sandbox @path is."""
    return os.path.join(path, _FOLDER_FILE)


def read_reference(path: str) -> Reference | None:
    """The reference in the file @path; None when it is something else."""
    with open(path, "rb") as file:
        data = file.read(_LIMIT)
    if not data.startswith(HEAD):
        return None
    try:
        record = json.loads(data[len(HEAD) :])
    except ValueError:
        return None
    if not isinstance(record, dict) or not is_hex_digest(record.get("id")):
        return None
    return Reference(record["id"], str(record.get("name") or ""))


def write_reference(path: str, reference: Reference, *, force: bool) -> None:
    """Write it, whole or not at all. InUseError where @path exists and not @force."""
    if not force:
        refuse_existing(path)
    text = json.dumps({"id": reference.id, "name": reference.name})
    temporary = f"{path}.{os.getpid()}.tmp"
    with storage_errors(path):
        with open(temporary, "wb") as file:
            file.write(HEAD + text.encode() + b"\n")
        os.chmod(temporary, 0o755 & ~umask())
        os.replace(temporary, path)


def refuse_existing(path: str) -> None:
    """InUseError where there is something at @path."""
    if os.path.lexists(path):
        raise InUseError(f"{path} exists already", hint="--force replaces it")


def umask() -> int:
    """Of this process."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
