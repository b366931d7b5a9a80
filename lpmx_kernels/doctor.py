"""`lpmx kernel doctor`: looks at everything a kernel needs, starts it and lets it compute 1+1."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpmx_kernels.image import payload
from lpmx_kernels.nodes.queues import find_queue
from lpmx_kernels.spec.settings import PROVISIONER, SpecFile, read_json, read_spec
from lpmx_kernels.start import source
from lpmx_runtime.config.values import pull_policy
from lpmx_runtime.doctor.finding import Finding
from lpmx_runtime.errors import ImageNotFoundError, LpmxError
from lpmx_runtime.fetch.obtain import finder
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lpmx_kernels.spec.kernelspec import InstalledSpec
    from lpmx_runtime.doctor import Site

READY_TIMEOUT = 60.0
ONE_AND_ONE = {"python": "print(1+1)", "R": "cat(1+1)", "bash": "echo $((1+1))"}
REPLY_TIMEOUT = 30.0


class Doctor:
    """Examines one kernel spec; what fails ends it, as the rest would only fail too."""

    def __init__(self, installed: InstalledSpec, show: Callable[[Finding], None]) -> None:
        self.installed = installed
        self.show = show
        self.findings: list[Finding] = []
        self._spec: SpecFile | None = None

    def examine(self) -> bool:
        """Look at everything; True where all is well."""
        for what, check in (
            ("kernel spec", self._check_spec),
            ("launcher", self._check_launcher),
            ("provisioner", self._check_provisioner),
            ("image", self._check_image),
            ("kernel", self._check_tier),
            ("place", self._check_place),
            ("start", self._check_start),
        ):
            try:
                finding = Finding(what, "ok", check())
            except LpmxError as error:
                finding = Finding(what, "problem", error.message, error.hint or "")
            self.findings.append(finding)
            self.show(finding)
            if not finding.good:
                return False
        return True

    @property
    def spec(self) -> SpecFile:
        """The kernel.json, once it was read."""
        if self._spec is None:
            self._spec = read_spec(self.installed.directory)
        return self._spec

    def _check_spec(self) -> str:
        return f'"{self.spec.display_name}" in {self.installed.directory}'

    def _check_launcher(self) -> str:
        argv = read_json(self.spec.path).get("argv", [])
        program = argv[0] if argv else ""
        if not os.access(program, os.X_OK):
            raise LpmxError(
                f"{program or 'argv'}: cannot be started",
                hint="lpmx was moved or removed; install the kernel again",
            )
        return str(program)

    def _check_provisioner(self) -> str:
        if self.installed.plain:
            return "none (--plain): Jupyter starts the launcher"
        from importlib.metadata import entry_points

        found = entry_points(group="jupyter_client.kernel_provisioners", name=PROVISIONER)
        if not list(found):
            raise LpmxError(
                f"{PROVISIONER} is not registered in this Python",
                hint="`pip install lpmx-kernels` where Jupyter is installed",
            )
        return f"{PROVISIONER} is registered in this Python"

    def _check_image(self) -> str:
        settings = self.spec.settings
        store = Store.open(settings.store or None)
        image = source.find_image(store, settings.image, find=finder(store, settings.pull))
        kept = f", kept in container {settings.persist}" if settings.persist else ""
        return (
            f"{image.name} ({image.short_id}, {len(image.diff_ids)} layers) in {store.root}{kept}"
        )

    def _check_tier(self) -> str:
        settings, tier = self.spec.settings, self.installed.tier
        if settings.payload:
            store = Store.open(settings.store or None)
            place = payload.locate(store, settings.payload, settings.image)
            return f"{tier}: {settings.command[0]} with {place}"
        if settings.host_kernel and not find_spec("ipykernel"):
            raise LpmxError(
                f"{sys.executable} has no ipykernel, which runs the kernel on the host",
                hint="`pip install ipykernel` where lpmx is installed",
            )
        return f"{tier}: {settings.command[0]}"

    def _check_place(self) -> str:
        queue = find_queue(self.spec.settings.launcher)
        if queue is None:
            return "this machine"
        program = shutil.which(queue.program)
        if program is None:
            raise LpmxError(
                f"there is no program {queue.program} here",
                hint="start Jupyter on a machine from which jobs can be submitted",
            )
        words = shlex.join([program, *self.spec.settings.launcher_options])
        return f"a node of {queue.name}, by {words}"

    def _check_start(self) -> str:
        report = start_and_evaluate(self.installed, ONE_AND_ONE[self.spec.language])
        return (
            f"ready in {report['ready_ms']:.0f} ms, 1+1 = {report['result']} "
            f"in {report['execute_ms']:.0f} ms, ended cleanly"
        )


def installed_kernels(site: Site) -> Iterator[Finding]:
    """For `lpmx doctor`: the kernels that Jupyter knows here, and whether their images are there.

    Looks and starts nothing; `lpmx kernel doctor NAME` starts one.
    """
    from lpmx_kernels.spec.kernelspec import installed_specs

    specs = list(installed_specs())
    lost: list[str] = []
    absent: list[str] = []
    for spec in specs:
        settings = None
        try:
            settings = read_spec(spec.directory).settings
            root = Path(settings.store or site.store)
            if not (root / "version").exists():  # looking must not make one
                raise LpmxError(f"{root}: no store")
            source.find_image(Store.open(root), settings.image)
        except ImageNotFoundError as error:
            fetched = settings is not None and pull_policy(settings.pull) != "never"
            (absent if fetched else lost).append(f"{spec.name} ({error.message})")
        except LpmxError as error:
            lost.append(f"{spec.name} ({error.message})")
        except PermissionError:  # somebody else's, installed for all
            lost.append(f"{spec.name} (its store {root} is not yours to read)")
    if lost:
        advice = "`lpmx kernel doctor NAME` says more; load the image again or remove the kernel"
        yield Finding("Jupyter kernels", "problem", f"cannot start: {', '.join(lost)}", advice)
    elif absent:
        advice = "`lpmx pull IMAGE` fetches one now"
        text = f"their images are fetched when they start: {', '.join(absent)}"
        yield Finding("Jupyter kernels", "note", text, advice)
    else:
        names = ", ".join(spec.name for spec in specs)
        yield Finding("Jupyter kernels", "ok", names or "none installed")


def start_and_evaluate(installed: InstalledSpec, code: str) -> dict[str, Any]:
    """Start the kernel as a client does, run `code`, shut it down: what it printed; times in ms."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import KernelManager

    specs = KernelSpecManager(kernel_dirs=[str(installed.directory.parent)])
    manager = KernelManager(kernel_name=installed.name, kernel_spec_manager=specs)
    begin = time.monotonic()
    try:
        manager.start_kernel(cwd=str(Path.cwd()))
    except OSError as error:
        raise LpmxError(f"cannot be started: {error}") from error
    try:
        client = manager.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=READY_TIMEOUT)
            ready = time.monotonic()
            printed: list[str] = []
            reply = client.execute_interactive(
                code, timeout=REPLY_TIMEOUT, output_hook=lambda m: _collect(m, printed)
            )
            end = time.monotonic()
        except (RuntimeError, TimeoutError) as error:
            raise LpmxError(
                f"does not answer: {error}", hint=f"`lpmx kernel logs {installed.name}`"
            ) from error
        finally:
            client.stop_channels()
    finally:
        manager.shutdown_kernel()
    return {
        "result": _result(reply["content"], printed),
        "ready_ms": (ready - begin) * 1e3,
        "execute_ms": (end - ready) * 1e3,
    }


def _collect(message: dict[str, Any], printed: list[str]) -> None:
    if message["msg_type"] == "stream":
        printed.append(message["content"]["text"])


def _result(content: dict[str, Any], printed: list[str]) -> str:
    text = "".join(printed).strip()
    if content.get("status") != "ok" or text != "2":
        reason = content.get("evalue") or text or "it printed nothing"
        raise LpmxError(f"does not compute 1+1: {reason}")
    return text
