"""A Jupyter of a test's own: kernels installed by lpmx, and sessions with them as clients have."""

from __future__ import annotations

import ast
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.lpmx import Completed, Lpmx

READY = 60.0


@dataclass(frozen=True)
class Jupyter:
    """A Jupyter of this test's own, with kernels installed by lpmx."""

    folder: Path
    store: Lpmx

    @property
    def environment(self) -> dict[str, str]:
        return {
            "JUPYTER_DATA_DIR": str(self.folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(self.folder / "runtime"),
            "JUPYTER_CONFIG_DIR": str(self.folder / "config"),
            "IPYTHONDIR": str(self.folder / "ipython"),
        }

    @property
    def kernels(self) -> Path:
        return self.folder / "data" / "kernels"

    def lpmx(self, *arguments: str, check: bool = True) -> Completed:
        return self.store(*arguments, env=self.environment, check=check)

    def spec(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.kernels / name / "kernel.json").read_text()))

    def change_stanza(self, name: str, **config: object) -> None:
        spec = self.spec(name)
        spec["metadata"]["kernel_provisioner"]["config"].update(config)
        (self.kernels / name / "kernel.json").write_text(json.dumps(spec))


class Session:
    """A running kernel and a client of it."""

    def __init__(self, manager: KernelManager) -> None:
        self.manager = manager
        self.client = manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=READY)

    def value(self, expression: str) -> Any:
        """What an expression evaluates to in the kernel."""
        reply = self.client.execute(
            "", user_expressions={"x": expression}, reply=True, timeout=READY
        )["content"]
        found = reply.get("user_expressions", {}).get("x") or reply
        assert found["status"] == "ok", found.get("evalue", found)
        return ast.literal_eval(found["data"]["text/plain"])

    def run(self, code: str) -> str:
        """What a cell prints; its traceback if it fails."""
        printed: list[str] = []

        def collect(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                printed.append(content["text"])
            elif message["msg_type"] == "error":
                printed.append(f"{content['ename']}: {content['evalue']}")

        # Else ipykernel aborts what it gets within a moment of a cell that fails, asked for or not.
        self.client.execute_interactive(
            code, output_hook=collect, stop_on_error=False, timeout=READY
        )
        return "".join(printed)

    def start_busy(self, code: str) -> str:
        """Start a cell and return once it runs: its id."""
        # The status "busy" is no sign: ipykernel says so before it lets itself be interrupted.
        code = f"print('it runs', flush=True)\n{code}"
        return self._start(code)

    def start_busy_shell(self, code: str) -> str:
        """The same for a shell kernel."""
        return self._start(f"echo it runs\n{code}")

    def _start(self, code: str) -> str:
        request: str = self.client.execute(code, stop_on_error=False)
        wait_until(lambda: self._has_printed(request), "the cell runs")
        return request

    def _has_printed(self, request: str) -> bool:
        message = self.client.get_iopub_msg(timeout=READY)
        ours = message["parent_header"].get("msg_id") == request
        return ours and message["msg_type"] == "stream"

    def reply(self, request: str) -> dict[str, Any]:
        """The reply to a cell started by `start_busy`."""
        while True:
            message = self.client.get_shell_msg(timeout=READY)
            if message["parent_header"].get("msg_id") == request:
                return dict(message["content"])

    def restart(self) -> None:
        self.manager.restart_kernel()
        self.client.wait_for_ready(timeout=READY)

    @property
    def marker(self) -> str:
        assert self.manager.kernel_id
        return str(self.manager.kernel_id)

    def end(self, *, now: bool = False) -> None:
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=now)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def start_session(
    jupyter: Jupyter, name: str, connection_file: str = "", **options: Any
) -> Session:
    """A session with a new kernel of that name."""
    specs = KernelSpecManager(kernel_dirs=[str(jupyter.kernels)])
    place = {"connection_file": connection_file} if connection_file else {}
    manager = KernelManager(kernel_name=name, kernel_spec_manager=specs, **place)
    manager.start_kernel(**options)
    return Session(manager)


def hide_modules() -> None:
    """Put modules here that must not be found in place of those that a kernel on the host needs."""
    for name in ("json", "psutil"):
        Path(f"{name}.py").write_text("raise SystemExit('a module of the notebook folder')\n")


def containers(jupyter: Jupyter) -> list[Any]:
    return list(json.loads(jupyter.lpmx("--json", "ps", "-a").stdout))
