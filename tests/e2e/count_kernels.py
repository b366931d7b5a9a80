"""A pytest plugin for the suites of others: counts the kernels that our provisioner starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lpmx_kernels.provisioner import LpmxProvisioner

started = 0
_launch = LpmxProvisioner.launch_kernel


async def _counted(self: Any, *args: Any, **kwargs: Any) -> Any:
    global started  # noqa: PLW0603
    started += 1
    return await _launch(self, *args, **kwargs)


LpmxProvisioner.launch_kernel = _counted  # type: ignore[method-assign]


def pytest_sessionfinish() -> None:
    Path(os.environ["COUNT_KERNELS_FILE"]).write_text(str(started))
