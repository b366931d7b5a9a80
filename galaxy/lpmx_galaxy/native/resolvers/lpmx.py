"""Resolvers for containers of type `lpmx`: what a tool names, else the image of its packages.

In a directory of its own, which Galaxy looks through for resolvers once it has been told of it.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

from galaxy.tool_util.deps.container_resolvers import ContainerResolver
from galaxy.tool_util.deps.container_resolvers.explicit import ExplicitContainerResolver
from galaxy.tool_util.deps.requirements import ContainerDescription

__all__ = ["ExplicitLpmxContainerResolver", "MulledLpmxContainerResolver"]

_TYPE = "lpmx"
_log = logging.getLogger(__name__)


class ExplicitLpmxContainerResolver(ExplicitContainerResolver):  # type: ignore[misc]
    """Find it in the tool's description."""

    resolver_type = "explicit_lpmx"
    container_type = _TYPE

    def resolve(self, enabled_container_types: Any, tool_info: Any, **_: Any) -> Any:
        """The description, as one of type lpmx; None where there is none or lpmx is off."""
        if _TYPE not in enabled_container_types:
            return None
        for description in tool_info.container_descriptions:
            if description.type in (_TYPE, "docker"):
                found = copy.deepcopy(description)
                found.type = _TYPE
                found.explicit = True
                return found
        return None


class MulledLpmxContainerResolver(ContainerResolver):  # type: ignore[misc]
    """BioContainers' latest build for the tool's packages: of the store, archives or registry.

    `namespace` is where they are, quay.io/biocontainers unless the file says another.
    """

    resolver_type = "mulled_lpmx"
    container_type = _TYPE

    def __init__(self, app_info: Any = None, namespace: str = "", **kwds: Any) -> None:
        from lpmx_galaxy.site.prefetch import NAMESPACE

        super().__init__(app_info=app_info, namespace=namespace, **kwds)
        self.namespace = (namespace or NAMESPACE).rstrip("/")

    def resolve(self, enabled_container_types: Any, tool_info: Any, **_: Any) -> Any:
        """The image's description; None where no build is known or lpmx is off."""
        packages = [
            (item.name, item.version or "")
            for item in tool_info.requirements
            if item.type == "package"
        ]
        if _TYPE not in enabled_container_types or not packages:
            return None
        if tool_info.requires_galaxy_python_environment:
            return None
        name = self._latest(packages)
        return ContainerDescription(name, type=_TYPE) if name else None

    def _latest(self, packages: list[tuple[str, str]]) -> str:
        from lpmx_galaxy.builds import best_build
        from lpmx_galaxy.site.prefetch import mulled_name
        from lpmx_runtime.errors import LpmxError
        from lpmx_runtime.store.store import Store

        name = f"{self.namespace}/{mulled_name(packages)}"
        try:
            found = best_build(Store.open(), name)
        except LpmxError as error:
            _log.warning("%s: %s", name, error.message)
            return ""
        return "" if found == name else found
