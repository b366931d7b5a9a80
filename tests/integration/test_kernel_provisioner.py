"""The provisioner's own logic, with kernels of this Python in place of an image's."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

from lpmx_kernels.errors import KernelStartError
from lpmx_kernels.life import processes
from lpmx_kernels.provisioner import LpmxProvisioner
from lpmx_kernels.start import kernel as kernels
from lpmx_runtime.errors import ImageNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

IPYKERNEL = (sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")


class Starts:
    """Stands for start/kernel.py: starts `command` on the host, remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command: Sequence[str] = IPYKERNEL
        self.error: Exception | None = None
        self.planned: list[kernels.KernelRequest] = []
        self.released: list[str] = []

    def prepare_kernel(self, _settings: Any, request: kernels.KernelRequest) -> kernels.KernelStart:
        self.planned.append(request)
        if self.error:
            raise self.error
        file = request.connection_file
        argv = [word.replace("{connection_file}", file) for word in self.command]
        env = {**request.env, "LPMX_KERNEL": request.marker}
        container = request.container or f"c{len(self.planned)}"
        return kernels.KernelStart(argv, env, request.cwd, container, self.folder / "store")

    def register(self, start: kernels.KernelStart, pid: int) -> None:
        pass

    def release(self, _settings: Any, container: str, _marker: str) -> None:
        self.released.append(container)


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starts:
    fake = Starts(tmp_path)
    for name in ("prepare_kernel", "register", "release"):
        monkeypatch.setattr(kernels, name, getattr(fake, name))
    return fake


