"""What names in a container's upper directory mean: whiteouts, opaque marks, names of programs.

The rules are those of preload/uufs/whiteout.c and escape.c. `.wh.NAME` hides NAME of the layers and
`.wh..wh..opq` all they have in its directory; so a program's own `.wh.NAME` is `.wh+NAME` there,
its `.wh+NAME` is `.wh=+NAME` and its `.wh=NAME` is `.wh==NAME`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OPAQUE", "PREFIX", "escape", "host_path", "marks", "shown_path", "unescape", "whiteout"]

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
_STEM = b".wh"


def escape(name: bytes) -> bytes:
    """What the upper calls the name @name of a program."""
    match name[:4]:
        case b".wh.":
            return _STEM + b"+" + name[4:]
        case b".wh+" | b".wh=":
            return _STEM + b"=" + name[3:]
    return name


def unescape(name: bytes) -> bytes:
    """What programs call @name of the upper, which is no mark."""
    match name[:4]:
        case b".wh+":
            return PREFIX + name[4:]
        case b".wh=" if len(name) > len(PREFIX):
            return _STEM + name[4:]
    return name


def host_path(upper: str, path: str) -> str:
    """Where the upper has, or would have, the absolute container path @path."""
    if "/.wh" not in path:
        return upper + (path if path != "/" else "")
    return upper + os.fsdecode(b"/".join(map(escape, os.fsencode(path).split(b"/"))))


def shown_path(upper: str, host: str) -> str:
    """The container path of @host, which is @upper or below it."""
    path = os.fsencode(host[len(upper) :])
    return os.fsdecode(b"/".join(map(unescape, path.split(b"/")))) or "/"


def whiteout(upper: str, path: str) -> str:
    """The file that would hide the container path @path of the layers."""
    folder, _, name = path.rpartition("/")
    return f"{host_path(upper, folder or '/')}/{os.fsdecode(PREFIX)}{name}"


def marks(upper: str, path: str) -> Iterator[str]:
    """All files that would hide the container path @path of the layers, from the root down."""
    names = path.strip("/").split("/")
    for count in range(len(names)):
        folder = host_path(upper, "/" + "/".join(names[:count]))
        yield whiteout(upper, "/" + "/".join(names[: count + 1]))
        yield f"{folder}/{os.fsdecode(OPAQUE)}"
