"""Kernels that a batch system starts on a node, with a real Slurm and a real Grid Engine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from support.cluster import SBIN, Cluster
from support.jupyter import Jupyter, Session, containers, start_session, wait_until
from support.sge import GridEngine
from support.slurm import FarSlurm, Slurm

from lpmx_kernels.errors import KernelStartError
from lpmx_kernels.life import processes, readiness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAME = "far"
SYSTEMS: dict[str, type[Cluster]] = {"slurm": Slurm, "sge": GridEngine}
JOBS = {"slurm": ("squeue", "-h", "-o", "%i %j %T"), "sge": ("qstat",)}
CANCEL = {"slurm": ("scancel", "-f", "--user={user}"), "sge": ("qdel", "-u", "{user}")}
GRANTED = {"slurm": "SLURM_JOB_ID", "sge": "JOB_ID"}
REFUSED = {
    "slurm": ("--partition=nope", "invalid partition specified: nope"),
    "sge": ("-q nope", 'requests unknown queue "nope"'),
}
FILLING = {
    "slurm": ["srun", "--exclusive", "-N2", "sleep", "600"],
    "sge": ["qrsh", "-now", "n", "-pe", "smp", "4", "sleep", "600"],
}


@pytest.fixture(scope="module", params=SYSTEMS)
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A running system; `cluster.system` is its name."""
    with SYSTEMS[request.param](tmp_path_factory.mktemp(request.param)) as running:
        running.system = request.param  # type: ignore[attr-defined]
        yield running


@pytest.fixture
def jupyter(
    bare_jupyter: Jupyter,
    image: Callable[[str], str],
    cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Jupyter]:
    """A Jupyter with the kernel `far`, which runs on a node. Afterwards the queue is empty."""
    for name, value in cluster.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{SBIN}")
    install(bare_jupyter, image("demo"), cluster)
    yield bare_jupyter
    wait_until(lambda: jobs(cluster) == "", "an empty queue")


def install(jupyter: Jupyter, image: str, cluster: Any, *options: str, name: str = NAME) -> None:
    jupyter.lpmx("kernel", "install", image, "--name", name, "--launcher", cluster.system, *options)


def jobs(cluster: Any) -> str:
    """What the batch system lists; Grid Engine calls a job `t` until its node says that it runs."""
    return str(cluster.run(*JOBS[cluster.system])).replace(" t  ", " r  ")


def cancel(cluster: Any) -> None:
    import getpass

    cluster.run(*(word.format(user=getpass.getuser()) for word in CANCEL[cluster.system]))


def test_kernel_runs_in_a_job_and_leaves_nothing(
    jupyter: Jupyter, start: Callable[..., Session], cluster: Any
) -> None:
    kernel = start(NAME)
    assert kernel.value("open('/etc/lpmx-image').read()") == "demo\n"
    assert kernel.value(f"__import__('os').environ['{GRANTED[cluster.system]}']").isdigit()
    assert kernel.value("__import__('os').getcwd()") == os.getcwd()
    assert kernel.manager.transport == "tcp"
    assert f"lpmx-{NAME}"[:10] in jobs(cluster)
    kernel.run("import subprocess; subprocess.Popen(['setsid', 'sleep', '600'])")
    marker = kernel.marker
    assert len(processes.find(marker)) >= 2
    assert len(containers(jupyter)) == 1
    kernel.end()
    assert processes.find(marker) == []
    assert containers(jupyter) == []


def test_interrupt_reaches_the_cell_and_its_programs(
    jupyter: Jupyter, start: Callable[..., Session]
) -> None:
    kernel = start(NAME)
    for code in ("import time; time.sleep(600)", "!sleep 600; echo not interrupted"):
        request = kernel.start_busy(code)
        kernel.manager.interrupt_kernel()
        reply = kernel.reply(request)
        assert reply["status"] == "error" or "!" in code, reply
        assert "not interrupted" not in kernel.run("1")
    assert kernel.value("40 + 2") == 42


