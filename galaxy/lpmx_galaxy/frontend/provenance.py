"""--lpmx-provenance FILE: what a tool really ran in, for those who repeat it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from lpmx_runtime import __version__
from lpmx_runtime.errors import storage_errors
from lpmx_runtime.images.registry.sources import repo_digests
from lpmx_runtime.store.store import atomic_write, without_link_layers

if TYPE_CHECKING:
    from lpmx_runtime.container.record import Container
    from lpmx_runtime.store.store import Store

__all__ = ["describe", "write"]


def describe(store: Store, container: Container) -> dict[str, object]:
    """Engine, image by digests, layers, command, binds; no variable's value: it may be secret."""
    return {
        "engine": {"name": "lpmx", "version": __version__},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "container": container.id,
        "image": {
            "name": container.image_name,
            "id": f"sha256:{container.image}",
            "digests": repo_digests(store, container.image),
            "layers": [f"sha256:{diff_id}" for diff_id in without_link_layers(container.diff_ids)],
        },
        "command": list(container.argv),
        "directory": container.cwd,
        "variables": sorted(container.env),
        "binds": [str(bind) for bind in container.binds if not bind.seed],
        "commands": [str(mapping) for mapping in container.commands.mappings],
        "ports": [list(pair) for pair in container.ports],
        "gpus": container.gpus,
    }


def write(path: str, store: Store, container: Container) -> None:
    """Write it to @path, whole or not at all."""
    with storage_errors(path):
        text = json.dumps(describe(store, container), indent=2) + "\n"
        atomic_write(path, text.encode(), mode=0o644, durable=False)
