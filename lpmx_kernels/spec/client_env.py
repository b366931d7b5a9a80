"""What a kernel gets of its client's environment, beyond what every container gets of the host's.

A Jupyter server's environment is the wrong one for an image: its PYTHONPATH and LD_LIBRARY_PATH
break the image's programs, its PATH and SHELL name files the image does not have, and
JUPYTERHUB_API_TOKEN is nobody's business in there. The runtime's allow list deals with that
(lpmx_runtime/environment.py). Here are the names that Jupyter needs besides, and what somebody set
on purpose: kernel.json's `env`, `-e`, a client's own `env=`.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MARKER = "LPMX_KERNEL"
"""Names the kernel in the environment of all its processes, so that none of them is left behind."""

ALLOWED = ("JPY_*", "IPYTHONDIR", "MPLBACKEND", "MPLCONFIGDIR", "PYDEVD_*", "NUMEXPR_*", "HOME")
"""Names (with wildcards) that a kernel takes over from its client."""

DENIED = (
    "PATH",
    "SHELL",
    "PWD",
    "OLDPWD",
    "TMPDIR",
    "JUPYTERHUB_*",
    "*_TOKEN",
    "*_PASSWORD",
    "LD_*",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONEXECUTABLE",
    "VIRTUAL_ENV*",
    "CONDA_*",
    "LPMX_*",
)
"""Names that are refused even where the client changed them; kernel.json may still set them."""

ALWAYS = {
    "PYTHONNOUSERSITE": "1",
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
}
"""Set unless asked otherwise. ~/.local is the host's and would shadow the image's packages. A pip
in a cell writes to the container's own layer, so a distribution that guards its packages against
pip (PEP 668) has nothing to fear.
"""


def kernel_environment(
    client: Mapping[str, str],
    *,
    asked: Mapping[str, str],
    server: Mapping[str, str] | None = None,
    marker: str,
) -> dict[str, str]:
    """Variables of a kernel that come before those of the image and of the host.

    `client` is what the client hands over, `asked` what the kernel spec sets. Where `server` is
    given, a variable whose value differs from it was set by the client on purpose and comes along
    too.
    """
    env = {name: value for name, value in client.items() if _comes_along(name, value, server)}
    return {**env, **ALWAYS, **asked, MARKER: marker}


def _comes_along(name: str, value: str, server: Mapping[str, str] | None) -> bool:
    if _matches(name, DENIED):
        return False
    return _matches(name, ALLOWED) or (server is not None and server.get(name) != value)


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