def test_restart_keeps_the_job_and_the_address(
    jupyter: Jupyter, start: Callable[..., Session], cluster: Any
) -> None:
    kernel = start(NAME)
    kernel.run("x = 1")
    job, info = jobs(cluster), kernel.manager.get_connection_info()
    kernel.restart()
    assert "NameError" in kernel.run("x")
    assert kernel.manager.get_connection_info() == info
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    assert kernel.value("6 * 7") == 42
    assert jobs(cluster) == job
    assert len(containers(jupyter)) == 1


def test_killed_kernel_leaves_neither_job_nor_process(
    jupyter: Jupyter, start: Callable[..., Session]
) -> None:
    kernel = start(NAME)
    kernel.run("import subprocess; subprocess.Popen(['setsid', 'sleep', '600'])")
    kernel.start_busy(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    )
    marker = kernel.marker
    kernel.end(now=True)
    assert processes.find(marker) == []
    assert containers(jupyter) == []


def test_refusal_of_the_queue_is_the_start_error(
    jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str], cluster: Any
) -> None:
    option, words = REFUSED[cluster.system]
    install(jupyter, image("demo"), cluster, f"--launcher-options={option}", name="no")
    with pytest.raises(KernelStartError) as caught:
        start("no")
    text = str(caught.value)
    assert words in text
    assert "before it ran on a node" in text
    assert "launcher_options" in text
    assert containers(jupyter) == []


