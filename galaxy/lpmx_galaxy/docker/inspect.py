"""`lpmx-docker inspect`: what docker's says of images and containers, as far as it exists here.

The commonest call of all is a question: the exit status says whether an image is there.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from lpmx_galaxy.frontend.goflags import Flag, parse, table
from lpmx_runtime.container.names import meant
from lpmx_runtime.errors import NotFoundError, UsageError
from lpmx_runtime.text import shown

from .registries.digests import repo_digests, resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.container.record import Container
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["inspect_command"]

NAME = "lpmx-docker inspect"
_FLAGS = table([
    Flag("format", ("-f", "--format")),
    Flag("size", ("-s", "--size"), takes_value=False),
    Flag("type", ("--type",)),
])  # fmt: skip
_EPOCH = "1970-01-01T00:00:00Z"


def inspect_command(words: Sequence[str]) -> int:
    """Describe each; 1 when one is not there."""
    from lpmx_runtime.store.store import Store

    parsed = parse(words, _FLAGS, command=NAME, interspersed=True)
    if not parsed.rest:
        raise UsageError(f"{NAME}: nothing is named")
    store = Store.open()
    found, missing = [], []
    for name in parsed.rest:
        try:
            found.append(_describe(store, name, parsed.last("type")))
        except NotFoundError:
            missing.append(name)
    if parsed.last("format"):
        from lpmx_galaxy.frontend.go_template import render_rows

        if found:
            print(render_rows(found, parsed.last("format")))
    else:
        print(json.dumps(found, indent=4))
    for name in missing:
        print(f"Error: No such object: {shown(name)}", file=sys.stderr)
    return 1 if missing else 0


def _describe(store: Store, name: str, kind: str) -> dict[str, Any]:
    if kind not in ("", "image", "container"):
        raise UsageError(f"{NAME}: --type {kind}: image or container")
    # Almost always it is an image's name: what reads containers is imported if it may be another.
    if kind == "container" or (not kind and any(meant(os.fspath(store.containers_dir), name))):
        from lpmx_runtime.container.record import find

        try:
            return describe_container(find(store, name))
        except NotFoundError:
            if kind:
                raise
    return describe_image(store, resolve(store, name))


def describe_image(store: Store, image: Image) -> dict[str, Any]:
    """As `docker image inspect` describes it."""
    config = image.config
    return {
        "Id": f"sha256:{image.id}",
        "RepoTags": [name for name in image.names if "@" not in name],
        "RepoDigests": repo_digests(store, image),
        "Created": config.get("created") or _EPOCH,
        "Author": config.get("author", ""),
        "Architecture": config.get("architecture", "amd64"),
        "Os": config.get("os", "linux"),
        "Size": image.size,
        "Config": {
            "User": image.user,
            "Env": [f"{name}={value}" for name, value in image.env.items()],
            "Entrypoint": list(image.entrypoint) or None,
            "Cmd": list(image.cmd) or None,
            "WorkingDir": image.workdir if image.workdir != "/" else "",
            "Labels": image.labels or None,
        },
        "RootFS": {
            "Type": "layers",
            "Layers": [f"sha256:{diff_id}" for diff_id in image.diff_ids],
        },
    }


def describe_container(container: Container) -> dict[str, Any]:
    """As `docker container inspect` describes it."""
    running = container.runs()
    last = container.last_exit() or {}
    ports: dict[str, list[dict[str, str]]] = {}
    for inside, outside in container.ports:
        ports.setdefault(f"{inside}/tcp", []).append(
            {"HostIp": "0.0.0.0", "HostPort": str(outside)}  # noqa: S104  as docker shows it
        )
    return {
        "Id": container.id,
        "Created": _time(container.created),
        "Path": container.argv[0],
        "Args": list(container.argv[1:]),
        "Name": f"/{container.label}",
        "Image": f"sha256:{container.image}",
        "State": {
            "Status": "running" if running else "exited" if last else "created",
            "Running": bool(running),
            "Pid": running[0].process.pid if running else 0,
            "ExitCode": (last.get("status") or 0) if not running else 0,
        },
        "Config": {
            "Image": container.image_name,
            "Env": [f"{name}={value}" for name, value in container.env.items()],
            "Cmd": list(container.argv),
            "WorkingDir": container.cwd,
        },
        "HostConfig": {
            "Binds": [str(bind) for bind in container.binds if not bind.seed],
            "AutoRemove": container.auto_remove,
            "ReadonlyRootfs": container.read_only,
        },
        "Mounts": [
            {
                "Type": "bind",
                "Source": bind.src,
                "Destination": bind.dst,
                "RW": not bind.read_only,
            }
            for bind in container.binds
            if not bind.seed
        ],
        "NetworkSettings": {"Ports": ports},
    }


def _time(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
