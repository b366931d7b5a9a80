"""`lpmx-docker` version, info, build: what this is, and what it does not do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from lpmx_galaxy.frontend.goflags import Flag, parse, table
from lpmx_runtime import __version__
from lpmx_runtime.errors import LpmxError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["build_command", "info_command", "version_command", "version_line"]

DOCKER = "28.0.0"  # the version whose command line is understood
API = "1.48"
_FORMAT = table([Flag("format", ("-f", "--format"))])


def version_line() -> str:
    """The one line of --version, in docker's shape: scripts look for the number."""
    return f"Docker version {DOCKER}, build lpmx-{__version__}"


def version_command(words: Sequence[str]) -> int:
    """Print the versions."""
    parsed = parse(words, _FORMAT, command="lpmx-docker version", interspersed=True)
    common = {"Version": DOCKER, "ApiVersion": API, "Os": "linux", "Arch": "amd64"}
    data: dict[str, Any] = {
        "Client": {**common, "GitCommit": f"lpmx-{__version__}"},
        "Server": {
            **common,
            "Components": [{"Name": "lpmx", "Version": __version__}],
            "GitCommit": f"lpmx-{__version__}",
        },
    }
    if parsed.last("format"):
        from lpmx_galaxy.frontend.go_template import render

        print(render(data, parsed.last("format")))
        return 0
    for part in ("Client", "Server"):
        print(f"{part}: lpmx-docker {__version__}, the command line of docker {DOCKER}")
    print(" there is no daemon: both are this program")
    return 0


def info_command(words: Sequence[str]) -> int:
    """Print what is here, and what was asked for in vain so far."""
    from lpmx_galaxy.frontend import unenforced as notes
    from lpmx_runtime.container.record import list_containers
    from lpmx_runtime.fetch.supply import directories
    from lpmx_runtime.store.store import Store

    parsed = parse(words, _FORMAT, command="lpmx-docker info", interspersed=True)
    store = Store.open()
    containers = list_containers(store)
    running = sum(1 for container in containers if container.runs())
    data: dict[str, Any] = {
        "ServerVersion": DOCKER,
        "Driver": "lpmx",
        "DockerRootDir": os.fspath(store.root),
        "Images": len(store.image_ids()),
        "Containers": len(containers),
        "ContainersRunning": running,
        "OSType": "linux",
        "Architecture": os.uname().machine,
        "NCPU": len(os.sched_getaffinity(0)),
        "SecurityOptions": ["name=rootless"],
        "Supply": directories(store),
        "NotEnforced": notes.known(store),
    }
    if parsed.last("format"):
        from lpmx_galaxy.frontend.go_template import render

        print(render(data, parsed.last("format")))
        return 0
    print(f"lpmx-docker {__version__}, the command line of docker {DOCKER}; no daemon, no root")
    print(f"store: {data['DockerRootDir']}")
    print(f"images: {data['Images']}  containers: {data['Containers']} ({running} running)")
    print(f"folders of archives: {', '.join(data['Supply']) or 'none'}")
    print("asked for, and not enforceable here:" if data["NotEnforced"] else "nothing was ignored")
    for line in data["NotEnforced"]:
        print(f"  {line}")
    return 0


def build_command(_words: Sequence[str]) -> int:
    """Refuse: building from a Dockerfile is not there yet."""
    raise LpmxError(
        "build: lpmx cannot build images from a Dockerfile",
        hint="build it with docker, podman or buildah elsewhere, `docker save` it, and"
        " `lpmx load` the archive here",
    )
