"""Paths as the user names them, made absolute."""

from __future__ import annotations

import os

__all__ = ["plain_path"]


def plain_path(path: str | os.PathLike[str]) -> str:
    """@path from the working directory on, without "//", "." and "..".

    It keeps the name that it was given, symlinks and all: another node may have the same directory
    behind other ones. With a ".." it is the kernel's name, for only the kernel knows what is above.
    """
    path = os.fspath(path)
    if not path.startswith("/"):
        path = os.path.join(os.getcwd(), path)
    if ".." in path.split("/"):
        return os.path.realpath(path)
    return "/" + os.path.normpath(path).lstrip("/")
