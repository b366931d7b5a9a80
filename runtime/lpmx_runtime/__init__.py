"""Rootless containers that compose.

The names below are what programs may count on, see docs/python.md. Everything else in this package
may change from one version to the next. Each name is imported when it is first used, so
`import lpmx_runtime` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Result, plan, run
    from .container.record import Container
    from .errors import (
        ArchiveError,
        ImageNotFoundError,
        InUseError,
        LpmxError,
        NativeMissingError,
        NotFoundError,
        StorageError,
        UsageError,
    )
    from .images.load import load
    from .images.registry.pull import pull
    from .images.save import save
    from .launch.start import Options
    from .plans.plan import LaunchPlan
    from .store.image import Image
    from .store.store import Store

__version__ = "0.1.0.dev0"
__all__ = [
    "ArchiveError",
    "Container",
    "Image",
    "ImageNotFoundError",
    "InUseError",
    "LaunchPlan",
    "LpmxError",
    "NativeMissingError",
    "NotFoundError",
    "Options",
    "Result",
    "StorageError",
    "Store",
    "UsageError",
    "load",
    "plan",
    "pull",
    "run",
    "save",
]
_ERRORS = (
    "ArchiveError", "ImageNotFoundError", "InUseError", "LpmxError", "NativeMissingError",
    "NotFoundError", "StorageError", "UsageError",
)  # fmt: skip
_PLACES = {
    **dict.fromkeys(("Result", "plan", "run"), "api"),
    **dict.fromkeys(_ERRORS, "errors"),
    "Container": "container.record",
    "Image": "store.image",
    "LaunchPlan": "plans.plan",
    "Options": "launch.start",
    "Store": "store.store",
    "load": "images.load",
    "pull": "images.registry.pull",
    "save": "images.save",
}


def __getattr__(name: str) -> Any:
    """The public name @name. AttributeError: there is none."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_PLACES[name]}", __name__), name)
