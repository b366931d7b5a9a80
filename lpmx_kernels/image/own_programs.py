"""Whether a program is one of the image's own, whatever else the container shows of the host.

A path of a container may lead into a bind: by its name (`/tmp/x/python3`), or by a symlink of the
image. What is there is not the image's, and what chooses programs without being trusted, such as a
notebook, must not choose it. Nothing is run to find out.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from lpmx_runtime.union.programs import is_executable
from lpmx_runtime.union.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lpmx_runtime.plans.plan import Bind
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

REASONS = {
    errno.EXDEV: "leads to what is shown of the host",
    errno.ELOOP: "leads through too many symlinks",
}
MISSING = "is not in the image"


def why_not(store: Store, image: Image, path: str, binds: Iterable[Bind]) -> str:
    """Why `path` is no program of the layers of `image`; empty where it is one.

    `binds` are what the container shows of the host: none of them may be on the way.
    """
    with Tree.of_image(store, image, binds) as tree:
        return why_not_in(tree, path)


def why_not_in(tree: Tree, path: str) -> str:
    """The same for the open tree of an image and its binds."""
    if not path.startswith("/") or "\0" in path:
        return "is not an absolute path of the container"
    try:
        hit = tree.walk(os.fsencode(path), cross_binds=False)
    except OSError as error:
        return REASONS.get(error.errno or 0, MISSING)
    except UnicodeEncodeError:
        return MISSING
    if hit.absent:
        return MISSING
    if not stat.S_ISREG(tree.kind(hit)):
        return "is not a file"
    return "" if is_executable(tree, hit) else "is not executable"
