"""A kernel that answers every cell with the reason why the real one could not be restarted.

JupyterLab shows no error of a failing restart: it stays at "Restarting" for ever. So the
provisioner starts this one, on the host, with the server's Python. Restarting it tries the real
kernel again.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel

from .fallback_reason import VARIABLE

NAME = "KernelRestartError"


class FallbackKernel(Kernel):
    """Executes nothing; says why."""

    implementation = "lpmx-fallback"
    implementation_version = "1"
    banner = "This kernel could not be restarted"
    language_info = {"name": "text", "mimetype": "text/plain", "file_extension": ".txt"}  # noqa: RUF012

    async def do_execute(self, code: str, silent: bool, *_: object, **__: object) -> dict[str, Any]:
        """Answer with the reason, as an error, so that programs that execute notebooks stop."""
        del code
        reason = os.environ.get(VARIABLE, "no reason was handed over")
        error = {"ename": NAME, "evalue": reason, "traceback": reason.splitlines()}
        if not silent:
            send: Any = self.send_response
            send(self.iopub_socket, "error", error)
        return {"status": "error", "execution_count": self.execution_count, **error}

    async def do_debug_request(self, msg: dict[str, Any]) -> dict[str, Any]:
        """Refuse: JupyterLab asks every kernel whose spec says that it can be debugged."""
        names = {"request_seq": msg.get("seq", 0), "command": msg.get("command", "")}
        return {"type": "response", "success": False, "message": self.banner, **names}


def main(arguments: list[str]) -> None:
    """Run the kernel of `-f CONNECTION_FILE`; the reason is in the environment."""
    app: Any = IPKernelApp.instance(kernel_class=FallbackKernel, ignore_cwd=True)
    app.initialize(arguments)
    app.start()


if __name__ == "__main__":
    main(sys.argv[1:])
