"""A kernel on another node for clients that know no provisioners, such as VS Code.

They start argv, choose address and ports themselves, and signal that process. So this process
stands for the kernel: it listens where the client expects the kernel and passes all bytes to the
node and back, hands signals on, and ends as the kernel ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpmx_kernels.start import fetch
from lpmx_runtime.store.store import Store

from . import wire
from .address import PORTS
from .elsewhere import Elsewhere
from .queues import find_queue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lpmx_kernels.spec.settings import SpecFile

    from .job import JobKernel

INTERVAL = 0.02
PIECE = 1 << 16
HANDED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
STDERR = 2


def run(spec: SpecFile, connection_file: str) -> int:
    """Stand for the kernel of `spec`; its exit status, as a shell would say it."""
    status = asyncio.run(_run(spec, connection_file))
    return status if status >= 0 else 128 - status


async def _run(spec: SpecFile, connection_file: str) -> int:
    queue = find_queue(spec.settings.launcher)
    assert queue
    place = Elsewhere(queue, spec.settings, spec.path.parent.name)
    work = asyncio.ensure_future(_stand_in(place, spec, connection_file))
    loop, kernel = asyncio.get_running_loop(), _Signalled(work)
    for number in HANDED_ON:
        loop.add_signal_handler(number, kernel.signal, number)
    place.on_start = kernel.found
    try:
        return await work
    except asyncio.CancelledError:
        return -int(kernel.last)
    finally:
        await place.end()


class _Signalled:
    """Who gets the signals: the kernel; while there is none, the wait for it."""

    def __init__(self, work: asyncio.Future[int]) -> None:
        self._work = work
        self._kernel: JobKernel | None = None
        self.last = signal.SIGTERM

    def found(self, kernel: JobKernel) -> None:
        self._kernel = kernel

    def signal(self, number: signal.Signals) -> None:
        self.last = number
        if self._kernel:
            self._kernel.send_signal(number)
        else:
            self._work.cancel()


async def _stand_in(place: Elsewhere, spec: SpecFile, connection_file: str) -> int:
    here = json.loads(Path(connection_file).read_text(encoding="utf-8"))
    env = dict(os.environ)
    settings = spec.settings
    await fetch.bring_in(settings, fetch.wanted(settings, env), _report)
    await place.reserve(env, STDERR, float("inf"))
    store = str(Store.open(spec.settings.store or None).root)
    kernel = await place.start(
        wire.Start(
            name=os.path.basename(connection_file),
            connection=here,
            env=env,
            cwd=str(Path.cwd()),
            marker=str(uuid.uuid4()),
            asked=[name for name in spec.env if name in env],
            settings={**spec.settings.to_config(), "store": store},
        )
    )
    async with contextlib.AsyncExitStack() as listening:
        for name in PORTS:
            # Not earlier: clients take a port that accepts for a kernel that answers.
            while kernel.poll() is None and not await _accepts(place.connection, name):
                await asyncio.sleep(INTERVAL)
            await listening.enter_async_context(await _listen(here, place.connection, name))
        while (status := kernel.poll()) is None:
            await asyncio.sleep(INTERVAL)
    return status


def _report(line: str) -> None:
    print(f"lpmx: {line}", file=sys.stderr, flush=True)


async def _accepts(there: Mapping[str, Any], name: str) -> bool:
    try:
        _, writer = await asyncio.open_connection(there["ip"], there[name])
    except OSError:
        return False
    writer.close()
    return True


async def _listen(
    here: Mapping[str, Any], there: Mapping[str, Any], name: str
) -> asyncio.AbstractServer:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            far_reader, far_writer = await asyncio.open_connection(there["ip"], there[name])
            with contextlib.closing(far_writer):
                copies = [_copy(reader, far_writer), _copy(far_reader, writer)]
                tasks = [asyncio.ensure_future(copy) for copy in copies]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()

    if here.get("transport") == "ipc":
        return await asyncio.start_unix_server(serve, f"{here['ip']}-{here[name]}")
    return await asyncio.start_server(serve, here["ip"], here[name])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(PIECE):
            writer.write(data)
            await writer.drain()
