"""What programs of an image have answered, remembered with the image: it never changes.

Only answers are kept. What failed may have failed for a reason that passes, and is asked again.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

from lpmx_runtime.store.store import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["Probed"]

FILE = "programs.json"
VERSION = 1


class Probed:
    """The answers of one image's programs."""

    def __init__(self, store: Store, image: Image) -> None:
        self._path = os.fspath(store.images_dir / image.id / FILE)

    def ask(self, key: str, question: Callable[[], dict[str, str]]) -> dict[str, str]:
        """The answer to `key`: as remembered, else by `question`, whose errors are its own."""
        answers = self._read()
        if key not in answers:
            answers[key] = question()
            with contextlib.suppress(OSError):  # a store that is read-only is asked again
                data = json.dumps({"version": VERSION, "answers": answers})
                atomic_write(self._path, data.encode(), durable=False)
        return answers[key]

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            with open(self._path, "rb") as file:
                data = json.load(file)
            if data["version"] != VERSION:
                return {}
            return {
                str(key): {str(name): str(value) for name, value in answer.items()}
                for key, answer in data["answers"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
