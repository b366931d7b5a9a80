"""The resolver `explicit_lpmx`: the container that a tool names, whether for lpmx or for docker.

In a folder of its own, which Galaxy looks through for resolvers once it has been told of it.
"""

from __future__ import annotations

import copy
from typing import Any

from galaxy.tool_util.deps.container_resolvers.explicit import ExplicitContainerResolver

__all__ = ["ExplicitLpmxContainerResolver"]


class ExplicitLpmxContainerResolver(ExplicitContainerResolver):  # type: ignore[misc]
    """Find it in the tool's description."""

    resolver_type = "explicit_lpmx"
    container_type = "lpmx"

    def resolve(self, enabled_container_types: Any, tool_info: Any, **_: Any) -> Any:
        """The description, as one of type lpmx; None where there is none or lpmx is off."""
        if "lpmx" not in enabled_container_types:
            return None
        for description in tool_info.container_descriptions:
            if description.type in ("lpmx", "docker"):
                found = copy.deepcopy(description)
                found.type = "lpmx"
                found.explicit = True
                return found
        return None