def test_waiting_in_the_queue_has_a_limit_of_its_own(
    jupyter: Jupyter, start: Callable[..., Session], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lpmx_kernels.provisioner import LpmxProvisioner

    monkeypatch.setattr(LpmxProvisioner.queue_timeout, "default_value", 2.0)
    with filled(cluster):
        with pytest.raises(KernelStartError, match="has found no place for it within 2 s"):
            start(NAME)
        assert "lpmx-" not in jobs(cluster)


def test_a_kernel_that_waits_its_turn_starts_when_it_comes(
    jupyter: Jupyter, start: Callable[..., Session], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threading import Thread

    from lpmx_kernels.provisioner import LpmxProvisioner

    monkeypatch.setattr(LpmxProvisioner.launch_timeout, "default_value", 30.0)
    with filled(cluster) as filling:

        def free() -> None:
            wait_until(lambda: "lpmx-" in jobs(cluster), "the kernel's job in the queue")
            filling()

        thread = Thread(target=free)
        thread.start()
        kernel = start(NAME)
        thread.join()
        assert kernel.value("6 * 7") == 42


@contextlib.contextmanager
def filled(cluster: Any) -> Iterator[Callable[[], None]]:
    """A job that leaves no room for another; yields what ends it."""
    filling = subprocess.Popen(
        FILLING[cluster.system], env=cluster.env, stdin=subprocess.DEVNULL, start_new_session=True
    )

    def end() -> None:
        if filling.poll() is None:
            how = ["scancel", "--name=sleep"] if cluster.system == "slurm" else ["qdel", "sleep"]
            cluster.run(*how, check=False)
            filling.wait(60)

    try:
        wait_until(lambda: "sleep" in jobs(cluster) and is_running(cluster), "a full cluster")
        yield end
    finally:
        end()


def is_running(cluster: Any) -> bool:
    return any(" r " in line or "RUNNING" in line for line in jobs(cluster).splitlines())


def test_a_job_that_the_queue_ends_takes_the_kernel_along(
    jupyter: Jupyter, start: Callable[..., Session], cluster: Any
) -> None:
    kernel = start(NAME)
    kernel.run("import subprocess; subprocess.Popen(['setsid', 'sleep', '600'])")
    marker = kernel.marker
    cancel(cluster)
    wait_until(lambda: not kernel.manager.is_alive(), "the kernel's end")
    wait_until(lambda: processes.find(marker) == [], "the end of its processes")
    kernel.end()
    assert containers(jupyter) == []


STARTER = """
import sys, time
from jupyter_client.manager import KernelManager
manager = KernelManager(kernel_name="far")
manager.start_kernel()
print(manager.kernel_id, flush=True)
time.sleep(600)
"""


def test_a_killed_server_leaves_neither_job_nor_process(jupyter: Jupyter, cluster: Any) -> None:
    server = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    marker = server.stdout.readline().strip() or "none"
    try:
        assert processes.find(marker)
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
        server.stdout.close()
    wait_until(lambda: processes.find(marker) == [], "the end of the kernel's processes")
    wait_until(lambda: jobs(cluster) == "", "the job's end")
    assert containers(jupyter) == []


def test_failing_restart_is_told_by_a_kernel_at_the_same_address(
    jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str]
) -> None:
    kernel = start(NAME)
    info = kernel.manager.get_connection_info()
    kernel.manager.provisioner.command = ["/nowhere/python3", "-f", "{connection_file}"]
    kernel.restart()
    assert "/nowhere/python3" in kernel.run("1")
    assert kernel.manager.get_connection_info() == info
    kernel.manager.provisioner.command = ["/usr/bin/python3", "-m", "ipykernel_launcher", "-f",
                                          "{connection_file}"]  # fmt: skip
    kernel.restart()
    assert kernel.value("6 * 7") == 42


def test_paths_of_the_kernel_are_found_on_this_machine(
    jupyter: Jupyter, start: Callable[..., Session]
) -> None:
    kernel = start(NAME)
    provisioner = kernel.manager.provisioner
    kernel.run("open('/srv/made', 'w').write('inside')")
    made = provisioner.resolve_path("/srv/made")
    assert made
    with open(made) as file:
        assert file.read() == "inside"
    assert provisioner.resolve_path("/etc/lpmx-image").endswith("/fs/etc/lpmx-image")
    assert provisioner.resolve_path("/nowhere") is None


def test_secrets_of_the_server_stay_there(
    jupyter: Jupyter, start: Callable[..., Session], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "hush-hush")
    granted = GRANTED[cluster.system]
    monkeypatch.setenv(granted, "4711")  # as if the server ran in a job
    monkeypatch.setenv("SLURM_NNODES" if cluster.system == "slurm" else "NSLOTS", "7")
    kernel = start(NAME, env={**os.environ, "FROM_CLIENT": "yes"})
    env = kernel.value("dict(__import__('os').environ)")
    assert env["FROM_CLIENT"] == "yes"
    assert env[granted] != "4711"
    assert "7" not in (env.get("SLURM_NNODES"), env.get("NSLOTS"))
    for pid in processes.find(kernel.marker):
        with open(f"/proc/{pid}/environ", "rb") as file:
            assert b"hush-hush" not in file.read()


def test_shell_of_an_image_runs_in_a_job(
    jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str], cluster: Any
) -> None:
    install(jupyter, image("biocontainer"), cluster, "--kernel=shell", name="sh")
    kernel = start("sh")
    assert kernel.run(f"echo ${GRANTED[cluster.system]}").strip().isdigit()
    kernel.run("x=here")
    kernel.manager.interrupt_kernel()
    assert kernel.run("echo $x") == "here\n"


def test_channels_are_encrypted_where_the_kernel_can(
    jupyter: Jupyter, start: Callable[..., Session], payload_image: str, cluster: Any
) -> None:
    install(jupyter, payload_image, cluster, name="payload")
    kernel = start("payload")
    assert kernel.manager.curve_publickey
    assert kernel.value("__import__('ipykernel').kernelapp.IPKernelApp.instance().curve_publickey")
    kernel.restart()
    assert kernel.value("6 * 7") == 42


