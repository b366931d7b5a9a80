"""Where on the host a kernel's path lies, for a client that opens the file of a traceback."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from lpmx_runtime.binds import find_bind

if TYPE_CHECKING:
    from lpmx_runtime.plan import LaunchPlan

WHITEOUT = ".wh."


def resolve(plan: LaunchPlan, path: str) -> str | None:
    """The host's name of container path `path`, which may be relative; None where there is none."""
    path = posixpath.normpath(posixpath.join(plan.cwd, path))
    bind = find_bind(plan.binds, path)
    if bind is not None:
        found = posixpath.join(bind.src, path[len(bind.dst) :].lstrip("/")).rstrip("/")
        return found if os.path.exists(found) else None
    for root in (plan.upper, *reversed(plan.layers)):
        found = root + path
        if os.path.exists(found):
            return found
        folder, name = posixpath.split(found)
        if os.path.lexists(posixpath.join(folder, WHITEOUT + name)):
            return None
    return None
