"""What user and site have settled for all programs: `config.yaml`, where there is one.

The site's file is /etc/lpmx/config.yaml, the user's ~/.config/lpmx/config.yaml, or what
$LPMX_CONFIG names. Of each key the user's value counts, else the site's. An option of a command
wins over the environment variable, that over both files. Most have no such file: then all this is
two stats, and YAML is not imported.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import LpmxError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "JOBS",
    "POLICIES",
    "Config",
    "check_policy",
    "jobs",
    "mirrors",
    "pull_policy",
    "read_config",
    "supply",
    "user_file",
]

SITE_FILE = "/etc/lpmx/config.yaml"
POLICIES = ("missing", "always", "never")
JOBS = 3  # layers at a time


@dataclass(frozen=True)
class Config:
    """The keys of config.schema.json; None where no file has one."""

    store: str | None = None
    pull: str | None = None
    jobs: int | None = None
    supply: tuple[str, ...] | None = None
    mirrors: tuple[tuple[str, str], ...] | None = None  # registry and place, in order


def user_file(environ: Mapping[str, str] | None = None) -> str:
    """Where the user's file is, if there is one."""
    environ = os.environ if environ is None else environ
    named = environ.get("LPMX_CONFIG")
    if named:
        return os.path.expanduser(named)
    base = environ.get("XDG_CONFIG_HOME", "")
    if not base.startswith("/"):
        base = os.path.expanduser("~/.config")
    return f"{base}/lpmx/config.yaml"


def read_config() -> Config:
    """What the files say. An LpmxError names file and line of what is wrong in one."""
    path = user_file()
    site, own = _is_there(SITE_FILE), _is_there(path)
    if not own and os.environ.get("LPMX_CONFIG"):
        raise LpmxError(f"LPMX_CONFIG: {path}: no such file", exit_code=2)
    if not site and not own:
        return Config()
    from .configfile import read_file

    values = read_file(SITE_FILE) if site else {}
    return Config(**{**values, **(read_file(path) if own else {})})


def _is_there(path: str) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise LpmxError(f"{path}: {(error.strerror or '').lower()}", exit_code=2) from error
    return True


# ---- what counts in the end


def check_policy(text: str, where: str = "pull policy") -> str:
    """@text, one of POLICIES. UsageError otherwise; it begins with @where the text was found."""
    if text not in POLICIES:
        raise UsageError(f"{where}: {text!r} is not one of {', '.join(POLICIES)}")
    return text


def pull_policy(asked: str = "") -> str:
    """When images are to be fetched: as @asked by an option, else by $LPMX_PULL, else by a file."""
    if asked:
        return check_policy(asked)
    if found := os.environ.get("LPMX_PULL"):
        return check_policy(found, "LPMX_PULL")
    return read_config().pull or "missing"


def jobs(asked: int = 0) -> int:
    """How many layers are to be fetched at a time; @asked: by an option, 0 where by none."""
    if asked:
        return asked
    if found := os.environ.get("LPMX_JOBS"):
        if not found.isdecimal() or not 0 < int(found) <= 1000:
            raise UsageError(f"LPMX_JOBS: {found!r} is not a number from 1 on")
        return int(found)
    return read_config().jobs or JOBS


def supply() -> tuple[str, ...]:
    """The directories of archives."""
    listed = os.environ.get("LPMX_SUPPLY")
    if listed is not None:
        return tuple(filter(None, listed.split(":")))
    return read_config().supply or ()


def mirrors() -> tuple[tuple[str, str], ...]:
    """Registries and other places for their images, as the files have them."""
    return read_config().mirrors or ()
