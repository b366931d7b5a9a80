"""What the private batch systems of the tests share: a folder, daemons with pid files, an end."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SBIN = "/usr/sbin:/sbin"


def require_programs(*names: str) -> None:
    """Skip the test unless all of @names are installed."""
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    missing = [
        name for name in names if not any((Path(d) / name).exists() for d in path.split(":"))
    ]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed (tests/images/prepare.sh batch)")


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Cluster:
    """A batch system that lives in one folder and ends with the `with` block.

    It is the system of @user, whom @prefix makes of this process; by default its own.
    """

    def __init__(self, folder: Path, *, user: str = "", prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self.user = user or getpass.getuser()
        self.prefix = tuple(prefix)
        self.variables: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)

    def hand_over(self) -> None:
        """Let the user have what this process has written below the folder."""
        if self.prefix:
            subprocess.run(["chown", "-R", f"{self.user}:", self.folder], check=True)

    @property
    def env(self) -> dict[str, str]:
        """This process's environment with what the system's commands need."""
        path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
        return {**os.environ, "PATH": path, **self.variables}

    def run(self, *command: str, check: bool = True, text: str = "") -> str:
        """What a command of the system prints."""
        done = subprocess.run(
            [*self.prefix, *command],
            env=self.env,
            cwd=self.folder,
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode:
            said = done.stdout + done.stderr + self.logs()
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}\n{said}")
        return done.stdout

    def logs(self) -> str:
        """The ends of the daemons' logs."""
        files = [path for path in self.folder.rglob("*") if path.name in self.log_names()]
        return "".join(f"\n{path}:\n{path.read_text(errors='replace')[-2000:]}" for path in files)

    def log_names(self) -> Iterable[str]:
        """Names of the files that daemons log to."""
        return ()

    def stop(self, pid_file: Path) -> None:
        """End the daemon that wrote @pid_file, and wait until it is gone."""
        try:
            pid = int(pid_file.read_text())
            os.kill(pid, signal.SIGTERM)
        except (OSError, ValueError):
            return
        try:
            until(lambda: _is_gone(pid), what=f"end of process {pid}", timeout=20)
        except AssertionError:
            os.kill(pid, signal.SIGKILL)


def _is_gone(pid: int) -> bool:
    """Gone or a zombie that nobody has waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def write(path: Path, values: Mapping[str, object]) -> Path:
    """A file of lines "NAME VALUE", the form of Grid Engine's objects."""
    path.write_text("".join(f"{name} {value}\n" for name, value in values.items()))
    return path
