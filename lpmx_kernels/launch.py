"""The start of a kernel in its container, for the provisioner and for the launcher in argv.

`python -m lpmx_kernels.launch --spec DIR -f FILE` (also `lpmx kernel launch`) plans the start and
becomes the kernel by exec, so that the pid, the signals and the exit status a client sees are the
kernel's own. The provisioner makes the same start itself, which saves it a Python, and looks after
it. No jupyter_client is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lpmx_kernels.settings import KernelSettings
    from lpmx_runtime.image import Image
    from lpmx_runtime.plan import LaunchPlan
    from lpmx_runtime.store import Store


@dataclass(frozen=True)
class KernelStart:
    """All that starting one kernel needs: a command for the host that becomes the kernel."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    container: str
    log: Path
    plan: LaunchPlan | None = None

    def host_path(self, path: str) -> str | None:
        """The file on the host that a path of the kernel means; None where there is none."""
        return path


@dataclass(frozen=True)
class KernelRequest:
    """What a client and its kernel spec ask for in one start."""

    name: str  # of the kernel spec
    connection_file: str
    env: Mapping[str, str]  # as the client hands it over
    asked: Mapping[str, str]  # the part of it that the kernel spec set
    cwd: str
    marker: str
    server_env: Mapping[str, str] | None = (
        None  # what differs from it in `env` is the client's wish
    )
    container: str = ""  # of an earlier start of this kernel
    log: Path | None = None  # likewise


def plan_kernel(settings: KernelSettings, request: KernelRequest) -> KernelStart:
    """Decide everything about a start, and make its container."""
    raise NotImplementedError


def register(start: KernelStart, pid: int) -> None:
    """Note that process `pid` runs in the container."""


def release(settings: KernelSettings, container: str) -> None:
    """Remove the container of a kernel that has ended, unless it is to be kept."""


def run_once(
    store: Store, image: Image, argv: Sequence[str], *, timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a fresh container of `image` and capture what it says."""
    raise NotImplementedError
