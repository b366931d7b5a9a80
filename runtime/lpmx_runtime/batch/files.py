"""Files of a container, read from the host: through its binds, its upper directory, its layers."""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpmx_runtime import marks
from lpmx_runtime.binds import find_bind
from lpmx_runtime.errors import LpmxError

if TYPE_CHECKING:
    from lpmx_runtime.plan import Bind
    from lpmx_runtime.view import View

__all__ = ["Tree", "inside_path"]

_LINKS_MAX = 40  # as the kernel's
SIZE_MAX = 64 << 20  # bytes of a job script: batch systems take 4 MiB or so


@dataclass(frozen=True)
class Tree:
    """What a container shows, as far as finding one file goes."""

    binds: tuple[Bind, ...]
    upper: str
    layers: tuple[str, ...]
    view_file: str

    def read(self, path: str) -> bytes:
        """The contents of the file at absolute container path @path; LpmxError without one."""
        found = self.find(path)
        if found is None:
            raise LpmxError(f"{path}: no such file in the container")
        try:
            if not stat.S_ISREG(os.stat(found).st_mode):
                raise LpmxError(f"{path}: not a file")
            with open(found, "rb") as file:
                data = file.read(SIZE_MAX + 1)
        except OSError as error:
            raise LpmxError(f"{path}: {os.strerror(error.errno or 0)}") from error
        if len(data) > SIZE_MAX:
            raise LpmxError(f"{path}: too large for a job script")
        return data

    def find(self, path: str) -> str | None:
        """The host path of absolute container path @path, links followed; None: there is none."""
        from lpmx_runtime.view import View

        with View(self.view_file) as view:
            return self._walk(view, path)

    def _walk(self, view: View, path: str) -> str | None:
        pending = path.split("/")[::-1]
        here = "/"
        links = 0
        host: str | None = None
        while pending:
            word = pending.pop()
            if word in ("", "."):
                continue
            if word == "..":
                here = posixpath.dirname(here)
                continue
            here = posixpath.join(here, word)
            host, link = self._step(view, here)
            if link is not None:
                links += 1
                if links > _LINKS_MAX:
                    return None
                here = "/" if link.startswith("/") else posixpath.dirname(here)
                pending += link.split("/")[::-1]
        return host

    def _step(self, view: View, path: str) -> tuple[str | None, str | None]:
        """Host path of @path and, where it is a symlink, its text."""
        bind = find_bind(self.binds, path)
        if bind is not None:
            host = (bind.src.rstrip("/") + path[len(bind.dst.rstrip("/")) :]) or "/"
        else:
            host = marks.host_path(self.upper, path)
            if not os.path.lexists(host):
                if self._is_hidden(path):
                    return None, None
                node = view.lookup(path, follow=False)
                if node is None:
                    return None, None
                if stat.S_ISLNK(node.mode):
                    return None, os.fsdecode(node.link)
                return self.layers[node.layer] + path, None
        if os.path.islink(host):
            return host, os.readlink(host)
        return (host if os.path.lexists(host) else None), None

    def _is_hidden(self, path: str) -> bool:
        """Does a whiteout or an opaque directory of the upper hide @path of the layers?"""
        return any(os.path.lexists(mark) for mark in marks.marks(self.upper, path))


def inside_path(host: str, binds: tuple[Bind, ...], upper: str) -> str | None:
    """The container path of host path @host; None when the container does not show it."""
    best: tuple[int, str] | None = None
    for bind in binds:
        source = bind.src.rstrip("/")
        if bind.file or bind.seed or not (host == source or host.startswith(f"{source}/")):
            continue
        path = posixpath.normpath(bind.dst + host[len(source) :])
        if find_bind(binds, path) == bind and (best is None or len(source) > best[0]):
            best = (len(source), path)
    if best is not None:
        return best[1]
    if upper and (host == upper or host.startswith(f"{upper}/")):
        return marks.shown_path(upper, host)
    return None
