"""Container images as Jupyter kernels: kernel specs, their launcher and the kernel provisioner.

`%load_ext lpmx_kernels` in a notebook gives it the magics of magics.py.
"""

from __future__ import annotations

from typing import Any


def load_ipython_extension(shell: Any) -> None:
    """For `%load_ext lpmx_kernels`."""
    from lpmx_kernels.magics import LpmxMagics

    shell.register_magics(LpmxMagics)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """For Jupyter's server: server.py."""
    from lpmx_kernels.server import SurvivorsExtension

    return [{"module": "lpmx_kernels", "app": SurvivorsExtension}]
