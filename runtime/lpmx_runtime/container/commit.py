"""`lpmx commit`: what a container has written becomes the top layer of a new image.

The layer is written as an archive first and then brought in as `lpmx load` would, so the image in
the store is the one that others get from `lpmx save`, and every check of an import is made.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import LpmxError, UsageError, storage_errors
from lpmx_runtime.images.archive import Blob
from lpmx_runtime.images.load import import_layer, make_view, sync_store
from lpmx_runtime.images.manifest import LayerSpec
from lpmx_runtime.images.platforms import host_platform
from lpmx_runtime.reference import check_name
from lpmx_runtime.tar.blocks import Digest
from lpmx_runtime.tar.writer import write_layer
from lpmx_runtime.text import shown

from .marks import PREFIX
from .upper import read_upper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .record import Container
    from .upper import Entry

__all__ = ["Message", "change_config", "commit"]

_COMMANDS = "CMD ENTRYPOINT ENV EXPOSE LABEL STOPSIGNAL USER VOLUME WORKDIR"
_PORT = re.compile(r"\d{1,5}(?:/(?:tcp|udp|sctp))?")


@dataclass(frozen=True)
class Message:
    """What the image's history shall say of the new layer."""

    author: str = ""
    comment: str = ""
    created_by: str = ""


@dataclass
class _Archive:
    """The one blob there is: the archive just written."""

    label: str
    path: Path

    def __contains__(self, name: str) -> bool:
        return True

    def blob(self, name: str) -> Blob:  # noqa: ARG002  there is only one
        """The archive itself."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return Blob(fd, 0, os.fstat(fd).st_size)

    def close(self) -> None:
        """Nothing is held open."""


class _Quiet:
    def begin(self, what: str, total: int) -> None:
        pass

    def advance(self, size: int) -> None:
        pass

    def end(self) -> None:
        pass


def commit(
    store: Store,
    container: Container,
    name: str = "",
    *,
    changes: Sequence[str] = (),
    message: Message | None = None,
) -> Image:
    """Make an image of @container, called @name if that is not empty.

    @changes are Dockerfile instructions that change the configuration; UsageError names one that is
    none. What programs write meanwhile may or may not be in the layer.
    """
    wanted = check_name(name) if name else ""
    base = store.image(container.image)
    config = json.loads(json.dumps(base.config))
    for line in changes:
        config["config"] = change_config(config.get("config") or {}, line)
    with store.adding(), store.workspace() as workspace:
        with storage_errors(f"container {container.label}"):
            diff_id = _write(container, workspace / "layer.tar")
        layer = LayerSpec("layer.tar", None, diff_id)
        archive = _Archive(container.label, workspace / "layer.tar")
        new = import_layer(store, archive, layer, workspace, _Quiet())
        diff_ids = (*base.diff_ids, diff_id)
        _describe(config, diff_id, container, message or Message())
        raw = json.dumps(config, sort_keys=True, separators=(",", ":")).encode()
        image_id = _sha256(raw)
        with storage_errors(f"image {wanted or image_id[:12]}"):
            make_view(store, diff_ids, workspace)
            if new:
                sync_store(store)
            store.add_image(raw, image_id, diff_ids)
            if wanted:
                store.tag(wanted, image_id)
            return store.image(image_id)


def _write(container: Container, path: Path) -> str:
    """Write the layer's archive to @path; its diff id."""
    digest = Digest()
    try:
        with open(path, "xb", buffering=1 << 20) as file:

            def write(data: bytes) -> None:
                digest.update(data)
                file.write(data)

            write_layer(_for_a_layer(read_upper(container)), write)
        return digest.hexdigest()
    finally:
        digest.close()


