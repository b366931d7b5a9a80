"""An image of one layer out of a tar of a file system: `docker import`, folders, unpacked SIFs."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import ArchiveError, UsageError, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["import_rootfs"]

_BLOCK = 1 << 20
_LISTS = {"CMD": "Cmd", "ENTRYPOINT": "Entrypoint"}
_TEXTS = {"WORKDIR": "WorkingDir", "USER": "User"}


def import_rootfs(
    store: Store,
    source: str,
    name: str | None,
    changes: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> Image:
    """Import the tar file @source (`-`: stdin), of any compression that lpmx reads.

    @changes are lines of a Dockerfile: CMD, ENTRYPOINT, ENV, LABEL, USER, WORKDIR. ArchiveError
    when it is no tar.
    """
    from lpmx_runtime.images.load import load

    settings = {**(config or {}), **read_changes(changes)}
    with store.workspace() as workspace:
        with storage_errors(f"{source}: unpacking to {workspace.parent}"):
            digest = _spool(source, workspace / "layer.tar")
        _describe(workspace, digest, settings)
        return load(store, workspace, name=name)[0].image


def _spool(source: str, target: Path) -> str:
    """Write the plain tar to @target; its digest in hex."""
    from lpmx_runtime.tar.blocks import decompress

    digest = hashlib.sha256()
    stdin = source == "-"
    fd = os.dup(sys.stdin.fileno()) if stdin else os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    size = 0
    with open(fd, "rb") as raw, open(target, "wb") as out:
        for block in decompress(_blocks(raw.fileno())):
            digest.update(block)
            out.write(block)
            size += len(block)
    if not size:
        raise ArchiveError(f"{source}: empty, not a tar of a file system")
    return digest.hexdigest()


def _blocks(fd: int) -> Iterator[bytes]:
    while block := os.read(fd, _BLOCK):
        yield block


def _describe(folder: Path, digest: str, settings: Mapping[str, Any]) -> None:
    """Put configuration and manifest beside layer.tar: an unpacked docker-save archive."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    (folder / "config.json").write_text(json.dumps(config))
    manifest = [{"Config": "config.json", "RepoTags": None, "Layers": ["layer.tar"]}]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def read_changes(lines: Sequence[str]) -> dict[str, Any]:
    """The image configuration that @lines of a Dockerfile ask for."""
    config: dict[str, Any] = {}
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        word, rest = word.upper(), rest.strip()
        if word in _LISTS:
            config[_LISTS[word]] = _command(rest)
        elif word in _TEXTS:
            config[_TEXTS[word]] = rest
        elif word == "ENV":
            config.setdefault("Env", []).append(_assignment(rest))
        elif word == "LABEL":
            key, _, value = _assignment(rest).partition("=")
            config.setdefault("Labels", {})[key] = value
        else:
            raise UsageError(
                f"--change {line}: not known here",
                hint=f"one of {', '.join((*_LISTS, *_TEXTS, 'ENV', 'LABEL'))}",
            )
    return config


def _command(text: str) -> list[str]:
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError as error:
            raise UsageError(f"--change: {text}: not a JSON list") from error
        return [str(word) for word in words]
    return ["/bin/sh", "-c", text]


def _assignment(text: str) -> str:
    """NAME=VALUE, also written `NAME VALUE`, without quotes."""
    name, sign, value = text.partition("=")
    if not sign or " " in name:
        name, _, value = text.partition(" ")
    return f"{name}={' '.join(shlex.split(value))}"
