"""What a fetch shows on standard error: one line that is redrawn, or one line a layer."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from lpmx_runtime.columns import size_text
from lpmx_runtime.text import raw, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.images.registry.download import Descriptor

__all__ = ["Display"]

INTERVAL = 0.1  # seconds between two states of the progress line
WIDTH = 30


class Display:
    """What a pull shows on standard error: one line that is redrawn, or one a layer."""

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        self._name, self._quiet = name, quiet
        self._terminal = sys.stderr.isatty() and not quiet
        self._guard = threading.Lock()
        self._total = self._have = self._layers = self._whole = 0
        self._drawn = 0.0
        self._shown = False

    def begin(self, blobs: Sequence[Descriptor]) -> Display:
        """These are to come."""
        self._layers, self._total = len(blobs), sum(blob.size for blob in blobs)
        return self

    def advance(self, blob: Descriptor, size: int) -> None:  # noqa: ARG002  the interface of Meter
        """@size more bytes are here."""
        with self._guard:
            self._have += size
            if self._terminal and time.monotonic() - self._drawn >= INTERVAL:
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
            self._wipe()
            print(f"lpmx: {shown(line)}", file=sys.stderr)

    def end(self) -> None:
        """It is over."""
        with self._guard:
            self._wipe()

    def _wipe(self) -> None:
        if self._shown:
            raw(sys.stderr).write("\r\033[K")
            sys.stderr.flush()
            self._shown = False

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._shown = True
        filled = min(WIDTH, self._have * WIDTH // self._total) if self._total else WIDTH
        bar = f"[{'#' * filled}{'.' * (WIDTH - filled)}]"
        text = (
            f"{shown(self._name)}: {self._whole} of {self._layers} layers {bar} "
            f"{size_text(self._have)} of {size_text(self._total)}"
        )
        width = os.get_terminal_size(sys.stderr.fileno()).columns
        raw(sys.stderr).write(f"\r\033[K{text[: max(20, width - 1)]}")
        sys.stderr.flush()