@pytest.fixture
def kernel(
    tmp_path: Path, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., KernelManager]]:
    """kernel(**config): the manager of a kernel spec whose provisioner is ours."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "runtime").mkdir()
    managers = []

    def make(**config: Any) -> KernelManager:
        folder = tmp_path / "kernels" / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        stanza = {"provisioner_name": "lpmx-provisioner", "config": {"image": "demo", **config}}
        spec = {
            "argv": list(IPYKERNEL),
            "display_name": "Demo (LPMX)",
            "language": "python",
            "metadata": {"kernel_provisioner": stanza},
        }
        (folder / "kernel.json").write_text(json.dumps(spec))
        specs = KernelSpecManager(kernel_dirs=[str(folder.parent)])
        managers.append(KernelManager(kernel_name="demo", kernel_spec_manager=specs))
        return managers[-1]

    yield make
    for manager in managers:
        if manager.has_kernel:
            manager.shutdown_kernel(now=True)


def execute(manager: KernelManager, code: str) -> str:
    """What `code` evaluates to, or the text of its error."""
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=30)
        reply = client.execute("", user_expressions={"x": code}, reply=True, timeout=30)["content"]
    finally:
        client.stop_channels()
    if reply["status"] == "error":
        return str(reply["evalue"])
    value = reply["user_expressions"]["x"]
    return str(value["data"]["text/plain"] if value["status"] == "ok" else value["evalue"])


def provisioner_of(manager: KernelManager) -> LpmxProvisioner:
    assert isinstance(manager.provisioner, LpmxProvisioner)
    return manager.provisioner


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


@pytest.mark.parametrize("transport", ["", "ipc"])
def test_kernel_starts_executes_and_ends(kernel: Any, starts: Starts, transport: str) -> None:
    manager = kernel(transport=transport) if transport else kernel()
    manager.start_kernel()
    assert execute(manager, "1+1") == "2"
    provisioner = provisioner_of(manager)
    marker, info = starts.planned[0].marker, provisioner.connection_info
    assert info["transport"] == (transport or "ipc")
    manager.shutdown_kernel()
    assert processes.find(marker) == []
    assert starts.released == ["c1"]
    assert transport != "ipc" or not Path(info["ip"]).parent.exists()


def test_early_death_raises_status_last_words_log_and_remedy(kernel: Any, starts: Starts) -> None:
    words = "libfoo.so.1: cannot open shared object file"
    starts.command = ("sh", "-c", f"echo '{words}' >&2; exit 3")
    manager = kernel()
    with pytest.raises(KernelStartError) as caught:
        manager.start_kernel()
    text = str(caught.value)
    assert 'The kernel "Demo (LPMX)" did not start: it ended with exit status 3' in text
    assert "    libfoo.so.1: cannot open shared object file" in text
    assert "What to do: the image lacks that library" in text
    assert f"Full log: {starts.folder}/store/kernels/demo/" in text
    assert starts.released == ["c1"]
    assert not manager.has_kernel


def test_death_by_signal_is_named(kernel: Any, starts: Starts) -> None:
    starts.command = (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(KernelStartError, match=r"ended by SIGKILL.*out of memory"):
        kernel().start_kernel()


def test_error_of_the_plan_is_raised_with_its_hint(kernel: Any, starts: Starts) -> None:
    starts.error = ImageNotFoundError("demo: no such image", hint="`lpmx load FILE`")
    with pytest.raises(
        KernelStartError, match=r"(?s)demo: no such image.*What to do: `lpmx load FILE`"
    ):
        kernel().start_kernel()


def test_kernel_that_never_answers_is_stopped(kernel: Any, starts: Starts) -> None:
    starts.command = (sys.executable, "-c", "import time; time.sleep(600)")
    manager = kernel(launch_timeout=0.5)
    with pytest.raises(KernelStartError, match=r"not ready after 0\.5 s"):
        manager.start_kernel()
    assert processes.find(starts.planned[0].marker) == []


def test_death_after_the_ports_are_open_is_a_failed_start(kernel: Any, starts: Starts) -> None:
    code = (
        "import sys; from ipykernel.kernelapp import IPKernelApp as App;"
        "App.init_kernel = lambda self: {}['no shell'];"
        "App.launch_instance(sys.argv[1:])"
    )
    starts.command = (sys.executable, "-c", code, "-f", "{connection_file}")
    with pytest.raises(KernelStartError, match=r"(?s)exit status 1 before it was ready.*no shell"):
        kernel().start_kernel()


def test_client_that_asks_for_a_transport_or_an_address_gets_it(kernel: Any) -> None:
    asked = kernel()
    asked.config.KernelManager.transport = "tcp"
    asked.start_kernel()
    assert asked.transport == "tcp"
    outside = kernel()
    outside.ip = "0.0.0.0"
    outside.start_kernel()
    assert outside.transport == "tcp"


def test_container_is_kept_over_a_restart(kernel: Any, starts: Starts) -> None:
    manager = kernel()
    manager.start_kernel()
    manager.restart_kernel()
    assert execute(manager, "2+2") == "4"
    assert [request.container for request in starts.planned] == ["", "c1"]
    assert starts.released == []
    manager.shutdown_kernel()
    assert starts.released == ["c1"]


def test_failing_restart_shows_the_reason_and_the_next_one_heals(
    kernel: Any, starts: Starts
) -> None:
    manager = kernel()
    manager.start_kernel()
    starts.error = ImageNotFoundError("demo: no such image", hint="`lpmx load FILE`")
    manager.restart_kernel()
    assert "demo: no such image" in execute(manager, "1+1")
    starts.error = None
    manager.restart_kernel()
    assert execute(manager, "1+1") == "2"


@pytest.mark.parametrize("code", ["import time; time.sleep(600)", "!sleep 600"])
def test_interrupt_stops_a_busy_cell_and_its_child(kernel: Any, starts: Starts, code: str) -> None:
    manager = kernel()
    manager.start_kernel()
    marker = starts.planned[0].marker
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=30)
    request = client.execute(f"print('it runs', flush=True)\n{code}")
    wait_until(lambda: has_printed(client, request), "the cell runs")
    if code.startswith("!"):
        wait_until(lambda: len(processes.find(marker)) > 1, "the child runs")
    manager.interrupt_kernel()
    replies = iter(lambda: client.get_shell_msg(timeout=30), None)
    reply = next(reply for reply in replies if reply["parent_header"].get("msg_id") == request)
    assert reply["content"]["status"] == ("ok" if code.startswith("!") else "error")
    client.stop_channels()
    wait_until(lambda: len(processes.find(marker)) == 1, "the child is gone")


def has_printed(client: Any, request: str) -> bool:
    message = client.get_iopub_msg(timeout=10)
    ours = message["parent_header"].get("msg_id") == request
    return bool(ours and message["msg_type"] == "stream")


def test_background_jobs_end_with_the_kernel_even_in_sessions_of_their_own(
    kernel: Any, starts: Starts
) -> None:
    manager = kernel()
    manager.start_kernel()
    sleep = "__import__('subprocess').Popen(['sleep', '600'], start_new_session={}).pid"
    jobs = [int(execute(manager, sleep.format(own_session))) for own_session in (False, True)]
    assert all(processes.start_time(job) for job in jobs)
    manager.shutdown_kernel()
    assert [processes.start_time(job) for job in jobs] == [None, None]


def test_shutdown_now_leaves_nothing(kernel: Any, starts: Starts) -> None:
    manager = kernel()
    manager.start_kernel()
    execute(manager, "__import__('subprocess').Popen(['sleep', '600'], start_new_session=True).pid")
    manager.shutdown_kernel(now=True)
    assert processes.find(starts.planned[0].marker) == []
    assert starts.released == ["c1"]


def test_killed_kernel_is_seen_as_dead(kernel: Any, starts: Starts) -> None:
    manager = kernel()
    manager.start_kernel()
    os.kill(provisioner_of(manager).pid, signal.SIGKILL)
    wait_until(lambda: not manager.is_alive(), "the kernel is dead")


def test_restart_wish_is_remembered_until_the_next_start(kernel: Any) -> None:
    manager = kernel()
    manager.start_kernel()
    provisioner = provisioner_of(manager)
    asyncio.run(provisioner.shutdown_requested(restart=True))
    assert provisioner._restart_requested
    manager.restart_kernel()
    assert not provisioner._restart_requested


def test_another_server_takes_over_a_kernel(kernel: Any, starts: Starts) -> None:
    first = kernel()
    first.start_kernel()
    info = asyncio.run(provisioner_of(first).get_provisioner_info())
    second = LpmxProvisioner(
        kernel_id=None, kernel_spec=first.kernel_spec, parent=None, image="demo"
    )
    asyncio.run(second.load_provisioner_info(info))
    assert second.has_process
    assert asyncio.run(second.poll()) is None
    assert json.dumps({**info, "connection_info": None})
    asyncio.run(second.kill())
    first.provisioner.process.wait()
    assert asyncio.run(second.wait()) == 0
    assert not second.has_process


def test_spec_without_image_starts_as_it_stands(kernel: Any, starts: Starts) -> None:
    manager = kernel(image="")
    manager.start_kernel()
    assert execute(manager, "3*3") == "9"
    assert starts.planned == []


def test_cancelled_start_leaves_nothing(kernel: Any, starts: Starts) -> None:
    starts.command = (sys.executable, "-c", "import time; time.sleep(600)")
    manager = kernel()
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(manager._async_start_kernel(), timeout=1.0))
    assert processes.find(starts.planned[0].marker) == []
    assert starts.released == ["c1"]
