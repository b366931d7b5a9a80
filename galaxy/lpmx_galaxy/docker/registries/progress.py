"""What `docker pull` prints of the layers that come: docker's words, a line each.

On a terminal one line is redrawn instead, which says how far it is.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, TextIO

from lpmx_runtime.fetch.obtain import Step
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.images.progress import Display
    from lpmx_runtime.images.registry.download import Descriptor, Meter
    from lpmx_runtime.reference import Reference

__all__ = ["Progress"]

_SHORT = 12


class Progress:
    """Of @reference, on @stream; `begin` and `warn` are what a pull wants to call."""

    def __init__(self, reference: Reference, stream: TextIO, *, quiet: bool) -> None:
        self._reference, self._stream, self._quiet = reference, stream, quiet
        self._begun = False
        self._display: Display | None = None
        self._guard = threading.Lock()

    def head(self) -> None:
        """The line before those of the layers; once."""
        if self._begun:
            return
        self._begun = True
        what = self._reference
        full = f"{what.registry}/{what.repository}@{what.digest}"
        self._print(f"{full if what.digest else what.tag}: Pulling from {what.repository}")

    def begin(self, blobs: Sequence[Descriptor]) -> Meter:
        """These are to come."""
        self.head()
        if sys.stderr.isatty() and not self._quiet:
            from lpmx_runtime.images.progress import Display

            self._display = Display(str(self._reference))
            return self._display.begin(blobs)
        for blob in blobs:
            self._print(f"{blob.digest[:_SHORT]}: Pulling fs layer")
        return self

    def advance(self, blob: Descriptor, size: int) -> None:
        """More of it is here: nothing is printed."""

    def done(self, blob: Descriptor) -> None:
        """It is whole."""
        self._print(f"{blob.digest[:_SHORT]}: Pull complete")

    def warn(self, line: str) -> None:
        """Something that the user should know; what goes on has docker's words already."""
        if isinstance(line, Step):
            return
        self.wipe()
        print(f"WARNING: {shown(line)}", file=sys.stderr, flush=True)

    def wipe(self) -> None:
        """Nothing comes any more, or something else is to be printed."""
        if self._display is not None:
            self._display.end()

    def end(self, digest: str, *, is_new: bool) -> None:
        """It is here, as @digest, which may be unknown."""
        self.head()
        if digest:
            self._print(f"Digest: {digest}")
        what = "Downloaded newer image" if is_new else "Image is up to date"
        self._print(f"Status: {what} for {self._reference}")

    def _print(self, line: str) -> None:
        if not self._quiet:
            with self._guard:
                print(line, file=self._stream, flush=True)
