"""A line on a terminal's standard error that is redrawn in place and wiped at the end."""

from __future__ import annotations

import os
import sys
import time

from .text import raw

__all__ = ["StatusLine", "bar"]

INTERVAL = 0.1  # seconds between two states of the line
WIDTH = 30  # of the bar
_WIPE = "\r\033[K"
_COLUMNS = 80  # of a terminal that does not know its width


class StatusLine:
    """The line; whoever uses it from several threads guards it."""

    def __init__(self) -> None:
        self._drawn = 0.0
        self._visible = False

    def is_due(self) -> bool:
        """Is it time for another state of the line?"""
        return time.monotonic() - self._drawn >= INTERVAL

    def draw(self, text: str) -> None:
        """Show @text, which holds no control characters, in place of what was there."""
        self._drawn = time.monotonic()
        self._visible = True
        width = os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
        raw(sys.stderr).write(f"{_WIPE}{text[: width - 1]}")
        sys.stderr.flush()

    def wipe(self) -> None:
        """Take the line away, if there is one."""
        if self._visible:
            raw(sys.stderr).write(_WIPE)
            sys.stderr.flush()
            self._visible = False


def bar(have: int, total: int) -> str:
    """`[###......]` for @have of @total."""
    filled = min(WIDTH, have * WIDTH // total) if total else WIDTH
    return f"[{'#' * filled}{'.' * (WIDTH - filled)}]"
