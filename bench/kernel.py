"""A Jupyter kernel in an image against the same kernel outside, of the same Python and ipykernel.

The kernel outside is the host's Python with the very payload that the image's Python gets, so both
load the same files. Pairs are interleaved; the machine's mood falls on both.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from measure import MeasureError
from report import Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jupyter_client.blocking.client import BlockingKernelClient
    from support.lpmx import Lpmx

HOST_PYTHON = "/usr/bin/python3"
OUTSIDE, INSIDE = "the same kernel outside", "kernel of an image"
CELLS = 200
INTERRUPTS = 5  # after the first
PATIENCE = 120.0
NOTES = {
    "start": "From `start_kernel` to the first answer. Both kernels are the same ipykernel, under"
    " the same version of Python, by unix sockets.",
    "cpu": "User and system time of the client and the kernel up to the first answer.",
    "execute": f"One `1+1` to its reply, the median of {CELLS} in each kernel.",
    "first interrupt": "From the first interrupt in a kernel, of a sleeping cell, to its reply. For"
    " the first traceback in a process Python looks for the source files of all its modules: about"
    " 5,000 lstat.",
    "interrupt": f"The same for later ones, the median of {INTERRUPTS} in each kernel.",
    "restart": "From `restart_kernel` to the first answer of the new process.",
}
TITLES = {
    "start": "Start of a Jupyter kernel", "cpu": "CPU time of that start", "execute": "A cell",
    "first interrupt": "First interrupt of a cell", "interrupt": "Further interrupts of a cell",
    "restart": "Restart of a kernel",
}  # fmt: skip


@dataclass
class Kernels:
    """The two kernel specs, and what was measured of them."""

    kernels: Path
    rounds: int
    found: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def tables(self) -> Iterator[Table]:
        """All comparisons, out of the same runs."""
        if not self.found:
            self._measure()
        for what, note in NOTES.items():
            times = {name: values[what] for name, values in self.found.items()}
            best = {name: min(each) for name, each in times.items()}
            extra = (best[INSIDE] - best[OUTSIDE]) * 1e3
            said = (
                f"{note} The best of the image's kernel is {extra:+.1f} ms from the best outside."
            )
            medians = {name: statistics.median(each) for name, each in times.items()}
            yield Table(TITLES[what], said, OUTSIDE, medians)

    def _measure(self) -> None:
        names = {OUTSIDE: "outside", INSIDE: "inside"}
        self.found = {name: {what: [] for what in NOTES} for name in names}
        for number in range(-1, self.rounds):
            order = list(names) if number % 2 else list(names)[::-1]
            for name in order:
                once = _measure_once(self.kernels, names[name])
                for what, value in once.items():
                    if number >= 0:  # the first pair warms the caches
                        self.found[name][what].append(value)


def prepare(lpmx: Lpmx, image: str, folder: Path, rounds: int) -> Kernels:
    """Install both kernels below @folder."""
    lpmx("kernel", "payload", "build", image)
    places = {
        "JUPYTER_DATA_DIR": str(folder / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(folder / "rt"),
    }
    (folder / "rt").mkdir()
    os.environ.update(places, LPMX_HOME=str(lpmx.home))
    lpmx("kernel", "install", image, "--name", "inside", env=places)
    kernels = folder / "jupyter" / "kernels"
    spec = json.loads((kernels / "inside" / "kernel.json").read_text())
    config = spec["metadata"]["kernel_provisioner"]["config"]
    start = lpmx.home / "payloads" / config["payload"] / "start.py"
    version = [HOST_PYTHON, "-c", "import platform; print(platform.python_version())"]
    done = subprocess.run(version, check=True, capture_output=True, text=True)
    if done.stdout.strip() != spec["metadata"]["lpmx"]["python"]:
        raise MeasureError("kernels: the host's Python has another version than the image's")
    options = [word for word in config["command"] if word.startswith("-X")]
    (kernels / "outside").mkdir()
    argv = [HOST_PYTHON, *options, str(start), "-f", "{connection_file}"]
    outside = {"argv": argv, "display_name": "outside", "language": "python"}
    (kernels / "outside" / "kernel.json").write_text(json.dumps(outside))
    return Kernels(kernels, rounds)


def _measure_once(kernels: Path, name: str) -> dict[str, float]:
    specs = KernelSpecManager(kernel_dirs=[str(kernels)])
    manager = KernelManager(kernel_name=name, kernel_spec_manager=specs)
    if name == "outside":
        manager.transport, manager.cache_ports = "ipc", False
        manager.ip = str(kernels.parents[1] / "rt" / f"k{time.monotonic_ns()}")
    begin, used = time.perf_counter(), time.process_time()
    manager.start_kernel(stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    try:
        client.kernel_info(reply=True, timeout=PATIENCE)
        found = {"start": time.perf_counter() - begin}
        pid = manager.provisioner.pid  # type: ignore[union-attr]
        found["cpu"] = time.process_time() - used + _cpu_time(pid)
        client.wait_for_ready(timeout=PATIENCE)
        found["execute"] = statistics.median(_cell(client, "1+1") for _ in range(CELLS))
        found["first interrupt"] = _interrupt(manager, client)
        later = [_interrupt(manager, client) for _ in range(INTERRUPTS)]
        found["interrupt"] = statistics.median(later)
        begin = time.perf_counter()
        manager.restart_kernel()
        client.kernel_info(reply=True, timeout=PATIENCE)
        found["restart"] = time.perf_counter() - begin
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return found


def _cell(client: BlockingKernelClient, code: str) -> float:
    begin = time.perf_counter()
    client.execute(code, reply=True, timeout=PATIENCE)
    return time.perf_counter() - begin


def _interrupt(manager: KernelManager, client: BlockingKernelClient) -> float:
    code = "print('it runs', flush=True); import time; time.sleep(60)"
    request = client.execute(code, stop_on_error=False)
    while True:
        message = client.get_iopub_msg(timeout=PATIENCE)
        ours = message["parent_header"].get("msg_id") == request
        if ours and message["msg_type"] == "stream":
            break
    begin = time.perf_counter()
    manager.interrupt_kernel()
    while client.get_shell_msg(timeout=PATIENCE)["parent_header"].get("msg_id") != request:
        pass
    return time.perf_counter() - begin


def _cpu_time(pid: int) -> float:
    """User and system time, in s, of a process and its ended children."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")
