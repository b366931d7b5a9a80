"""Is a program one of the image's own, whatever the container shows of the host besides?

A path of a container may lead into a bind: by its name (`/tmp/x/python3`), or by a symlink of the
image. What is there is not the image's, and what chooses programs without being trusted, such as a
notebook, must not choose it. Nothing is run to find out.
"""

from __future__ import annotations

import posixpath
import stat
from typing import TYPE_CHECKING

from lpmx_runtime.binds import find_bind
from lpmx_runtime.view import View

if TYPE_CHECKING:
    from collections.abc import Collection

    from lpmx_runtime.image import Image
    from lpmx_runtime.plan import Bind
    from lpmx_runtime.store import Store

STEPS_MAX = 256  # names on the way, those of symlinks counted too


def why_not(store: Store, image: Image, path: str, binds: Collection[Bind]) -> str:
    """Why `path` is no program of the layers of `image`; empty where it is one.

    `binds` are what the container shows of the host: none of them may lie on the way.
    """
    if not path.startswith("/") or "\0" in path:
        return "is not an absolute path of the container"
    found, pending = "/", path.split("/")[::-1]
    with View(store.view_path(image.chain_id)) as view:
        for _ in range(STEPS_MAX):
            while pending and pending[-1] in ("", "."):
                pending.pop()
            if not pending:
                return _why_not_a_program(view, found)
            word = pending.pop()
            if word == "..":
                found = posixpath.dirname(found)
                continue
            here = posixpath.join(found, word)
            if bind := find_bind(binds, here):
                return f"leads to {bind.dst}, which is shown of the host"
            node = view.lookup(here, follow=False)
            if node is None:
                return "is not in the image"
            target = node.link.decode(errors="surrogateescape")
            pending += target.split("/")[::-1] if target else []
            if not target:
                found = here
            elif target.startswith("/"):
                found = "/"
    return "leads through too many symlinks"


def _why_not_a_program(view: View, path: str) -> str:
    node = view.lookup(path, follow=False)
    if node is None or not stat.S_ISREG(node.mode):
        return "is not a file"
    return "" if node.mode & 0o111 else "is not executable"
