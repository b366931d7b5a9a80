"""A kernel in a real image, as Jupyter's clients use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from support.jupyter import READY, Jupyter, Session, containers, hide_modules, wait_until
from support.lpmx import clean_environment

from lpmx_kernels.errors import KernelStartError
from lpmx_kernels.life import processes

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "demo"


@pytest.fixture
def jupyter(bare_jupyter: Jupyter, image: Callable[[str], str]) -> Jupyter:
    """A Jupyter with the kernel `demo` of the demo image."""
    bare_jupyter.lpmx("kernel", "install", image("demo"), "--name", NAME, "--display-name", "Demo")
    return bare_jupyter


def test_cells_run_in_the_image(jupyter: Jupyter, start: Callable[..., Session]) -> None:
    kernel = start()
    assert kernel.value("open('/etc/lpmx-image').read()") == "demo\n"
    assert kernel.value("__import__('sys').executable") == "/usr/bin/python3"
    assert kernel.value("__import__('os').getuid()") == os.getuid()
    assert kernel.value("__import__('os').getcwd()") == os.getcwd()
    assert kernel.value("__import__('os').path.exists('/usr/share/doc/README')")
    assert "Program: bwa" in kernel.run("!bwa")


def test_host_is_not_seen(jupyter: Jupyter, start: Callable[..., Session]) -> None:
    kernel = start()
    for path in ("/usr/bin/make", "/etc/debian_chroot", sys.base_prefix + "/bin/cc"):
        if os.path.exists(path):
            assert not kernel.value(f"__import__('os').path.exists({path!r})")
    assert set(kernel.value("sorted(__import__('os').listdir('/usr/share/doc'))")) == {"README"}


def test_environment_is_clean(
    jupyter: Jupyter, start: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/host/lib")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    env = start(env={**os.environ, "FROM_CLIENT": "yes"}).value("dict(__import__('os').environ)")
    assert {"PYTHONPATH", "JUPYTERHUB_API_TOKEN"}.isdisjoint(env)
    assert env["LPMX_IMAGE"] == "demo"
    assert env["FROM_CLIENT"] == "yes"
    assert env["PYTHONNOUSERSITE"] == "1"
    assert env["HOME"] == os.environ["HOME"]


def test_options_of_install_reach_the_kernel(
    jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "reads").write_text("ACGT")
    bind = f"{tmp_path}/data:/data:ro"
    jupyter.lpmx("kernel", "install", image("demo"), "--name", "more", "-v", bind, "-e", "A=b c")
    kernel = start("more")
    assert kernel.value("open('/data/reads').read()") == "ACGT"
    assert kernel.value("__import__('os').environ['A']") == "b c"
    assert "Read-only file system" in kernel.run("open('/data/x', 'w')")


def test_interrupt_stops_a_busy_cell(jupyter: Jupyter, start: Callable[..., Session]) -> None:
    kernel = start()
    request = kernel.start_busy("import time; time.sleep(600)")
    kernel.manager.interrupt_kernel()
    assert kernel.reply(request)["ename"] == "KeyboardInterrupt"
    assert kernel.value("1+1") == 2


def test_interrupt_stops_a_child_of_a_cell(jupyter: Jupyter, start: Callable[..., Session]) -> None:
    kernel = start()
    request = kernel.start_busy("!sleep 600")
    wait_until(lambda: len(processes.find(kernel.marker)) > 1, "the child runs")
    kernel.manager.interrupt_kernel()
    kernel.reply(request)
    wait_until(lambda: len(processes.find(kernel.marker)) == 1, "the child is gone")


def test_restart_forgets_variables_and_keeps_files(
    jupyter: Jupyter, start: Callable[..., Session]
) -> None:
    kernel = start()
    kernel.run("x = 1; open('/opt/kept', 'w').write('here')")
    kernel.restart()
    assert "NameError" in kernel.run("x")
    assert kernel.value("open('/opt/kept').read()") == "here"


def test_shutdown_leaves_no_process_and_no_container(
    jupyter: Jupyter, start: Callable[..., Session]
) -> None:
    kernel = start()
    kernel.run("import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)")
    assert len(processes.find(kernel.marker)) == 2
    assert len(containers(jupyter)) == 1
    kernel.end()
    assert processes.find(kernel.marker) == []
    assert containers(jupyter) == []


SERVER = """
import sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name=sys.argv[1])
print(manager.kernel_id, flush=True)
sys.stdin.read()
"""


def test_kernel_ends_with_a_killed_server(jupyter: Jupyter) -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, NAME],
        env=clean_environment(jupyter.environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert server.stdout
    marker = server.stdout.readline().decode().strip()
    assert len(processes.find(marker)) == 1
    server.kill()
    server.communicate()
    wait_until(lambda: processes.find(marker) == [], "the kernel is gone")
    jupyter.lpmx("gc")
    assert containers(jupyter) == []


def test_two_kernels_do_not_see_each_others_files(
    jupyter: Jupyter, start: Callable[..., Session]
) -> None:
    first, second = start(), start()
    first.run("open('/opt/mine', 'w').write('1')")
    assert first.value("__import__('os').path.exists('/opt/mine')")
    assert not second.value("__import__('os').path.exists('/opt/mine')")


def test_persistent_container_keeps_files_from_kernel_to_kernel(
    jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str]
) -> None:
    jupyter.lpmx("kernel", "install", image("demo"), "--name", "keep", "--persist", "kept-kernel")
    first = start("keep")
    first.run("open('/opt/kept', 'w').write('here')")
    first.end()
    second = start("keep")
    assert second.value("open('/opt/kept').read()") == "here"
    third = start("keep")  # at the same time
    assert third.value("open('/opt/kept').read()") == "here"
    second.end()
    third.end()
    jupyter.lpmx("rm", "kept-kernel")


def test_connection_file_may_lie_anywhere(jupyter: Jupyter, start: Callable[..., Session]) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        kernel = start(connection_file=f"{folder}/connection.json")
        assert kernel.value(f"__import__('os').listdir({folder!r})") == ["connection.json"]
        kernel.end()


def test_kernel_over_unix_sockets(jupyter: Jupyter, start: Callable[..., Session]) -> None:
    jupyter.change_stanza(NAME, transport="ipc")
    kernel = start()
    assert kernel.value("1+1") == 2
    folder = Path(kernel.manager.ip).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    kernel.restart()
    assert kernel.value("2+2") == 4
    kernel.end()
    assert not folder.exists()


def test_paths_of_the_kernel_are_found_on_the_host(
    jupyter: Jupyter, start: Callable[..., Session]
) -> None:
    kernel = start()
    kernel.run("""
