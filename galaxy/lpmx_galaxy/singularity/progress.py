"""What a pull shows on standard error: a line of Apptainer's, and on a terminal how far it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lpmx_runtime.fetch.obtain import Step

from . import messages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.images.registry.download import Descriptor, Meter

__all__ = ["Progress"]


class Progress:
    """Of the image called @name; `begin` and `warn` are what a pull wants to call."""

    def __init__(self, name: str) -> None:
        from lpmx_runtime.images.progress import Display

        shown = sys.stderr.isatty() and not messages.is_quiet()
        self._display = Display(name, quiet=not shown)

    def begin(self, blobs: Sequence[Descriptor]) -> Meter:
        """These are to come."""
        return self._display.begin(blobs)

    def warn(self, line: str) -> None:
        """Something that the user should know."""
        self._display.end()
        say = messages.info if isinstance(line, Step) else messages.warning
        say(line)

    def end(self) -> None:
        """It is over."""
        self._display.end()
