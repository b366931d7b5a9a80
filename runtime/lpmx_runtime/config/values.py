"""What user and site have settled for all programs: `config.yaml`, where there is one.

The site's file is /etc/lpmx/config.yaml, the user's ~/.config/lpmx/config.yaml, or what
$LPMX_CONFIG names. Of each key the user's value counts, else the site's. An option of a command
wins over the environment variable, that over both files. Most have no such file: then all this is
two stats, and YAML is not imported.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .file import Config

__all__ = [
    "JOBS",
    "POLICIES",
    "check_policy",
    "files",
    "jobs",
    "mirrors",
    "pull_policy",
    "read_config",
    "store_root",
    "supply",
    "user_file",
]

SITE_FILE = "/etc/lpmx/config.yaml"
POLICIES = ("missing", "always", "never")
JOBS = 3  # layers at a time


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


def files() -> list[str]:
    """Those of the two files that are there; the last counts."""
    path = user_file()
    found = [name for name in (SITE_FILE, path) if _is_there(name)]
    if path not in found and os.environ.get("LPMX_CONFIG"):
        raise LpmxError(f"LPMX_CONFIG: {path}: no such file", exit_code=2)
    return found


def read_config() -> Config | None:
    """What the files contain, None where there is neither.

    Raises an LpmxError that names file and line of what is wrong in one.
    """
    found = files()
    if not found:
        return None
    from .file import read_files

    return read_files(found)


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


def store_root() -> str:
    """Where the store is: $LPMX_HOME, else as a file has it; "": where neither does."""
    home = os.environ.get("LPMX_HOME")
    if home:
        return os.path.expanduser(home)
    settled = read_config()
    return (settled.store if settled else None) or ""


def pull_policy(asked: str = "") -> str:
    """When images are to be fetched: as @asked by an option, else by $LPMX_PULL, else by a file."""
    if asked:
        return check_policy(asked)
    if found := os.environ.get("LPMX_PULL"):
        return check_policy(found, "LPMX_PULL")
    settled = read_config()
    return (settled.pull if settled else None) or "missing"


def jobs(asked: int = 0) -> int:
    """How many layers are to be fetched at a time; @asked: by an option, 0 where by none."""
    if asked:
        return asked
    if found := os.environ.get("LPMX_JOBS"):
        if not found.isdecimal() or not 0 < int(found) <= 1000:
            raise UsageError(f"LPMX_JOBS: {found!r} is not a number from 1 on")
        return int(found)
    settled = read_config()
    return (settled.jobs if settled else None) or JOBS


def supply() -> tuple[str, ...]:
    """The directories of archives."""
    listed = os.environ.get("LPMX_SUPPLY")
    if listed is not None:
        return tuple(filter(None, listed.split(":")))
    settled = read_config()
    return (settled.supply if settled else None) or ()


def mirrors() -> tuple[tuple[str, str], ...]:
    """Registries and other places for their images, as the files have them."""
    settled = read_config()
    return (settled.mirrors if settled else None) or ()