import os
open("/opt/new", "w").write("new"); os.symlink("new", "/opt/link")
os.unlink("/etc/lpmx-image"); open("here", "w").write("bound")
""")
    find = kernel.manager.resolve_path
    contents = {path: Path(find(path) or "/dev/null").read_text() for path in ("/opt/link", "here")}
    assert contents == {"/opt/link": "new", "here": "bound"}
    readme = find("/usr/share/doc/README")
    assert readme
    assert readme.startswith(str(kernel.manager.provisioner.store))
    # A path of the host that was found so is found again.
    new = find("/opt/new")
    assert new
    assert [find(path) for path in (new, readme)] == [new, readme]
    assert [find(path) for path in ("/etc/lpmx-image", "/etc/motd", "/no/where")] == [None] * 3


def test_killed_kernel_comes_back_by_restart(
    jupyter: Jupyter, start: Callable[..., Session]
) -> None:
    kernel = start()
    os.kill(kernel.value("__import__('os').getpid()"), signal.SIGKILL)
    wait_until(lambda: not kernel.manager.is_alive(), "the kernel is dead")
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=READY)
    assert kernel.value("1+1") == 2


def test_start_that_cannot_work_says_why(jupyter: Jupyter, start: Callable[..., Session]) -> None:
    jupyter.change_stanza(NAME, command=["/usr/bin/no-python", "-f", "{connection_file}"])
    with pytest.raises(KernelStartError) as caught:
        start()
    text = str(caught.value)
    assert 'The kernel "Demo" did not start: it ended with exit status 127' in text
    assert "/usr/bin/no-python" in text
    assert "Full log: " in text
    assert containers(jupyter) == []


def test_missing_image_says_why(jupyter: Jupyter, start: Callable[..., Session]) -> None:
    jupyter.change_stanza(NAME, image="lab/gone:1")
    with pytest.raises(KernelStartError, match=r"(?s)lab/gone:1: no such image.*lpmx load"):
        start()


def test_failing_restart_shows_its_reason_in_the_notebook(
    jupyter: Jupyter, start: Callable[..., Session]
) -> None:
    kernel = start()
    provisioner: Any = kernel.manager.provisioner
    provisioner.command = ["/usr/bin/no-python"]
    hide_modules()
    kernel.restart()
    assert "KernelRestartError" in kernel.run("1+1")
    assert "/usr/bin/no-python" in kernel.run("1+1")


def test_launcher_in_argv_becomes_the_kernel(jupyter: Jupyter, tmp_path: Path) -> None:
    """As VS Code does it, which knows no provisioners."""
    file, info = write_connection_file(str(tmp_path / "connection.json"), ip="127.0.0.1")
    argv = [word.replace("{connection_file}", file) for word in jupyter.spec(NAME)["argv"]]
    log = tmp_path / "stderr"
    with log.open("wb") as stderr:
        process = subprocess.Popen(argv, env=clean_environment(), stderr=stderr)
    client = BlockingKernelClient()
    client.load_connection_info(info)
    client.hb_channel.time_to_dead = (
        READY  # without a manager it takes a second's silence for death
    )
    client.start_channels()
    try:
        client.wait_for_ready(timeout=READY)
        reply = client.execute(
            "", user_expressions={"pid": "__import__('os').getpid()"}, reply=True, timeout=READY
        )
        value = reply["content"]["user_expressions"]["pid"]["data"]["text/plain"]
        assert int(value) == process.pid, log.read_text()
    finally:
        client.stop_channels()
        process.terminate()
        assert process.wait(timeout=20) == -signal.SIGTERM
    jupyter.lpmx("gc")
    assert containers(jupyter) == []


def test_doctor_list_logs_and_remove(jupyter: Jupyter) -> None:
    examined = jupyter.lpmx("kernel", "doctor", NAME)
    assert "(v) start: ready in" in examined.stdout
    assert "(x)" not in examined.stdout
    listed = json.loads(jupyter.lpmx("kernel", "list", "--json").stdout)
    assert [(kernel["name"], kernel["image"]) for kernel in listed] == [
        (NAME, "lpmx-test/demo:latest")
    ]
    assert NAME in jupyter.lpmx("kernel", "list").stdout
    logs = jupyter.lpmx("kernel", "logs", NAME, "--path").stdout.splitlines()
    assert all(Path(path).is_file() for path in logs)
    jupyter.lpmx("kernel", "remove", NAME)
    assert not (jupyter.kernels / NAME).exists()
    gone = jupyter.lpmx("kernel", "doctor", NAME, check=False)
    assert gone.returncode == 1
    assert "lpmx: kernel demo: not found" in gone.stderr


def test_doctor_names_what_is_wrong(jupyter: Jupyter) -> None:
    jupyter.change_stanza(NAME, command=["/usr/bin/no-python"])
    examined = jupyter.lpmx("kernel", "doctor", NAME, check=False)
    assert examined.returncode == 1
    assert "(x) start: " in examined.stdout
    assert "/usr/bin/no-python" in examined.stdout
