"""The kernel provisioner: starts a kernel in a container and sees it through its life.

It is jupyter_client's local provisioner in all but this: the process is started in the image
(start/kernel.py plans it), the start counts only once the kernel answers, a failed one says why,
nothing of the kernel survives it, and its container goes with it. A spec without an image is
started as it stands, so any kernel can be routed through here.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Bool, Dict, Enum, Float, List, Unicode, default

from lpmx_kernels.aside import aside
from lpmx_kernels.errors import KernelStartError
from lpmx_kernels.life import (
    explain,
    fallback_reason,
    guard,
    logs,
    processes,
    readiness,
    sockets,
    survivors,
)
from lpmx_kernels.nodes import wire
from lpmx_kernels.nodes.elsewhere import Elsewhere, QueueRefusedError
from lpmx_kernels.nodes.queues import LOCAL, QUEUES, find_queue
from lpmx_kernels.spec.interpreter import module_argv
from lpmx_kernels.spec.settings import CONNECTION_FILE, KernelSettings
from lpmx_kernels.start import fetch, kernel, notebook
from lpmx_runtime.config.values import POLICIES
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.process import runs
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jupyter_client.connect import KernelConnectionInfo

POLL_INTERVAL = 0.01
TRANSPORT_VARIABLE = "LPMX_KERNEL_TRANSPORT"
"""Transport of all kernels that are started through here and name none of their own."""
LOOPBACK = ("", "localhost", "::1", "127.0.0.1")


class LpmxProvisioner(LocalProvisioner):
    """Starts kernels in containers; kernel.json sets the traits, for a site `c.LpmxProvisioner`."""

    process: Any = None  # a Popen, or an AdoptedProcess

    image = Unicode("", config=True, help="Image of the container, as `lpmx images` names it.")
    command = List(
        Unicode(), config=True, help="What to start in the image; `{connection_file}` is replaced."
    )
    binds = List(Unicode(), config=True, help="Further binds, as SRC:DST[:ro].")
    env = Dict(Unicode(), config=True, help="Environment variables of the kernel.")
    persist = Unicode(
        "", config=True, help="Name of a container to keep; empty: a new one for each kernel."
    )
    user = Unicode("", config=True, help="Name or ids shown inside, as NAME|UID[:GROUP].")
    store = Unicode("", config=True, help="The store; empty: the default one.")
    payload = Unicode("", config=True, help="Id of the payload that brings ipykernel.")
    host_kernel = Enum(
        ["", "shell"], "", config=True, help="The kernel on the host that uses `command`."
    )
    transport = Enum(
        ["", "tcp", "ipc"],
        config=True,
        help="Transport to use; empty: ipc, unless the client asks for another one.",
    )
    map = List(Unicode(), config=True, help="Commands that run elsewhere, as NAME=TARGET.")
    batch = Unicode("", config=True, help="Batch system whose jobs come back into the image.")
    gpus = Unicode("", config=True, help="GPUs to show, as after `lpmx run --gpus`.")
    survive = Bool(default_value=False, config=True, help="Outlive the server, to be found again.")
    launch_timeout = Float(60.0, config=True, help="Seconds a kernel may need until it answers.")
    launcher = Enum(
        ["", LOCAL, *QUEUES], "", config=True, help="Batch system that finds a node for the kernel."
    )
    launcher_options = List(Unicode(), config=True, help="Options for that system's client.")
    notebook_images = List(
        Unicode(),
        default_value=None,
        allow_none=True,
        config=True,
        help="Images that a notebook may choose, as patterns; none given: all in the store.",
    )
    pull = Enum(
        ["", *POLICIES], "", config=True, help="When images are fetched; empty: as is configured."
    )
    queue_timeout = Float(600.0, config=True, help="Seconds a kernel may wait for a node.")

    _elsewhere: Elsewhere | None = None  # its place on another node
    _survivor: survivors.Survivor | None = None  # a living kernel to go on with
    _start: kernel.KernelStart | None = None  # the container's part of the present start
    _container: str = ""  # id of the container, kept from restart to restart
    _marker: str = ""
    _log: Path | None = None
    _log_begin: int = 0  # where the present start begins in the log
    _ipc_directory: str = ""
    _was_ready: bool = False  # a start has succeeded: the next one is a restart
    _restart_requested: bool = False  # jupyter_client does not tell terminate() and kill()

    @property
    def name(self) -> str:
        """Name of the kernel spec."""
        return Path(self.kernel_spec.resource_dir or "kernel").name

    @property
    def settings(self) -> KernelSettings:
        """The traits, as the launcher takes them."""
        return KernelSettings(
            image=self.image,
            command=tuple(self.command),
            binds=tuple(self.binds),
            env=dict(self.env),
            persist=self.persist,
            user=self.user,
            store=self.store,
            payload=self.payload,
            host_kernel=self.host_kernel,
            map=tuple(self.map),
            batch=self.batch,
            gpus=self.gpus,
            survive=self.survive,
            launcher=self.launcher,
            launcher_options=tuple(self.launcher_options),
            notebook_images=None if self.notebook_images is None else tuple(self.notebook_images),
            pull=self.pull,
        )

    @default("transport")
    def _default_transport(self) -> str:
        return os.environ.get(TRANSPORT_VARIABLE, "")

    # --- start

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Choose the transport before the connection file is written."""
        if self.survive and self.image and self.process is None:
            self._survivor = survivors.claim(self._root, str(self.kernel_id))
        manager: Any = self.parent
        if self._survivor:
            manager.load_connection_info(dict(self._survivor.info["connection_info"]))
            manager.cache_ports = False
        elif self.image and find_queue(self.launcher):
            self._use_tcp(kwargs)
        elif self.transport == "ipc" or (not self.transport and self.image and self._may_use_ipc()):
            self._use_ipc()
        arguments: dict[str, Any] = await super().pre_launch(**kwargs)
        return arguments

    async def launch_kernel(
        self,
        cmd: list[str],
        **kwargs: Any,
    ) -> KernelConnectionInfo:
        """Start the kernel and return once it answers; raise with the reason where it cannot.

        On a restart, where clients show no error, a kernel that tells the reason is started
        instead.
        """
        self._restart_requested = False
        if not self.image:
            return await super().launch_kernel(cmd, **kwargs)
        survivor, self._survivor = self._survivor, None
        if survivor:
            info = {**survivor.info, "connection_info": self.connection_info}
            await self.load_provisioner_info(info)
            return self.connection_info
        try:
            await self._launch_in_container(kwargs)
        except (LpmxError, OSError) as error:
            failure = self._failure(error)
        except BaseException:
            await self._abandon()
            await self.cleanup()
            raise
        else:
            self._was_ready = True
            if self.survive and self.kernel_id:
                await self._record_survivor(kwargs["env"])
            return self.connection_info
        await self._abandon()
        if self._was_ready and await self._launch_fallback(failure, kwargs):
            return self.connection_info
        await self.cleanup()
        raise failure

    async def _launch_in_container(self, kwargs: Mapping[str, Any]) -> None:
        await self._fetch_images(kwargs["env"])
        if find_queue(self.launcher):
            await self._launch_elsewhere(kwargs)
            return
        self._start = start = await aside(self._plan, kwargs)
        self._container = start.container
        if self._log is None:
            self._log = logs.new_log(start.store_root, self.name, self._marker)
        for note in start.notes:
            self.log.warning("kernel %s: %s", self.kernel_spec.display_name, note)
        with self._log.open("ab") as log:
            log.write("".join(f"lpmx: {note}\n" for note in start.notes).encode())
            log.flush()
            self._log_begin = log.tell()
            streams = {"stdout": log, "stderr": log}
            await super().launch_kernel(
                list(start.argv),
                **{**streams, **kwargs, "env": dict(start.env), "cwd": start.cwd},
                **({"independent": True} if self.survive else {}),
            )
        kernel.register(start, self.process.pid)
        if not self._outlives(kwargs):
            guard.watch(start.store_root, self._marker)
        await self._wait_until_ready()

    async def _fetch_images(self, env: Mapping[str, str]) -> None:
        """Have here what the start needs; the time it takes is not the kernel's."""
        names = await aside(fetch.wanted, self.settings, env, self._container)
        if names:
            self._marker = self._marker or self.kernel_id or str(uuid.uuid4())
            self._log = self._log or logs.new_log(self._root, self.name, self._marker)
        await fetch.bring_in(self.settings, names, self._report)

    def _report(self, line: str) -> None:
        """Report how far a start is, where its user may look meanwhile."""
        self.log.warning("kernel %s: %s", self.kernel_spec.display_name, line)
        assert self._log
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"lpmx: {line}\n")

    async def _launch_elsewhere(self, kwargs: Mapping[str, Any]) -> None:
        queue = find_queue(self.launcher)
        assert queue
        self._marker = self._marker or self.kernel_id or str(uuid.uuid4())
        self._log = self._log or logs.new_log(self._root, self.name, self._marker)
        self._log_begin = self._log.stat().st_size if self._log.exists() else 0
        self._elsewhere = self._elsewhere or Elsewhere(queue, self.settings, self.name)
        try:
            if not self._elsewhere.is_held:
                self.log.info("kernel %s waits for a node of %s", self._marker, queue.name)
            with self._log.open("ab") as log:
                await self._elsewhere.reserve(kwargs["env"], log, self.queue_timeout)
            await self._start_in_job(self._start_message(kwargs, self.settings.to_config()))
        except QueueRefusedError as error:
            text = explain.refused(self._subject(), queue.program, error.status)
            raise KernelStartError(text) from None
        self._container = self._elsewhere.container
        await self._wait_until_ready()

    async def _start_in_job(self, start: wire.Start) -> None:
        assert self._elsewhere
        self.process = await self._elsewhere.start(start)
        self.pid, self.pgid, self.cwd = self.process.pid, None, start.cwd
        # The address is the node's: the manager, which has yet to hear of it, is told now.
        manager: Any = self.parent
        for name, value in self._elsewhere.connection.items():
            setattr(manager, name, value)
        self.connection_info = manager.get_connection_info()

    def _start_message(
        self, kwargs: Mapping[str, Any], settings: Mapping[str, Any], argv: Sequence[str] = ()
    ) -> wire.Start:
        env, info = kwargs["env"], self.connection_info
        texts = {k: v.decode() if isinstance(v, bytes) else v for k, v in info.items()}
        return wire.Start(
            name=os.path.basename(self._connection_file()),
            connection={**texts, "kernel_name": self.name},
            env=env,
            cwd=os.path.realpath(kwargs.get("cwd") or Path.cwd()),
            marker=self._marker,
            asked=[name for name in self.kernel_spec.env if name in env],
            changed=[name for name in env if os.environ.get(name) != env[name]],
            settings={**settings, "store": str(self._root)},
            container=self._container,
            host_argv=argv,
        )

    @property
    def _root(self) -> Path:
        return Store.open(self.store or None).root

    async def _record_survivor(self, env: Mapping[str, str]) -> None:
        info = await self.get_provisioner_info()
        connection = info["connection_info"]
        texts = {k: v.decode() if isinstance(v, bytes) else v for k, v in connection.items()}
        kernel = runs.process(self.process.pid)
        if kernel:
            survivor = survivors.Survivor(
                kernel_id=str(self.kernel_id),
                kernel_name=self.name,
                notebook=env.get(notebook.VARIABLE, ""),
                kernel=kernel,
                server=runs.this_process(),
                info={**info, "connection_info": texts},
            )
            survivors.record(self._root, survivor)

    def _outlives(self, kwargs: Mapping[str, Any]) -> bool:
        """Say whether the kernel may live on when this process does not."""
        return self.survive or bool(kwargs.get("independent"))

    def _plan(self, kwargs: Mapping[str, Any]) -> kernel.KernelStart:
        self._marker = self._marker or self.kernel_id or str(uuid.uuid4())
        env = kwargs["env"]
        request = kernel.KernelRequest(
            connection_file=self._connection_file(),
            env=env,
            asked={key: env[key] for key in self.kernel_spec.env if key in env},
            server_env=os.environ,
            cwd=os.fspath(kwargs.get("cwd") or Path.cwd()),
            marker=self._marker,
            container=self._container,
            folders=(self._ipc_directory,) if self._ipc_directory else (),
            outlives=self._outlives(kwargs),
        )
        return kernel.prepare_kernel(self.settings, request)

    async def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.launch_timeout
        while not readiness.accepts(self.connection_info):
            await self._wait_a_little(deadline)
        request = readiness.FirstRequest(self.parent)
        try:
            while not request.is_answered():
                await self._wait_a_little(deadline)
        finally:
            request.close()

    async def _wait_a_little(self, deadline: float) -> None:
        status = await self.poll()
        if status is not None:
            raise KernelStartError(explain.ended(self._subject(), status))
        if time.monotonic() > deadline:
            raise KernelStartError(explain.silent(self._subject(), self.launch_timeout))
        await asyncio.sleep(POLL_INTERVAL)

    async def _launch_fallback(self, failure: KernelStartError, kwargs: Mapping[str, Any]) -> bool:
        """Start the kernel that shows `failure`; False where this Python cannot run it."""
        self.log.error("%s", failure)
        env = {**kwargs["env"], fallback_reason.VARIABLE: str(failure)}
        argv = [*module_argv("lpmx_kernels.life.fallback"), "-f"]
        kwargs = {**kwargs, "env": env}
        try:
            if self._elsewhere and self._elsewhere.is_held:  # clients keep to the node's address
                argv.append(CONNECTION_FILE)
                await self._start_in_job(self._start_message(kwargs, {}, argv))
            else:
                await super().launch_kernel([*argv, self._connection_file()], **kwargs)
            await self._wait_until_ready()
        except (LpmxError, OSError) as error:
            self.log.error("no fallback kernel either: %s", error)
            await self._abandon()
            return False
        return True

    def _failure(self, error: LpmxError | OSError) -> KernelStartError:
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
            error = LpmxError(f"{reason}{where}")
        return KernelStartError.of(self.kernel_spec.display_name, error)

    def _subject(self) -> explain.Subject:
        tail = logs.tail(self._log, start=self._log_begin) if self._log else []
        return explain.Subject(self.kernel_spec.display_name, self.name, tail, self._log)

    def _connection_file(self) -> str:
        manager: Any = self.parent
        return os.path.realpath(str(manager.connection_file))

    def _may_use_ipc(self) -> bool:
        """Say whether the client has left the transport open: it has by all defaults."""
        manager: Any = self.parent
        if manager is None or manager.ip not in LOOPBACK:
            return False
        return not any(
            "transport" in manager.config.get(c.__name__, {}) for c in type(manager).mro()
        )

    def _use_ipc(self) -> None:
        """Make the client connect by unix sockets, in a private folder with a short name."""
        manager = self.parent
        if manager is None or self._ipc_directory or manager.transport == "ipc":
            return
        self._ipc_directory = sockets.make_folder()
        manager.transport = "ipc"
        manager.cache_ports = False
        manager.ip = f"{self._ipc_directory}/k"

    def _use_tcp(self, arguments: dict[str, Any]) -> None:
        """Have the client expect a kernel that listens on a node, encrypted if it can be."""
        if self.transport == "ipc":
            raise KernelStartError(
                f'The kernel "{self.kernel_spec.display_name}" cannot start: its transport is ipc,'
                " which does not reach another node"
            )
        manager: Any = self.parent
        manager.transport, manager.cache_ports = "tcp", False
        manager.ip = LOOPBACK[-1]  # until the node is known
        if getattr(manager, "transport_encryption", "") == "disabled":
            arguments["transport_encryption"] = "auto"

    # --- end

    async def shutdown_requested(self, restart: bool = False) -> None:
        """Remember whether the kernel comes back: only here a client says so reliably."""
        self._restart_requested = restart

    async def send_signal(self, signum: int) -> None:
        """Signal the kernel's process group; it has the signal when this returns."""
        await super().send_signal(signum)
        if self._elsewhere:
            await self._elsewhere.signals_arrive()

    async def terminate(self, restart: bool = False) -> None:
        """SIGTERM to the kernel's process group."""
        await super().terminate(restart=restart or self._restart_requested)

    async def kill(self, restart: bool = False) -> None:
        """SIGKILL to the kernel's process group."""
        await super().kill(restart=restart or self._restart_requested)

    async def cleanup(self, restart: bool = False) -> None:
        """End what the kernel left running; at its final end remove its container too."""
        if self._marker and not self._elsewhere:
            await aside(processes.end, self._marker, self.pid)
        await super().cleanup(restart=restart)
        if restart:
            return
        self.ports_cached = False
        try:
            if self._elsewhere:
                await self._elsewhere.end()
            if self.survive and self.kernel_id:
                survivors.forget(self._root, self.kernel_id)
            if self._container and not self._elsewhere:
                await aside(kernel.release, self.settings, self._container, self._marker)
        except (LpmxError, OSError) as error:  # `lpmx gc` can do it later
            self.log.warning("what the kernel leaves is not all removed: %s", error)
        if self._ipc_directory:
            shutil.rmtree(self._ipc_directory, ignore_errors=True)
        guard.dismiss(self._marker)
        self._container = self._ipc_directory = ""
        self._start, self._elsewhere, self._was_ready = None, None, False

    async def _abandon(self) -> None:
        """Leave nothing of a start that failed; its container may serve the next one."""
        if self.process is not None:
            await self.kill()
            await self.wait()
        if self._marker and not self._elsewhere:
            await aside(processes.end, self._marker, self.pid, grace=0)

    # --- found again by another server

    async def get_provisioner_info(self) -> dict[str, Any]:
        """All that another server needs to go on with this kernel."""
        info: dict[str, Any] = await super().get_provisioner_info()
        started = processes.start_time(self.pid) if self.pid else None
        info["lpmx"] = {
            "started": started,
            "marker": self._marker,
            "store": os.fspath(self._start.store_root) if self._start else "",
            "container": self._container,
            "log": str(self._log or ""),
            "ipc_directory": self._ipc_directory,
            "cwd": os.fspath(self.cwd or ""),
        }
        return info

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        """Take over the kernel another server has started."""
        await super().load_provisioner_info(provisioner_info)
        ours = provisioner_info["lpmx"]
        self.process = processes.AdoptedProcess(provisioner_info["pid"], ours["started"])
        self._marker, self._container = ours["marker"], ours["container"]
        self._log = Path(ours["log"]) if ours["log"] else None
        self._ipc_directory, self.cwd = ours["ipc_directory"], ours["cwd"] or None
        self._was_ready = True
        root = Path(ours["store"]) if ours.get("store") else None
        if root and kernel.take_over(root, self._marker):
            guard.watch(root, self._marker)

    def resolve_path(self, path_str: str) -> str | None:
        """The file on the host that the kernel's `path_str` names; None where there is none."""
        if self._elsewhere:
            return self._elsewhere.host_path(path_str)
        if self._start is None:
            return super().resolve_path(path_str)
        return self._start.host_path(os.path.expanduser(path_str))
