"""What a fetch shows on standard error: one line that is redrawn, or one line a layer."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from lpmx_runtime.columns import size_text
from lpmx_runtime.statusline import StatusLine, bar
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.images.registry.download import Descriptor

__all__ = ["Display"]


class Display:
    """What a pull shows on standard error: one line that is redrawn, or one a layer."""

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        self._name, self._quiet = name, quiet
        self._terminal = sys.stderr.isatty() and not quiet
        self._guard = threading.Lock()
        self._total = self._have = self._layers = self._whole = 0
        self._line = StatusLine()

    def begin(self, blobs: Sequence[Descriptor]) -> Display:
        """These are to come."""
        self._layers, self._total = len(blobs), sum(blob.size for blob in blobs)
        return self

    def advance(self, blob: Descriptor, size: int) -> None:  # noqa: ARG002  the interface of Meter
        """@size more bytes are here."""
        with self._guard:
            self._have += size
            if self._terminal and self._line.is_due():
                self._draw()

    def done(self, blob: Descriptor) -> None:
        """It is whole."""
        with self._guard:
            self._whole += 1
            if self._terminal:
                self._draw()
            elif not self._quiet:
                print(
                    f"layer {blob.digest[:12]}: {size_text(blob.size)} "
                    f"({self._whole} of {self._layers})",
                    file=sys.stderr,
                )

    def say(self, line: str) -> None:
        """Something that the user should know."""
        with self._guard:
            self._line.wipe()
            print(f"lpmx: {shown(line)}", file=sys.stderr)

    def end(self) -> None:
        """It is over."""
        with self._guard:
            self._line.wipe()

    def _draw(self) -> None:
        self._line.draw(
            f"{shown(self._name)}: {self._whole} of {self._layers} layers "
            f"{bar(self._have, self._total)} {size_text(self._have)} of {size_text(self._total)}"
        )
