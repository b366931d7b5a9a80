"""The private folders of unix sockets that kernels and clients meet in, and what is left of them.

A socket's path may have 107 bytes, so the folders lie in /tmp and not in a runtime folder. Whoever
is killed leaves his behind; the next start removes those in which nobody listens.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import tempfile
import time
from pathlib import Path

PLACE = Path("/tmp")  # noqa: S108  # mkdtemp makes it private
PREFIX = "lpmx-k-"
YOUNG = 120.0
"""Seconds in which a folder may still wait for its kernel."""


def make_folder(place: Path = PLACE) -> str:
    """A new folder that only this user can enter; deserted ones go."""
    sweep(place)
    return tempfile.mkdtemp(prefix=PREFIX, dir=place)


def sweep(place: Path = PLACE) -> None:
    """Remove this user's folders that are not young and in which nobody listens."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            if ours and time.time() - found.st_mtime > YOUNG and not _is_in_use(folder):
                shutil.rmtree(folder)


def _is_in_use(folder: Path) -> bool:
    return any(_listens(path) for path in folder.iterdir())


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0.2)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # who knows: leave it
            return True
    return True
