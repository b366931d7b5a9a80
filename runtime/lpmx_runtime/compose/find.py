"""Programs of an image by name or path, as whoever calls them would find them."""

from __future__ import annotations

import posixpath
import stat
from typing import TYPE_CHECKING, Protocol

from lpmx_runtime.environment import DEFAULT_PATH
from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lpmx_runtime.image import Image
    from lpmx_runtime.store import Store
    from lpmx_runtime.view import Node, View

    from .resolve import Composition

__all__ = ["Named", "check_commands", "find_program"]

_EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


class Named(Protocol):
    """Something that names a command of a container."""

    @property
    def command(self) -> str:
        """A name, or an absolute path of the container."""


def find_program(view: View, word: str, variables: Mapping[str, str]) -> str | None:
    """The absolute path of program @word in @view; a name is looked up along PATH."""
    if word.startswith("/"):
        return word if _is_program(view.lookup(word)) else None
    for folder in variables.get("PATH", DEFAULT_PATH).split(":"):
        path = posixpath.join(folder or "/", word)
        if path.startswith("/") and _is_program(view.lookup(path)):
            return path
    return None


def _is_program(node: Node | None) -> bool:
    return node is not None and stat.S_ISREG(node.mode) and bool(node.mode & _EXECUTABLE)


def check_commands(
    store: Store, image: Image, requests: Iterable[Named], composition: Composition | None = None
) -> None:
    """Raise UsageError unless each of @requests is a program of @image or mapped to a container.

    @composition: the environment, when @image is that of one.
    """
    from lpmx_runtime.view import View

    from .resolve import HostProgram

    commands = composition.top.commands if composition else {}
    environment = composition.top.environment if composition else None
    variables = {
        **image.env,
        **{k: v for k, v in (environment.env if environment else {}).items() if v},
    }
    with View(store.view_path(image.chain_id)) as view:
        for request in requests:
            mapped = commands.get(request.command)
            if isinstance(mapped, HostProgram):
                raise UsageError(
                    f"{request.command}: runs on the host already ({mapped.path})",
                    hint="expose only what runs in a container",
                )
            if mapped is None and find_program(view, request.command, variables) is None:
                raise UsageError(
                    f"{request.command}: {image.name} has no such program",
                    hint=_near(view, request.command, variables),
                )


def _near(view: View, command: str, variables: Mapping[str, str]) -> str | None:
    """Where the program of the same name is, for one given by a wrong path."""
    found = find_program(view, posixpath.basename(command), variables)
    return f"there is {found}" if found else None
