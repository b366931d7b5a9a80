"""What kernels with an image's own ipykernel are shown of ours: their start, and the magics.

Single files, bound read-only to where a payload would be. A command that starts inside/own.py asks
for them, so nothing in the store and nothing in the image has to be made.
"""

from __future__ import annotations

import os
from importlib import resources
from typing import TYPE_CHECKING

from lpmx_kernels.spec.settings import PAYLOAD_INSIDE as INSIDE
from lpmx_runtime.plans.plan import Bind

if TYPE_CHECKING:
    from collections.abc import Sequence

START = f"{INSIDE}/own.py"
"""Container path of the program that starts an image's own ipykernel."""
MAGICS = ("__init__.py", "magics.py")
"""What of this package `%load_ext lpmx_kernels` needs."""


def binds(command: Sequence[str]) -> list[Bind]:
    """What a kernel's command needs of ours; nothing, unless it starts `START`."""
    if START not in command:
        return []
    ours = resources.files("lpmx_kernels")
    shown = {START: ours / "inside" / "own.py"}
    shown |= {f"{INSIDE}/site/lpmx_kernels/{name}": ours / name for name in MAGICS}
    return [
        Bind(os.fspath(source), path, read_only=True, file=True)  # type: ignore[call-overload]
        for path, source in shown.items()
    ]
