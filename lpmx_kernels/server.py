"""An extension of Jupyter's server: kernels with `survive` outlive it and are found again.

When a server stops, it lets go of these kernels instead of ending them. When one starts, it opens a
session for each that waits (survivors.py); the provisioner then finds the living kernel under that
id and takes it over. The session's notebook shows the kernel as running, with all its variables.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from jupyter_server.extension.application import ExtensionApp

from lpmx_kernels.life import survivors
from lpmx_kernels.provisioner import LpmxProvisioner
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from lpmx_kernels.life.survivors import Survivor


class SurvivorsExtension(ExtensionApp):  # type: ignore[misc,unused-ignore]
    """Takes kernels over at the start of a server, lets go of them at its end."""

    name = "lpmx_kernels"
    description = "Kernels of lpmx that outlive the server"
    open_browser = False

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        for survivor in survivors.free(Store.open().root):
            try:
                await _open_session(serverapp, survivor)
            except Exception as error:  # noqa: BLE001  # a server that starts without it is better
                serverapp.log.warning("kernel %s is not found again: %s", survivor.kernel_id, error)

    async def stop_extension(self) -> None:
        """Let go of the kernels that are to outlive this server."""
        manager: Any = self.serverapp.kernel_manager if self.serverapp else None
        for kernel_id in list(manager.list_kernel_ids()) if manager else ():
            kernel = manager.get_kernel(kernel_id)
            if isinstance(kernel.provisioner, LpmxProvisioner) and kernel.provisioner.survive:
                kernel.stop_restarter()
                manager.stop_watching_activity(kernel_id)
                manager.remove_kernel(kernel_id)


async def _open_session(serverapp: Any, survivor: Survivor) -> None:
    root = os.path.realpath(serverapp.root_dir)
    path = os.path.relpath(os.path.realpath(survivor.notebook), root)
    inside = survivor.notebook and not path.startswith("..")
    if not inside and survivor.notebook:
        return  # another server of this user, with that folder, will want it
    name = os.path.basename(path) if inside else survivor.kernel_name
    await serverapp.session_manager.create_session(
        path=path if inside else f"{survivor.kernel_name}-{survivor.kernel_id[:8]}",
        name=name,
        type="notebook" if name.endswith(".ipynb") else "console",
        kernel_name=survivor.kernel_name,
        kernel_id=survivor.kernel_id,
    )
    serverapp.log.info("kernel %s of %s is found again", survivor.kernel_id, name)
