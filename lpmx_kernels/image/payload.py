"""Payloads: ipykernel for images that have a Python and no ipykernel, shown to them read-only.

A payload is a folder of the store, `payloads/ID`, made for one CPython version, libc and machine by
payload_build.py out of wheels: `site/` with the packages, compiled, and `start.py`, which puts them
first on the path of the kernel's process alone. Payloads are never changed.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lpmx_kernels.errors import KernelSpecError, NoPayloadError
from lpmx_kernels.spec.settings import CONNECTION_FILE, PAYLOAD_INSIDE
from lpmx_runtime.errors import storage_errors
from lpmx_runtime.store.store import remove_tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lpmx_runtime.store.store import Store

    from .probe import FoundPython

FOLDER = "payloads"
RECORD = "payload.json"
FORMAT = 1
OLDEST_PYTHON = (3, 8)


@dataclass(frozen=True)
class Payload:
    """A payload as its record describes it."""

    id: str
    tag: str  # cp311
    libc: str  # glibc, musl
    libc_version: str  # the oldest it runs with, as its wheels say
    machine: str
    packages: Mapping[str, str]  # name to version
    format: int = FORMAT

    @property
    def ipykernel(self) -> str:
        """The version of its ipykernel."""
        return self.packages.get("ipykernel", "")

    @property
    def kind(self) -> tuple[str, str, str]:
        """What has to be the same for one payload to stand in for another."""
        return self.tag, self.libc, self.machine

    def suits(self, python: FoundPython) -> bool:
        """Say whether it can be used by `python`."""
        if self.kind != (python.tag, python.libc, python.machine):
            return False
        # An image whose libc does not tell its version is taken at its wheels' word.
        there = python.libc_version
        return not there or _version(there) >= _version(self.libc_version)

    def to_json(self) -> str:
        """The text of its record."""
        return json.dumps(asdict(self), indent=1) + "\n"


def describe(python: FoundPython) -> str:
    """What a payload for `python` has to be made for."""
    return f"{python.tag}, {python.libc} {python.libc_version}".rstrip() + f", {python.machine}"


def command(python: FoundPython) -> tuple[str, ...]:
    """What starts the kernel of a payload by `python`."""
    return (python.path, *python.options, f"{PAYLOAD_INSIDE}/start.py", "-f", CONNECTION_FILE)


def folder(store: Store, payload_id: str) -> Path:
    """The folder of a payload."""
    return store.root / FOLDER / payload_id


def payloads(store: Store) -> list[Payload]:
    """All payloads of the store, newest first."""
    home = store.root / FOLDER
    found = []
    for path in home.iterdir() if home.is_dir() else ():
        record = path / RECORD
        if not path.name.startswith(".") and record.exists():
            found.append((record.stat().st_mtime_ns, _read(record)))
    return [payload for _, payload in sorted(found, key=lambda pair: pair[0], reverse=True)]


def find_for(store: Store, python: FoundPython) -> Payload | None:
    """The newest payload that suits `python`."""
    return next((payload for payload in payloads(store) if payload.suits(python)), None)


def locate(store: Store, payload_id: str, image_name: str) -> Path:
    """The folder of a payload that a kernel spec names, or of one that replaces it.

    Raises NoPayloadError where there is neither.
    """
    path = folder(store, payload_id)
    if (path / RECORD).exists():
        return path
    wanted = _parse_id(payload_id)
    for payload in payloads(store):
        if payload.kind == wanted[0] and _version(payload.libc_version) <= _version(wanted[1]):
            return folder(store, payload.id)
    raise NoPayloadError(
        f"kernel payload {payload_id}: is not in the store {store.root}",
        hint=f"`lpmx kernel payload build {image_name}` makes it",
    )


def remove(store: Store, payload_id: str) -> None:
    """Remove a payload; kernels that use it find another one like it, or say what to do."""
    path = folder(store, payload_id)
    if "/" in payload_id or not (path / RECORD).exists():
        raise NoPayloadError(
            f"kernel payload {payload_id}: not found", hint="`lpmx kernel payload list`"
        )
    with storage_errors(f"kernel payload {payload_id}"):
        hidden = path.with_name(f".{path.name}.{os.getpid()}")
        path.rename(hidden)
        remove_tree(hidden)


def make_id(tag: str, libc: str, libc_version: str, machine: str, digest: str) -> str:
    """The name of a payload: what it is for, and a digest of what it holds."""
    return f"{tag}-{libc}{libc_version}-{machine}-{digest}"


def _parse_id(payload_id: str) -> tuple[tuple[str, str, str], str]:
    try:
        tag, libc, machine, _ = payload_id.split("-")
    except ValueError as error:
        raise KernelSpecError(
            f"kernel payload {payload_id!r}: not a name of a payload",
            hint="install the kernel again with `lpmx kernel install`",
        ) from error
    name = libc.rstrip("0123456789.")
    return (tag, name, machine), libc.removeprefix(name)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _read(record: Path) -> Payload:
    try:
        return Payload(**json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise KernelSpecError(
            f"{record}: is not the record of a payload: {error}",
            hint=f"remove {record.parent} and build it again",
        ) from error
