"""Which variables a program gets: the image's, the caller's, and those that are set for it.

Apptainer hands the caller's whole environment on, unless --cleanenv; PATH and LD_LIBRARY_PATH are
the image's. APPTAINERENV_NAME and SINGULARITYENV_NAME set NAME, and --env comes last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError
from lpmx_runtime.plans.variables import DEFAULT_PATH, parse_env, parse_env_file
from lpmx_runtime.smallfile import read_small_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["KEPT", "container_variables", "injected", "split_env"]

# Of the caller's, though the environment be clean: what a batch system grants, and our switches.
KEPT = (
    "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
    "http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy",
    "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY",
    "TERM", "LPMX_ENGINE", "LPMX_DEBUG", "LPMX_CDI_DIRS", "LPMX_DRIVER_ROOT",
)  # fmt: skip
_NOT_PASSED = (
    "PATH",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "HOME",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "PS1",
    "DOCKER_CONFIG",  # where the host's credentials are
)
_OURS = ("LPMX_", "SINGULARITY", "APPTAINER")
_PREFIXES = ("SINGULARITYENV_", "APPTAINERENV_")  # the later wins


def injected(environ: Mapping[str, str]) -> dict[str, str]:
    """What the prefixed variables set; HOME is --home's alone."""
    found = {
        name.removeprefix(prefix): value
        for prefix in _PREFIXES
        for name, value in environ.items()
        if name.startswith(prefix)
    }
    found.pop("HOME", None)
    found.pop("", None)
    return found


def container_variables(
    image_env: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    clean: bool,
    env: Sequence[str] = (),
    env_files: Sequence[str] = (),
) -> dict[str, str]:
    """All that is set on top of the image's own."""
    chosen: dict[str, str] = {}
    if not clean:
        chosen = {
            name: value
            for name, value in environ.items()
            if name not in _NOT_PASSED and not name.startswith(_OURS)
        }
    for name in env_files:
        try:
            text = read_small_text(name, errors="surrogateescape")
            chosen.update(parse_env_file(text, environ, name=name))
        except OSError as error:
            raise UsageError(f"--env-file {name}: {error.strerror}") from error
    chosen.update(injected(environ))
    chosen.update(parse_env([word for text in env for word in split_env(text)], environ))
    _join_path(chosen, image_env.get("PATH", DEFAULT_PATH))
    return chosen


def _join_path(chosen: dict[str, str], path: str) -> None:
    """PREPEND_PATH and APPEND_PATH go around the image's PATH."""
    before, after = chosen.pop("PREPEND_PATH", ""), chosen.pop("APPEND_PATH", "")
    if before or after:
        chosen["PATH"] = ":".join(filter(None, (before, chosen.get("PATH", path), after)))


def split_env(text: str) -> list[str]:
    """`A=1,B=2` as two; a comma without a NAME= behind it belongs to the value."""
    words: list[str] = []
    for part in text.split(","):
        name, sign, _ = part.partition("=")
        if words and not (sign and name.replace("_", "a").isalnum() and not name[0].isdigit()):
            words[-1] += f",{part}"
        else:
            words.append(part)
    return words
