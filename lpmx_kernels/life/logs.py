"""The log file of every kernel: what its process wrote to stdout and stderr.

Clients let a kernel inherit the server's terminal, so on a hub its user never sees why it died. The
files lie in the store under kernels/NAME/, the last ten starts of each kernel name.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from lpmx_runtime.store.store import make_private
from lpmx_runtime.text import shown, without_colours

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KEPT = 10
TAIL_LINES = 12
TAIL_BYTES = 16 * 1024

HARMLESS = (
    "Kernel is running over TCP without encryption",
    "frozen modules are being used",
    "Debugger warning",
    "to python to disable frozen modules",
    "PYDEVD_DISABLE_FILE_VALIDATION",
    "make the debugger miss breakpoints",
)
"""Lines that every healthy ipykernel writes: never the reason of anything."""


def log_directory(root: Path, name: str) -> Path:
    """Where the logs of the kernel spec `name` lie."""
    return root / "kernels" / name


def new_log(root: Path, name: str, kernel_id: str) -> Path:
    """The path of the log of a new kernel; the oldest logs go."""
    directory = log_directory(root, name)
    make_private(directory)
    for old in list_logs(root, name)[KEPT - 1 :]:
        with contextlib.suppress(OSError):
            old.unlink()
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return directory / f"{stamp}-{kernel_id[:8]}.log"


def list_logs(root: Path, name: str) -> Sequence[Path]:
    """All logs of a kernel spec, newest first."""
    logs = log_directory(root, name).glob("*.log")
    return sorted(logs, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def tail(path: Path, lines: int = TAIL_LINES, *, start: int = 0) -> list[str]:
    """The last lines of a log after byte `start`, without what every kernel says."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, file.seek(0, 2) - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    wanted = [
        shown(without_colours(line).rstrip().expandtabs())
        for line in text.split("\n")
        if line.strip() and not any(words in line for words in HARMLESS)
    ]
    return wanted[-lines:]
