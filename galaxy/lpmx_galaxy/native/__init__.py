"""A container type of Galaxy's own for lpmx: `lpmx_enabled: true` in a destination.

Galaxy has no entry points for container types, but loads modules for job runners that its job_conf
names (lpmx_galaxy.runner). When that happens, this registers the type `lpmx` and the resolver
`explicit_lpmx` in the tables Galaxy keeps. They are module globals of the same names from release
18.01 to 26.1, and not a promised interface: `register` looks before it leaps. Compared with
lpmx-docker as docker_cmd: one process a job instead of three, no variable's value on a command
line, and a file of provenance in the job's directory.
"""

from __future__ import annotations

import os

from .typename import TYPE

__all__ = ["TYPE", "register"]

_RESOLVERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "resolvers")


def register() -> None:
    """Make the type known to the Galaxy this runs in; a second time does nothing.

    RuntimeError, naming what is missing, on a Galaxy that keeps its tables elsewhere.
    """
    from galaxy.tool_util.deps import container_classes, container_resolvers, containers

    for module, name, kind in (
        (container_classes, "CONTAINER_CLASSES", dict),
        (container_classes, "DockerContainer", type),
        (containers, "ALL_CONTAINER_TYPES", list),
        (container_resolvers, "__path__", None),
    ):
        found = getattr(module, name, None)
        if found is None or (kind is not None and not isinstance(found, kind)):
            raise RuntimeError(
                f"this Galaxy has no {module.__name__}.{name}: use docker_enabled with"
                " docker_cmd: lpmx-docker instead of lpmx_enabled"
            )
    if TYPE not in containers.ALL_CONTAINER_TYPES:
        from .container import container_class

        container_classes.CONTAINER_CLASSES[TYPE] = container_class()
        containers.ALL_CONTAINER_TYPES.append(TYPE)
    if _RESOLVERS not in container_resolvers.__path__:
        container_resolvers.__path__.append(_RESOLVERS)