def _for_a_layer(entries: Iterator[Entry]) -> Iterator[Entry]:
    """@entries, all of whose names a layer can hold."""
    for entry in entries:
        if any(name.startswith(PREFIX) for name in entry.path.split(b"/")):
            raise LpmxError(
                f"/{shown(entry.path)}: no image can hold a name that begins with .wh.",
                hint="it would delete what the layers below have: rename or remove it first",
            )
        yield entry


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def _now() -> str:
    """The time of the image, $SOURCE_DATE_EPOCH where that is set (reproducible-builds.org)."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(epoch) if epoch.isascii() and epoch.isdigit() else int(time.time())
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _describe(config: dict[str, Any], diff_id: str, container: Container, said: Message) -> None:
    """Add the layer to the configuration: OCI image specification, config.md."""
    created = _now()
    step = {
        "created": created,
        "created_by": said.created_by or shlex.join(container.argv),
        "comment": said.comment,
        "author": said.author,
    }
    config["rootfs"]["diff_ids"].append(f"sha256:{diff_id}")
    config["created"] = created
    if said.author:
        config["author"] = said.author
    system, _, machine = host_platform().partition("/")
    config.setdefault("os", system)
    config.setdefault("architecture", machine)
    for stale in ("container", "container_config", "id", "parent"):
        config.pop(stale, None)  # docker's, of the image below
    history = config.get("history")
    config["history"] = [
        *(history if isinstance(history, list) else []),
        {key: value for key, value in step.items() if value},
    ]


# ---- --change


def change_config(config: dict[str, Any], line: str) -> dict[str, Any]:
    """@config, the `config` of an image configuration, after one Dockerfile instruction @line.

    An empty one changes nothing. UsageError when it is none of those that change only that.
    """
    if not line.strip():
        return config
    word, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    what = word.upper()
    handlers: dict[str, Callable[[], dict[str, Any]]] = {
        "CMD": lambda: {"Cmd": _command(rest)},
        "ENTRYPOINT": lambda: {"Entrypoint": _command(rest), "Cmd": None},
        "ENV": lambda: {"Env": _with_env(config.get("Env"), _pairs(rest, line))},
        "EXPOSE": lambda: {"ExposedPorts": _with_keys(config.get("ExposedPorts"), _ports(rest))},
        "LABEL": lambda: {"Labels": {**(config.get("Labels") or {}), **_pairs(rest, line)}},
        "STOPSIGNAL": lambda: {"StopSignal": rest},
        "USER": lambda: {"User": rest},
        "VOLUME": lambda: {"Volumes": _with_keys(config.get("Volumes"), _words(rest))},
        "WORKDIR": lambda: {"WorkingDir": _join(str(config.get("WorkingDir") or "/"), rest)},
    }
    if what not in handlers or not rest:
        raise UsageError(
            f"--change {line!r}: not an instruction that changes a configuration",
            hint=f"one of {_COMMANDS}, with its argument",
        )
    changed = {**config, **handlers[what]()}
    return {key: value for key, value in changed.items() if value is not None}


def _json_list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    good = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return value if good else None


def _command(text: str) -> list[str]:
    """The JSON form as it is, any other by the shell, as docker's builder does."""
    words = _json_list(text)
    return words if words is not None else ["/bin/sh", "-c", text]


def _words(text: str) -> list[str]:
    words = _json_list(text)
    return words if words is not None else shlex.split(text)


def _pairs(text: str, line: str) -> dict[str, str]:
    """`K=V K2="v 2"`, or the old form `K V`."""
    name, sign, value = text.partition(" ")
    if "=" not in name:
        if not sign:
            raise UsageError(f"--change {line!r}: a name without a value")
        return {name: value.strip()}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--change {line!r}: {str(error).lower()}") from error
    pairs = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not key or not sign:
            raise UsageError(f"--change {line!r}: {word!r} is not NAME=VALUE")
        pairs[key] = value
    return pairs


def _with_env(old: object, new: dict[str, str]) -> list[str]:
    lines = [line for line in old if isinstance(line, str)] if isinstance(old, list) else []
    kept = dict(line.partition("=")[::2] for line in lines)
    return [f"{key}={value}" for key, value in {**kept, **new}.items()]


def _ports(text: str) -> list[str]:
    ports = text.split()
    for port in ports:
        if not _PORT.fullmatch(port):
            raise UsageError(f"--change 'EXPOSE {text}': {port!r} is not PORT[/tcp|udp]")
    return [port if "/" in port else f"{port}/tcp" for port in ports]


def _with_keys(old: object, new: list[str]) -> dict[str, Any]:
    return {**(old if isinstance(old, dict) else {}), **{key: {} for key in new}}


def _join(folder: str, path: str) -> str:
    import posixpath

    return posixpath.normpath(posixpath.join(folder, path))
