"""What can be wrong with a GPU."""

from __future__ import annotations

from lpmx_runtime.errors import LpmxError

__all__ = ["GpuError"]


class GpuError(LpmxError):
    """There is no GPU as asked for, or the image cannot use it."""
