"""Kernels on nodes without a batch system: command lines, what is said, addresses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from lpmx_kernels.nodes import address, wire
from lpmx_kernels.nodes.elsewhere import without_secrets
from lpmx_kernels.nodes.job import Job
from lpmx_kernels.nodes.queues import QUEUES, find_queue
from lpmx_kernels.spec.settings import KernelSettings
from lpmx_runtime.errors import UsageError

START = wire.Start(
    "kernel-1.json", {"key": "k"}, {"A": "ä\n"}, "/work", "m1", ["A"], ["A"], host_argv=[]
)


def test_options_come_between_the_client_and_the_command() -> None:
    command = QUEUES["slurm"].command(
        "lpmx-a-1", ["--mem=2G", "-p", "long"], ["python3", "-m", "x"]
    )
    assert command[0] == "srun"
    assert command[-6:] == ["--mem=2G", "-p", "long", "python3", "-m", "x"]
    assert "--job-name=lpmx-a-1" in command
    command = QUEUES["sge"].command("lpmx-a-1", ["-l", "h_vmem=2G"], ["python3"])
    assert command[command.index("-N") + 1] == "lpmx-a-1"
    assert command[-3:] == ["-l", "h_vmem=2G", "python3"]
    assert QUEUES["sge"].cancel_command("lpmx-a-1") == ["qdel", "lpmx-a-1"]


def test_a_server_in_a_job_submits_as_one_that_is_in_none() -> None:
    env = {"SLURM_JOB_ID": "1", "SLURM_NNODES": "4", "SLURM_CONF": "/c", "PATH": "/bin"}
    assert QUEUES["slurm"].client_env(env) == {"SLURM_CONF": "/c", "PATH": "/bin"}
    wish = {"SLURM_PARTITION": "long", "PATH": "/bin"}
    assert QUEUES["slurm"].client_env(wish) == wish
    inside = {"JOB_ID": "1", "SGE_ROOT": "/s", "SGE_TASK_ID": "2", "NSLOTS": "4"}
    assert QUEUES["sge"].client_env(inside) == {"SGE_ROOT": "/s"}


def test_secrets_stay_unless_somebody_has_asked_for_them() -> None:
    env = {"JUPYTERHUB_API_TOKEN": "a", "HF_TOKEN": "b", "DB_PASSWORD": "c", "LANG": "C"}
    assert without_secrets(env, ["HF_TOKEN"]) == {"HF_TOKEN": "b", "LANG": "C"}
    assert QUEUES["sge"].client_env(env) == {"LANG": "C"}


def test_unknown_launcher_is_refused_with_the_known_ones() -> None:
    assert find_queue("") is find_queue("local") is None
    with pytest.raises(UsageError, match="launcher lsf") as caught:
        find_queue("lsf")
    assert "slurm" in (caught.value.hint or "")


def test_start_survives_the_way_to_the_node() -> None:
    (line,) = wire.Lines().feed(wire.down(START.message()))
    assert wire.Start.of(wire.json.loads(line)) == START


def test_lines_are_whole_however_they_arrive() -> None:
    lines, data = wire.Lines(), b"one\ntwo\nthr"
    pieces = [data[i : i + 2] for i in range(0, len(data), 2)]
    assert [line for piece in pieces for line in lines.feed(piece)] == [b"one", b"two"]
    assert list(lines.feed(b"ee\n")) == [b"three"]


def test_words_of_a_site_are_not_taken_for_a_nodes() -> None:
    said = wire.up({"is": "here", "ip": "10.0.0.1"}).rstrip()
    assert wire.parse_up(said) == {"is": "here", "ip": "10.0.0.1"}
    assert wire.parse_up(b"prolog: " + said) == {"is": "here", "ip": "10.0.0.1"}
    assert wire.parse_up(b"Welcome to node 7") is None
    assert wire.parse_up(wire.MARK + b"{half") is None


def test_reserved_ports_keep_others_out_and_let_the_kernel_in() -> None:
    zmq = pytest.importorskip("zmq")
    reserved = address.Reserved("127.0.0.1")
    info = reserved.info
    ports = {info[name] for name in address.PORTS}
    assert len(ports) == len(address.PORTS)
    for port in ports:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", int(port)))
    for _ in range(2):  # a restarted kernel too
        with zmq.Context() as context, context.socket(zmq.ROUTER) as kernel:
            kernel.bind(f"tcp://127.0.0.1:{info['shell_port']}")


def test_address_is_the_one_that_leads_to_the_client() -> None:
    assert address.towards(["127.0.0.1"]) == "127.0.0.1"
    assert address.towards(["no.such.host.invalid", "127.0.0.1"]) == "127.0.0.1"


def job(code: str) -> Job:
    """A job whose client is this Python."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    return Job(QUEUES["slurm"], "lpmx-test", process, {"PATH": "/nowhere"})


SAYS = "import sys; say = lambda text: print('lpmx-kernel: ' + text, flush=True)\n"


def wait_for(made: Job) -> int:
    while (status := made.poll()) is None:
        os.sched_yield()
    return status


def test_what_a_job_says_last_is_not_missed() -> None:
    made = job(SAYS + """say('{"is": "here"}'); say('{"is": "started"}'); say('{"is": "ended", "status": -9}')""")  # fmt: skip  # noqa: E501
    assert wait_for(made) == 0
    assert made.place == {"is": "here"}
    assert made.kernel
    assert made.kernel.poll() == -signal.SIGKILL
    made.end()


def test_a_kernel_ends_with_its_job() -> None:
    made = job(SAYS + """say('{"is": "started"}'); sys.stdin.readline(); sys.exit(0)""")
    while made.kernel is None:
        made.poll()
    made.kernel.send_signal(signal.SIGINT)
    assert made.kernel.wait(20) == 1
    made.end()


def test_a_job_that_does_not_end_is_ended() -> None:
    made = job("import time; time.sleep(600)")
    made.end()
    assert made.poll() == -signal.SIGKILL


def test_settings_keep_launcher_and_options() -> None:
    settings = KernelSettings(
        "lab/a:1", ("python3",), launcher="slurm", launcher_options=("--mem=2G", "-p", "long")
    )
    config = settings.to_config()
    assert config["launcher_options"] == ["--mem=2G", "-p", "long"]
    assert KernelSettings.from_config(config, where="here") == settings