def test_missing_client_of_the_queue_is_said(
    jupyter: Jupyter, start: Callable[..., Session], cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "there is no program (srun|qrsh) here"
    with monkeypatch.context() as lost:
        lost.setenv("PATH", "/nowhere")
        with pytest.raises(KernelStartError, match=message):
            start_session(jupyter, NAME)


@pytest.fixture
def started(jupyter: Jupyter) -> Iterator[Any]:
    """A kernel that was started by its argv alone, and a client of it."""
    file, info = write_connection_file(str(jupyter.folder / "runtime" / "kernel-argv.json"))
    argv = [word.replace("{connection_file}", file) for word in jupyter.spec(NAME)["argv"]]
    process = subprocess.Popen(argv, start_new_session=True)
    client = BlockingKernelClient(connection_file=file)
    client.load_connection_file()
    try:
        # As VS Code does: a client that asks before takes the silence for a death.
        wait_until(lambda: readiness.accepts(info), "the kernel's ports", 60)
        client.start_channels()
        client.wait_for_ready(timeout=60)
        yield process, client
    finally:
        client.stop_channels()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_argv_alone_starts_a_kernel_on_a_node(started: Any, jupyter: Jupyter, cluster: Any) -> None:
    process, client = started
    printed: list[str] = []

    def run(code: str) -> Any:
        printed.clear()
        return client.execute_interactive(code, timeout=60, output_hook=_printing_to(printed))

    run(f"import os; print(os.environ['{GRANTED[cluster.system]}'], os.environ['LPMX_KERNEL'])")
    job, marker = "".join(printed).split()
    assert job in jobs(cluster)
    request = client.execute("print('it runs', flush=True); import time; time.sleep(600)")
    wait_until(lambda: client.get_iopub_msg(timeout=60)["msg_type"] == "stream", "the cell runs")
    process.send_signal(signal.SIGINT)  # to that process alone, as VS Code does
    while (reply := client.get_shell_msg(timeout=60))["parent_header"]["msg_id"] != request:
        pass
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    client.shutdown()
    assert process.wait(60) == 0
    assert processes.find(marker) == []
    assert containers(jupyter) == []


def test_argv_ends_by_the_signal_that_ends_its_kernel(started: Any, jupyter: Jupyter) -> None:
    process, client = started
    client.execute("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert process.wait(60) == 128 + signal.SIGKILL
    assert containers(jupyter) == []


def test_killed_argv_leaves_nothing(started: Any, jupyter: Jupyter, cluster: Any) -> None:
    process, _ = started
    os.killpg(process.pid, signal.SIGKILL)
    wait_until(lambda: jobs(cluster) == "", "the job's end")
    assert containers(jupyter) == []


def _printing_to(printed: list[str]) -> Callable[[dict[str, Any]], None]:
    def collect(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    return collect


@pytest.mark.long  # its addresses are the machine's: one at a time
@pytest.mark.needs_root
def test_kernel_on_a_node_with_a_network_of_its_own(
    bare_jupyter: Jupyter,
    start: Callable[..., Session],
    payload_image: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another host name, another loopback, another address: only the files are shared."""
    with FarSlurm(tmp_path_factory.mktemp("far")) as cluster:
        for name, value in cluster.variables.items():
            monkeypatch.setenv(name, value)
        bare_jupyter.lpmx(
            "kernel", "install", payload_image, "--name", NAME, "--launcher=slurm",
            "--launcher-options=--nodelist=n2",
        )  # fmt: skip
        kernel = start(NAME)
        assert kernel.value("__import__('socket').gethostname()") == "far"
        assert kernel.manager.ip == cluster.there
        assert kernel.manager.curve_publickey
        assert [each["runs"][0]["host"] for each in containers(bare_jupyter)] == ["far"]
        request = kernel.start_busy("import time; time.sleep(600)")
        kernel.manager.interrupt_kernel()
        assert kernel.reply(request)["ename"] == "KeyboardInterrupt"
        kernel.restart()
        assert kernel.value("6 * 7") == 42
        kernel.end()
        assert containers(bare_jupyter) == []
        assert cluster.run("squeue", "-h") == ""
