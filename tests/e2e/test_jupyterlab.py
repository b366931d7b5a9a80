"""JupyterLab, installed apart from the image and from these tests, in a real browser."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.jupyter import wait_until
from support.jupyter_venv import JupyterVenv, jupyter_venv
from support.lpmx import Lpmx, clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "token-of-this-test"
BROWSER = Path(__file__).with_name("lab_in_browser.py")
pytestmark = pytest.mark.timeout(600)


@dataclass
class Server:
    """A JupyterLab with folders of its own."""

    lab: JupyterVenv
    folder: Path
    store: Lpmx
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def environment(self) -> dict[str, str]:
        names = (
            "HOME",
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "IPYTHONDIR",
        )
        places = {name: str(self.folder / name.lower()) for name in names}
        return self.store.environment(places)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        for name in ("home", "work", "jupyter_runtime_dir"):
            (self.folder / name).mkdir(exist_ok=True)
        settings = self.folder / "jupyter_config_dir/lab/user-settings/@jupyterlab"
        notes = settings / "apputils-extension" / "notification.jupyterlab-settings"
        notes.parent.mkdir(parents=True, exist_ok=True)
        notes.write_text('{"fetchNews": "false", "checkForUpdates": false}')
        command = [
            self.lab.program("jupyter"), "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
            f"--port={self.port}", "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={self.folder / 'work'}",
            "--ServerApp.jpserver_extensions=lpmx_kernels=True", "--LabApp.news_url=",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]  # fmt: skip
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=clean_environment(self.environment), stdout=log, stderr=log
            )
        wait_until(self._answers, "JupyterLab answers", 90)

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"{self.url}/api/status?token={TOKEN}", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def stop(self, *, kill: bool = False) -> None:
        assert self.process
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()

    def browse(self, scenario: str) -> dict[str, Any]:
        """What a user sees in a scenario of lab_in_browser.py."""
        done = subprocess.run(
            [self.lab.python, BROWSER, scenario, self.url, TOKEN, self.folder],
            env=clean_environment(), capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return dict(json.loads(done.stdout))

    def end_kernels(self) -> None:
        with urllib.request.urlopen(f"{self.url}/api/kernels?token={TOKEN}") as reply:
            kernels = json.load(reply)
        for kernel in kernels:
            address = f"{self.url}/api/kernels/{kernel['id']}?token={TOKEN}"
            urllib.request.urlopen(urllib.request.Request(address, method="DELETE")).close()

    def lpmx(self, *arguments: str) -> str:
        return self.store(*arguments, env=self.environment).stdout


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, archive: Callable[[str], Path]
) -> Iterator[Server]:
    """JupyterLab with the kernels Tools (a payload with matplotlib), Broken and Keeper."""
    if not shutil.which("chromium"):
        pytest.skip("no chromium (tests/images/prepare.sh e2e)")
    lab, folder = jupyter_venv(), tmp_path_factory.mktemp("jupyterlab")
    store = Lpmx(tmp_path_factory.mktemp("lab-store"), command=(lab.program("lpmx"),))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = Server(lab, folder, store, port)
    (folder / "home").mkdir()
    store("load", archive("tools"))
    store("kernel", "payload", "build", "lpmx-test/tools", "matplotlib")
    for name, options in (("tools", []), ("broken", []), ("keeper", ["--survive"])):
        named = ("--name", name, "--display-name", name.title())
        here.lpmx("kernel", "install", "lpmx-test/tools", *named, *options)
    spec = folder / "jupyter_data_dir" / "kernels" / "broken" / "kernel.json"
    spec.write_text(spec.read_text().replace("/usr/bin/python3", "/usr/bin/no-python"))
    here.start()
    yield here
    here.stop(kill=True)


def test_a_user_picks_a_kernel_and_works_with_it(server: Server) -> None:
    seen = server.browse("work")
    assert seen["icon"].startswith("/kernelspecs/tools/logo-svg.svg") or "logo" in seen["icon"]
    assert seen["icon_width"] > 0
    assert "tools" in seen["run"]
    assert seen["plot"] == "data:image/png;base64,"
    assert "KeyboardInterrupt" in seen["interrupt"]
    assert "fresh" in seen["restart"]


def test_a_breakpoint_stops_a_cell(server: Server) -> None:
    seen = server.browse("debug")
    assert "double" in seen["frame"]
    assert "42" in seen["printed"]


def test_a_failing_start_shows_its_reason_in_a_dialog(server: Server) -> None:
    dialog = server.browse("fail")["dialog"]
    assert 'The kernel "Broken" did not start: it ended with exit status 127' in dialog
    assert "/usr/bin/no-python" in dialog
    assert "Full log:" in dialog


def test_a_failing_restart_shows_its_reason_in_the_notebook(server: Server) -> None:
    hidden = server.store.home / "payloads-hidden"

    def break_it() -> None:
        wait_until((server.folder / "now-break-it").exists, "the kernel runs", 120)
        (server.store.home / "payloads").rename(hidden)
        (server.folder / "broken").touch()

    breaker = threading.Thread(target=break_it)
    breaker.start()
    try:
        message = server.browse("fail_restart")["message"]
    finally:
        breaker.join()
        hidden.rename(server.store.home / "payloads")
    assert "kernel payload" in message
    assert "lpmx kernel payload build" in message


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
def test_a_kernel_outlives_the_server_and_is_found_again(server: Server, kill: bool) -> None:
    server.end_kernels()
    for notebook in (server.folder / "work").glob("*.ipynb"):
        notebook.unlink()
    server.browse("keep")
    server.stop(kill=kill)
    begin = time.monotonic()
    server.start()
    assert "found 42" in server.browse("find_again")["found"]
    assert time.monotonic() - begin < 300
    server.end_kernels()
    wait_until(lambda: not list((server.store.home / "kernels/running").glob("*.json")), "none")
