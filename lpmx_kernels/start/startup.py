"""What a kernel's program is kept from doing of its own accord in the folder of a notebook.

R reads .Renviron and .Rprofile of the folder it starts in, and the workspace .RData, whose `.First`
it calls. In a notebook's folder these are of whoever wrote the notebook, so a kernel reads the
user's own alone. Who wants a project's says so: `-e R_PROFILE_USER=.Rprofile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAIN = "IRkernel::main()"
_OWN = {"R_PROFILE_USER": "~/.Rprofile", "R_ENVIRON_USER": "~/.Renviron"}
_NO_WORKSPACE = "--no-restore"


def is_r(command: Sequence[str]) -> bool:
    """Say whether a kernel's command starts R."""
    return _MAIN in command


def command(words: Sequence[str]) -> tuple[str, ...]:
    """A kernel's command, with what keeps it to the user's own files."""
    if not is_r(words) or _NO_WORKSPACE in words:
        return tuple(words)
    return (words[0], _NO_WORKSPACE, *words[1:])


def environment(words: Sequence[str], container: Mapping[str, str]) -> dict[str, str]:
    """The variables that do the same, but for those that the container's own settings name."""
    if not is_r(words):
        return {}
    return {name: value for name, value in _OWN.items() if name not in container}
