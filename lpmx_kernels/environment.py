"""The environment of a kernel: what of the host's comes along, and what the image and the user say.

An allow list, because a Jupyter server's environment is the wrong one for an image: its PYTHONPATH
and LD_LIBRARY_PATH break the image's programs, its PATH and SHELL name files the image does not
have, and JUPYTERHUB_API_TOKEN is nobody's business in there. What a user asked for by name
(kernel.json's `env`, `-e`, a client's own `env=`) always comes along.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MARKER = "LPMX_KERNEL"
"""Names the kernel in the environment of all its processes, so that none of them is left behind."""

ALLOWED = (
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TERM",
    "COLORTERM",
    "COLUMNS",
    "LINES",
    "NO_COLOR",
    "FORCE_COLOR",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "JPY_*",
    "IPYTHONDIR",
    "MPLBACKEND",
    "MPLCONFIGDIR",
    "PYDEVD_*",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "OMP_*",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_*",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "SLURM_*",
    "SGE_*",
    "JOB_ID",
    "PBS_*",
    "LSB_*",
)
"""Names (with wildcards) a kernel takes over from its client."""

DENIED = (
    "JUPYTERHUB_*",
    "*_TOKEN",
    "*_PASSWORD",
    "JUPYTER_TOKEN",
    "JPY_API_TOKEN",
    "LD_*",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONEXECUTABLE",
    "VIRTUAL_ENV*",
    "CONDA_*",
    "LPMX_*",
)
"""Names that are refused even where the client changed them; kernel.json may still set them."""

IMAGE_WINS = ("LANG", "LANGUAGE", "LC_*", "TERM", "TZ")
"""Where the image sets these, it knows which of them it has: it often lacks the host's locale."""

ALWAYS = {"PYTHONNOUSERSITE": "1"}
"""Set unless asked otherwise: ~/.local is the host's and would shadow the image's packages."""


def matches(name: str, patterns: Collection[str]) -> bool:
    """Say whether `name` is one of `patterns`."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def kernel_environment(
    client: Mapping[str, str],
    *,
    image: Mapping[str, str],
    asked: Mapping[str, str],
    server: Mapping[str, str] | None = None,
    marker: str,
) -> dict[str, str]:
    """The environment a kernel starts with.

    `client` is what the client hands over, `image` the image's ENV, `asked` what the kernel spec
    sets. Where `server` is given, a variable whose value differs from it was set by the client on
    purpose and comes along too.
    """
    env = {k: v for k, v in client.items() if _comes_along(k, v, server)}
    for name, value in image.items():
        if name not in env or not _client_wins(name):
            env[name] = value
    for name, value in ALWAYS.items():
        env.setdefault(name, value)
    env.update(asked)
    env[MARKER] = marker
    return env


def _comes_along(name: str, value: str, server: Mapping[str, str] | None) -> bool:
    if matches(name, DENIED):
        return False
    if matches(name, ALLOWED):
        return True
    return server is not None and server.get(name) != value


def _client_wins(name: str) -> bool:
    return matches(name, ALLOWED) and not matches(name, IMAGE_WINS)
