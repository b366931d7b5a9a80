"""Which Python of an image has ipykernel? Found out by running each candidate in a container.

Reading the image's folders would be guessing: only an import that succeeds proves that the Python,
its ipykernel and the image's libraries go together.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpmx_kernels.errors import NoKernelProgramError
from lpmx_kernels.settings import CONNECTION_FILE
from lpmx_runtime.errors import LpmxError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from lpmx_runtime.image import Image
    from lpmx_runtime.store import Store

NAMES = ("python3", "python")
ELSEWHERE = (
    "opt/*/bin/python3",
    "opt/*/envs/*/bin/python3",
    "venv/bin/python3",
    "usr/local/*/bin/python3",
    "home/*/.venv/bin/python3",
)
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TIMEOUT = 120.0

SCRIPT = """
import ipykernel, json, platform, sys
print(json.dumps({
    "python": platform.python_version(), "ipykernel": ipykernel.__version__,
    "libc": " ".join(platform.libc_ver()).strip(), "executable": sys.executable,
}))
"""


@dataclass(frozen=True)
class FoundPython:
    """A Python of an image that can run ipykernel."""

    path: str  # in the container
    python: str
    ipykernel: str
    libc: str

    @property
    def command(self) -> tuple[str, ...]:
        """What starts its kernel."""
        # As ipykernel's own specs: without it the debugger misses breakpoints in frozen modules.
        major, minor = (int(part) for part in self.python.split(".")[:2])
        options = ["-Xfrozen_modules=off"] if (major, minor) >= (3, 11) else []
        return (self.path, *options, "-m", "ipykernel_launcher", "-f", CONNECTION_FILE)

    @property
    def facts(self) -> dict[str, str]:
        """For the kernel spec and its reader."""
        return {"python": self.python, "ipykernel": self.ipykernel, "libc": self.libc}


def find_python(store: Store, image: Image, *, wanted: str = "") -> FoundPython:
    """The first Python of `image` that imports ipykernel, or `wanted` if it does."""
    tried: list[str] = []
    for path in [wanted] if wanted else candidates(store, image):
        try:
            return _try(store, image, path)
        except LpmxError as error:
            tried.append(f"{path}: {error.message}")
    if not tried:
        tried = ["no Python is there"]
    raise NoKernelProgramError(
        f"image {image.name}: no Python with ipykernel ({'; '.join(tried)})",
        hint="`pip install ipykernel` in the image, or name its Python with --python",
    )


def candidates(store: Store, image: Image) -> Sequence[str]:
    """Container paths at which the image's layers hold a Python, those on its PATH first."""
    roots = [store.layer_fs(diff_id) for diff_id in reversed(image.diff_ids)]
    found = dict.fromkeys(_on_path(roots, image.env.get("PATH", DEFAULT_PATH)))
    for pattern in ELSEWHERE:
        for root in roots:
            for path in sorted(root.glob(pattern)):
                found.setdefault(f"/{path.relative_to(root)}")
    return list(found)


def _on_path(roots: Sequence[Path], search_path: str) -> Iterator[str]:
    directories = [d.strip("/") for d in search_path.split(":") if d.startswith("/")]
    for directory in directories:
        for name in NAMES:
            if any(os.path.lexists(root / directory / name) for root in roots):
                yield f"/{directory}/{name}"


def _try(store: Store, image: Image, path: str) -> FoundPython:
    from lpmx_kernels import launch

    done = launch.run_once(store, image, [path, "-c", SCRIPT], timeout=TIMEOUT)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise LpmxError(words[-1] if words else f"exit status {done.returncode}")
    try:
        facts = json.loads(done.stdout)
    except ValueError as error:
        raise LpmxError(f"unexpected output {done.stdout[:80]!r}") from error
    return FoundPython(path, facts["python"], facts["ipykernel"], facts["libc"])
