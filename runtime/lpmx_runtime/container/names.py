"""Which containers a name may mean, told by the store's folders without reading any record.

Apart from container.py because most who ask get the answer "none": Galaxy kills each container
after its end, and asks whether an image is there by a name that could be a container's too.
"""

from __future__ import annotations

import os
import re

__all__ = ["NAME", "NAMES", "ids", "meant", "read_link"]

NAMES = ".names"  # the folder of links from names to ids
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
ID_PREFIX = 4  # fewer hex digits than this are taken for a name only


def ids(root: str) -> list[str]:
    """The ids of all containers in folder @root."""
    return [name for name in os.listdir(root) if not name.startswith(".")]


def read_link(link: str) -> str:
    """Where @link points; "" where it is none."""
    try:
        return os.readlink(link)
    except OSError:
        return ""


def meant(root: str, name: str) -> tuple[str, list[str]]:
    """The id that bears @name, "" if none does, and the ids that start with it."""
    named = read_link(os.path.join(root, NAMES, name)) if NAME.fullmatch(name) else ""
    if len(name) < ID_PREFIX or name.strip("0123456789abcdef"):
        return named, []
    return named, [entry for entry in ids(root) if entry.startswith(name)]
