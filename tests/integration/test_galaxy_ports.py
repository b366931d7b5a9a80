"""Published ports: two servers on one port side by side, each reached where `port` says."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest
from support.lpmx import clean_environment
from support.waiting import until

PORT = "18888"
SERVER = (
    "import http.server, socket, sys, threading, urllib.request\n"
    "class Handler(http.server.BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200); self.end_headers(); self.wfile.write(sys.argv[1].encode())\n"
    "    def log_message(self, *words): pass\n"
    "family = socket.AF_INET6 if sys.argv[3] == 'v6' else socket.AF_INET\n"
    "class Server(http.server.ThreadingHTTPServer): address_family = family\n"
    "server = Server(('', int(sys.argv[2])), Handler)\n"
    "threading.Thread(target=server.serve_forever, daemon=True).start()\n"
    "host = '[::1]' if sys.argv[3] == 'v6' else '127.0.0.1'\n"
    "with urllib.request.urlopen(f'http://{host}:{sys.argv[2]}/') as answer: own = answer.read()\n"
    "peer = socket.create_connection((host.strip('[]'), int(sys.argv[2])))\n"
    "print(server.socket.getsockname()[1], own.decode(), peer.getpeername()[1], flush=True)\n"
    "threading.Event().wait()\n"
)


@pytest.fixture
def docker(store):
    script = Path(store.command[0]).with_name("lpmx-docker")
    return dataclasses.replace(store, command=(str(script),))


@pytest.fixture
def serve(docker, image, tmp_path):
    """serve(name, say, family): a server on PORT in a container of that name."""
    started = []
    (tmp_path / "server.py").write_text(SERVER)

    def call(name, say, family="v4", *, options=("-p", PORT)):
        process = subprocess.Popen(
            [*docker.command, "run", "--rm", "--name", name, *options, "-v", f"{tmp_path}:/s:ro",
             image("demo"), "python3", "/s/server.py", say, PORT, family],
            stdout=subprocess.PIPE, text=True, start_new_session=True,
            env=clean_environment(docker.environment()),
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == f"{PORT} {say} {PORT}\n"
        return process

    yield call
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def host_port(docker, name):
    line = docker("port", name).stdout
    inside, arrow, outside = line.split()
    assert (inside, arrow) == (f"{PORT}/tcp", "->")  # as Galaxy's parse_port_text reads it
    return int(outside.rpartition(":")[2])


def get(port, host="127.0.0.1"):
    with urllib.request.urlopen(f"http://{host}:{port}/", timeout=10) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_two_servers_on_one_port_run_side_by_side(docker, serve, family):
    serve(f"first-{family}", "one", family)
    serve(f"second-{family}", "two", family)
    host = "127.0.0.1" if family == "v4" else "[::1]"
    ports = [host_port(docker, f"{name}-{family}") for name in ("first", "second")]
    assert [get(port, host) for port in ports] == ["one", "two"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(PORT)), timeout=5)


def test_port_of_the_host_can_be_named(docker, serve):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    serve("named", "there", options=("-p", f"127.0.0.1:{free}:{PORT}"))
    assert get(free) == "there"
    assert docker("port", "named", PORT).stdout == f"0.0.0.0:{free}\n"
    done = docker("run", "--rm", "-p", f"{free}:80", "busybox:test", "true", check=False)
    assert done.returncode == 125


def test_other_machines_ports_are_not_touched(docker, busybox_image):
    """A program that reaches a published number elsewhere reaches just that."""
    script = "nc -w 1 192.0.2.1 18888; echo $?"  # a documentation address: nobody answers
    done = docker("run", "--rm", "-p", PORT, busybox_image, "sh", "-c", script)
    assert done.stdout.strip() != "0"


def test_port_of_a_container_without_any_says_nothing(docker, busybox_image):
    docker("run", "--name", "portless", busybox_image, "true")
    try:
        assert docker("port", "portless").stdout == ""
        assert docker("port", "portless", "80", check=False).returncode == 1
    finally:
        docker("rm", "-f", "portless")
    until(lambda: docker("inspect", "portless", check=False).returncode == 1, what="removal")
