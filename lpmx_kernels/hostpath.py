"""Where on the host a kernel's path lies, for a client that opens the file of a traceback."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from lpmx_runtime import marks
from lpmx_runtime.binds import find_bind
from lpmx_runtime.view import View

if TYPE_CHECKING:
    from lpmx_runtime.plan import LaunchPlan

LINKS_MAX = 40


def resolve(plan: LaunchPlan, path: str) -> str | None:
    """The host's name of container path `path`, which may be relative; None where there is none.

    A host's name of a file of the container, as this function gives it, stands for itself.
    """
    return _host_name(plan, path) or _own(plan, path)


def _own(plan: LaunchPlan, path: str) -> str | None:
    path = posixpath.normpath(path)
    roots = (plan.upper, *plan.layers)
    ours = any(root and path.startswith(f"{root}/") for root in roots)
    return _existing(path) if ours else None


def _host_name(plan: LaunchPlan, path: str) -> str | None:
    path = posixpath.normpath(posixpath.join(plan.cwd, path))
    for _ in range(LINKS_MAX):
        bind = find_bind(plan.binds, path)
        if bind is not None:
            return _existing(posixpath.join(bind.src, path[len(bind.dst) :].lstrip("/")))
        upper = marks.host_path(plan.upper, path)
        if not os.path.islink(upper):
            return _existing(upper) or _in_layers(plan, path)
        target = posixpath.join(posixpath.dirname(path), os.readlink(upper))
        path = posixpath.normpath(target)
    return None


def _existing(path: str) -> str | None:
    return path.rstrip("/") if os.path.exists(path) else None


def _in_layers(plan: LaunchPlan, path: str) -> str | None:
    if any(os.path.lexists(mark) for mark in marks.marks(plan.upper, path)):
        return None
    with View(plan.view) as view:
        node = view.lookup(path)
        if node is None:
            return None
        layer, names = plan.layers[node.layer], []
        while node.index != 0:
            names.append(os.fsdecode(node.name))
            node = view.node(node.parent)
    return posixpath.join(layer, *reversed(names))
