"""LANG for images that say nothing of it.

Without it Python, R and perl take every byte above 127 for an error. C.UTF-8 is musl's own, built
into glibc 2.35 and later, and a file with Debian's older ones; where an image cannot have it,
nothing is set, because perl complains on stderr about a locale that is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["default_locale"]

_FILES = ("/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8", "/lib/ld-musl-x86_64.so.1")


def default_locale(store: Store, image: Image, env: Mapping[str, str]) -> dict[str, str]:
    """LANG=C.UTF-8 where nobody set a locale and the image has that one."""
    if any(name == "LANG" or name.startswith("LC_") for name in (*image.env, *env)):
        return {}
    from lpmx_runtime.union.view import View

    with View(store.view_path(image.chain_id)) as view:
        return {"LANG": "C.UTF-8"} if any(view.lookup(path) for path in _FILES) else {}
