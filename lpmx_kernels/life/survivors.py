"""Kernels that outlive their server: what another server needs to go on with them.

With `survive` in the kernel spec a start leaves a record in the store, `kernels/running/ID.json`,
which goes when the kernel is shut down. A server that starts looks for records of its user whose
kernel lives and whose server does not, and takes these kernels over under their old ids, with
their notebooks (server.py). A record belongs to one server: it is claimed under a lock.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lpmx_runtime.process.runs import Process, this_process
from lpmx_runtime.store.store import FileLock, atomic_write, make_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RUNNING = "running"


@dataclass(frozen=True)
class Survivor:
    """A kernel that may outlive its server."""

    kernel_id: str
    kernel_name: str  # of its spec
    notebook: str  # JPY_SESSION_NAME: the file it was started for; may be empty
    kernel: Process
    server: Process  # the one it belongs to
    info: Mapping[str, Any]  # as of get_provisioner_info, without bytes

    def is_free(self) -> bool:
        """Say whether its kernel lives here and its server does not."""
        return self.kernel.is_here() and not self.server.is_alive()


def record(root: Path, survivor: Survivor) -> None:
    """Write it down."""
    folder = _folder(root)
    make_private(folder)
    data = json.dumps(asdict(survivor), indent=1).encode()
    atomic_write(folder / f"{survivor.kernel_id}.json", data)


def forget(root: Path, kernel_id: str) -> None:
    """Remove its record."""
    with contextlib.suppress(FileNotFoundError):
        (_folder(root) / f"{kernel_id}.json").unlink()


def free(root: Path) -> list[Survivor]:
    """Those that wait for a server; records of kernels that have ended go."""
    found = []
    for path in sorted(_folder(root).glob("*.json")):
        survivor = _read(path)
        if survivor and survivor.is_free():
            found.append(survivor)
        elif survivor and not survivor.kernel.is_alive():
            path.unlink(missing_ok=True)
    return found


def claim(root: Path, kernel_id: str) -> Survivor | None:
    """Take over a free survivor for this process; None where there is none of that id."""
    path = _folder(root) / f"{kernel_id}.json"
    if not path.exists():
        return None
    with FileLock(_folder(root) / "lock"):
        survivor = _read(path)
        if survivor is None or not survivor.is_free():
            return None
        claimed = replace(survivor, server=this_process())
        record(root, claimed)
    return claimed


def _read(path: Path) -> Survivor | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        processes = {key: Process.from_dict(data[key]) for key in ("kernel", "server")}
        return Survivor(**{**data, **processes})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _folder(root: Path) -> Path:
    return root / "kernels" / RUNNING
