"""What happens in a fetch as JSON, one object a line: `lpmx pull --json`.

{"event": "start", "name": ..., "size": BYTES, "layers": [{"digest": ..., "size": ...}, ...]}
{"event": "progress", "name": ..., "have": BYTES, "size": BYTES}
{"event": "layer", "name": ..., "digest": ..., "size": BYTES}
{"event": "note", "name": ..., "text": ...}
{"event": "error", "name": ..., "message": ..., "hint": ... or null}
{"event": "image", "name": ..., "id": ..., "digest": ..., ...}
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.errors import LpmxError
    from lpmx_runtime.images.registry.download import Descriptor

__all__ = ["Events"]

INTERVAL = 0.5  # seconds between two states of progress


class Events:
    """Prints the events of image @name; it is a Meter."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._guard = threading.Lock()
        self._have = self._total = 0
        self._printed = time.monotonic()

    def begin(self, blobs: Sequence[Descriptor]) -> Events:
        """These are to come."""
        self._total = sum(blob.size for blob in blobs)
        layers = [{"digest": f"sha256:{blob.digest}", "size": blob.size} for blob in blobs]
        with self._guard:
            self._print("start", size=self._total, layers=layers)
        return self

    def advance(self, blob: Descriptor, size: int) -> None:  # noqa: ARG002  the interface of Meter
        """@size more bytes are here."""
        with self._guard:
            self._have += size
            if time.monotonic() - self._printed >= INTERVAL:
                self._printed = time.monotonic()
                self._print("progress", have=self._have, size=self._total)

    def done(self, blob: Descriptor) -> None:
        """It is whole."""
        with self._guard:
            self._print("layer", digest=f"sha256:{blob.digest}", size=blob.size)

    def say(self, line: str) -> None:
        """Something that the user should know."""
        with self._guard:
            self._print("note", text=line)

    def fail(self, error: LpmxError) -> None:
        """The image cannot be had."""
        with self._guard:
            self._print("error", message=error.message, hint=error.hint)

    def finish(self, row: dict[str, object]) -> None:
        """The image is here."""
        with self._guard:
            self._print("image", **row)

    def _print(self, event: str, **values: object) -> None:
        print(json.dumps({"event": event, "name": self._name, **values}), flush=True)
