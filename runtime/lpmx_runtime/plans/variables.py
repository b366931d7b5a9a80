"""The environment of a start: some variables of the host, the image's ENV, and the user's -e.

The host's environment is not passed on as a whole: it speaks of programs and paths that the image
does not have. What is passed is listed here, and in docs/run.md. Later wins: host, image,
--env-file, -e.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError

from .binds import find_bind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .plan import Bind

__all__ = [
    "DEFAULT_PATH",
    "PASSED",
    "PASSED_PREFIXES",
    "build_environment",
    "pass_list",
    "parse_env",
    "parse_env_file",
]

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Variables of the host that mean the same in a container.
PASSED = frozenset({
    # terminal, time zone, display
    "TERM", "COLORTERM", "NO_COLOR", "TZ", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY",
    "SSH_AUTH_SOCK",
    # network
    "http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy",
    "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY",
    # where packages come from (those that name files: sitefiles.py)
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_NO_INDEX", "PIP_FIND_LINKS",
    "PIP_PROXY", "PIP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "UV_INDEX",
    "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS",
    "CONDA_SSL_VERIFY", "npm_config_registry", "GIT_SSL_NO_VERIFY", "NODE_USE_SYSTEM_CA",
    # what a batch system grants
    "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
    "NSLOTS", "JOB_ID", "JOB_NAME", "JOB_SCRIPT", "QUEUE", "TASK_ID",
    # our own engine's switches
    "LPMX_ENGINE", "LPMX_DEBUG",
})  # fmt: skip
PASSED_PREFIXES = ("OMP_", "MKL_", "OPENBLAS_", "SLURM_", "PBS_", "SGE_", "LSB_")
# Variables that speak of the programs and libraries of one tree: a command of another container
# gets those of its own image instead of its caller's. "X_*" is a prefix.
OF_ONE_TREE = (
    "PATH", "LD_*", "GCONV_PATH", "LOCPATH", "NLSPATH", "MANPATH", "INFOPATH", "PKG_CONFIG_*",
    "PYTHONHOME", "PYTHONPATH", "PERL5LIB", "PERLLIB", "R_HOME", "R_LIBS*", "R_ENVIRON*",
    "JAVA_HOME", "JRE_HOME", "CLASSPATH", "CONDA_*", "MAMBA_*", "NODE_PATH", "RUBYLIB", "GEM_*",
    "GOROOT", "JULIA_*", "TCLLIBPATH", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "FONTCONFIG_*", "XDG_DATA_DIRS", "XDG_CONFIG_DIRS", "TERMINFO",
)  # fmt: skip
# Variables of a container that a command of the host gets, beside those the host itself has.
HOST_PASSED = (
    "TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES", "TZ", "LANG", "LANGUAGE", "LC_*", "OMP_*",
    "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
    "SLURM_*", "SBATCH_*", "SRUN_*", "SALLOC_*", "SQUEUE_*", "SINFO_*", "SACCT_*", "SCANCEL_*",
    "SGE_*", "DRMAA_*", "PBS_*", "LSB_*",
)  # fmt: skip
_LOCALE = frozenset({"LANG", "LANGUAGE"})
_LOCALE_PREFIX = "LC_"
_DIRECTORIES = (
    "TMPDIR",
    "TMP",
    "TEMP",
    "SCRATCH",
    "XDG_RUNTIME_DIR",
)  # only where they are visible inside

_BAD_NAME = re.compile(r"[\s=\0]")


def build_environment(
    fixed: Mapping[str, str],
    host: Mapping[str, str],
    *,
    home: str,
    user: str,
    binds: Iterable[Bind] = (),
) -> dict[str, str]:
    """All variables of a start. @fixed: set by image and user; @home, @user: the shown identity."""
    binds = tuple(binds)
    env = {name: value for name, value in host.items() if _passes(name)}
    if not any(_is_locale(name) for name in fixed):
        # All of the locale or none: half of it from the host would override an image's LANG by an
        # LC_ALL.
        env |= {name: value for name, value in host.items() if _is_locale(name)}
    for name in _DIRECTORIES:
        if _is_visible(host.get(name, ""), binds):
            env[name] = host[name]
    env |= {"PATH": DEFAULT_PATH, "HOME": home}
    if user:
        env |= {"USER": user, "LOGNAME": user}
    env.update(fixed)
    return {name: value for name, value in env.items() if "\0" not in name + value}


def pass_list(fixed: Mapping[str, str], names: Iterable[str] = ()) -> str:
    """The same choice as a list for `lpmx-exec --pass`: NAME:PREFIX*:...

    For starts whose host environment is known only when they happen. @fixed as above; @names:
    further variables.
    """
    words = {*PASSED, *(f"{prefix}*" for prefix in PASSED_PREFIXES), *_DIRECTORIES, *names}
    if not any(_is_locale(name) for name in fixed):
        words |= {*_LOCALE, f"{_LOCALE_PREFIX}*"}
    return ":".join(sorted(words))


def _passes(name: str) -> bool:
    return name in PASSED or name.startswith(PASSED_PREFIXES)


def _is_locale(name: str) -> bool:
    return name in _LOCALE or name.startswith(_LOCALE_PREFIX)


def _is_visible(path: str, binds: Iterable[Bind]) -> bool:
    bind = find_bind(binds, path) if path.startswith("/") else None
    return bind is not None and bind.src == bind.dst


def parse_env(words: Iterable[str], host: Mapping[str, str]) -> dict[str, str]:
    """The variables that -e sets: NAME=VALUE, or NAME for the value the host has, if any."""
    env: dict[str, str] = {}
    for word in words:
        _set(env, word, host, f"-e {word}")
    return env


def parse_env_file(text: str, host: Mapping[str, str], *, name: str) -> dict[str, str]:
    """The variables of an --env-file, by Docker's rules.

    A line is NAME=VALUE or NAME; the value is taken as it stands, quotes and all. Blank lines and
    lines that begin with # are left out.
    """
    env: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        entry = line.lstrip()
        if entry and not entry.startswith("#"):
            _set(env, entry, host, f"{name}, line {number}")
    return env


def _set(env: dict[str, str], entry: str, host: Mapping[str, str], where: str) -> None:
    name, sign, value = entry.partition("=")
    if not name or _BAD_NAME.search(name) or "\0" in value:
        raise UsageError(
            f"{where}: {name!r} is not the name of a variable", hint="write NAME=VALUE or NAME"
        )
    if sign:
        env[name] = value
    elif name in host:
        env[name] = host[name]
