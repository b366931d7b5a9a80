"""Which Pythons does an image have, and which of them has ipykernel? And R, and a shell?

Found out by running each candidate in a container. Reading the image's folders would be guessing:
only an import that succeeds proves that the Python, its ipykernel and the image's libraries go
together. The container shows nothing of the user's files, and only programs of the image's own
layers are tried: who opens a notebook has not asked for anything of the host to be run.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpmx_kernels.spec.settings import CONNECTION_FILE
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.plans.binds import default_binds, this_place
from lpmx_runtime.union.paths import glob
from lpmx_runtime.union.programs import programs_named
from lpmx_runtime.union.tree import Tree

from . import own_kernel as extras
from . import own_programs as inimage
from .probed import Probed
from .run_once import run_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

PYTHONS = ("python3", "python")
SHELLS = ("bash", "sh")
ELSEWHERE = (
    "opt/*/bin/python3",
    "opt/*/envs/*/bin/python3",
    "venv/bin/python3",
    "usr/local/*/bin/python3",
    "home/*/.venv/bin/python3",
)
TIMEOUT = 120.0

# Has to run on every Python 3. Whether it is musl, and which, says the program's loader, as to pip:
# platform knows nothing of musl before 3.14, and then it may say "1"; SOABI says gnu before 3.11.
PYTHON_SCRIPT = """
import json, platform, re, subprocess, sys
try:
    import ipykernel
    kernel, reason = ipykernel.__version__, ""
except Exception as error:
    kernel, reason = "", "%s: %s" % (type(error).__name__, error)
libc, version = platform.libc_ver()
with open(sys.executable, "rb") as program:
    loader = re.search(b"/[ -~]*/ld-musl-[ -~]+", program.read(4096))
if loader:
    asked = subprocess.Popen([loader.group()], stderr=subprocess.PIPE)
    told = re.search(b"Version ([0-9.]+)", asked.communicate()[1])
    libc, version = "musl", told.group(1).decode() if told else ""
print(json.dumps({
    "python": platform.python_version(), "ipykernel": kernel, "reason": reason, "libc": libc,
    "libc_version": version, "machine": platform.machine(),
    "tag": "%s%d%d%s" % (
        "cp" if platform.python_implementation() == "CPython" else "pp", sys.version_info[0],
        sys.version_info[1], "t" if "t" in getattr(sys, "abiflags", "") else "",
    ),
}))
"""

R_SCRIPT = """
cat(paste(R.version$major, R.version$minor, sep = "."), as.character(packageVersion("IRkernel")))
"""


@dataclass(frozen=True)
class FoundPython:
    """A Python of an image that starts."""

    path: str  # in the container
    python: str  # its version
    ipykernel: str = ""  # the version it imports; empty: it has none
    libc: str = ""  # glibc, musl
    libc_version: str = ""  # empty where it does not say
    machine: str = ""
    tag: str = ""  # as wheels name it: cp311
    reason: str = ""  # why it has no ipykernel

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version."""
        major, minor = self.python.split(".")[:2]
        return int(major), int(minor)

    @property
    def command(self) -> tuple[str, ...]:
        """What starts the kernel of its own ipykernel."""
        return (self.path, *self.options, extras.START, "-f", CONNECTION_FILE)

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the interpreter when it runs a kernel."""
        # As ipykernel's own specs: without it the debugger misses breakpoints in frozen modules.
        return ("-Xfrozen_modules=off",) if self.version >= (3, 11) else ()

    @property
    def facts(self) -> dict[str, str]:
        """For the kernel spec and its reader."""
        libc = f"{self.libc} {self.libc_version}".strip()
        return {"python": self.python, "ipykernel": self.ipykernel, "libc": libc}


@dataclass(frozen=True)
class FoundR:
    """An R of an image that has IRkernel."""

    path: str
    version: str
    irkernel: str

    @property
    def command(self) -> tuple[str, ...]:
        """What starts its kernel, as IRkernel's own spec says it."""
        return (self.path, "--slave", "-e", "IRkernel::main()", "--args", CONNECTION_FILE)


def find_pythons(
    store: Store, image: Image, *, wanted: str = ""
) -> tuple[list[FoundPython], list[str]]:
    """The Pythons of `image` in order of preference, and what kept the others from starting.

    The first one with ipykernel ends the search. `wanted` is a path in the container that is tried
    alone; where it is none of the image's, the user's files are shown to it, as he has named it.
    """
    found: list[FoundPython] = []
    refused: list[str] = []
    known = Probed(store, image)
    alone = not wanted or _is_own(store, image, wanted)
    for path in [wanted] if wanted else python_candidates(store, image):
        asked = functools.partial(_ask_python, store, image, path, alone=alone)
        try:
            facts = known.ask(f"python {path}", asked) if alone else asked()
            found.append(FoundPython(path, **facts))
        except LpmxError as error:
            refused.append(f"{path}: {error.message}")
            continue
        if found[-1].ipykernel:
            break
    return found, refused


def find_r(store: Store, image: Image) -> FoundR | None:
    """The first R of `image` with IRkernel."""
    known = Probed(store, image)
    for path in _own_on_path(store, image, ("R",)):
        with contextlib.suppress(LpmxError):
            facts = known.ask(f"R {path}", functools.partial(_ask_r, store, image, path))
            return FoundR(path, **facts)
    return None


def find_shell(store: Store, image: Image) -> str:
    """The path of the image's bash, else of its sh; empty where neither starts."""
    known = Probed(store, image)
    for path in _own_on_path(store, image, SHELLS):
        with contextlib.suppress(LpmxError):
            known.ask(f"shell {path}", functools.partial(_ask_shell, store, image, path))
            return path
    return ""


def python_candidates(store: Store, image: Image) -> Sequence[str]:
    """The image's own Pythons by their container paths, those on its PATH first."""
    with own_tree(store, image) as tree:
        found = dict.fromkeys(_on_path(tree, image, PYTHONS))
        for pattern in ELSEWHERE:
            found.update(dict.fromkeys(glob(tree, pattern)))
        return [path for path in found if not inimage.why_not_in(tree, path)]


def own_tree(store: Store, image: Image) -> Tree:
    """The image below what every kernel is shown of the host."""
    binds = default_binds(this_place(os.environ), frozenset({"cwd"}))
    return Tree.of_image(store, image, binds)


def _is_own(store: Store, image: Image, path: str) -> bool:
    with own_tree(store, image) as tree:
        return not inimage.why_not_in(tree, path)


def _own_on_path(store: Store, image: Image, names: Sequence[str]) -> list[str]:
    with own_tree(store, image) as tree:
        found = _on_path(tree, image, names)
        return [path for path in found if not inimage.why_not_in(tree, path)]


def _on_path(tree: Tree, image: Image, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield from programs_named(tree, name, image.env.get("PATH", ""))


# ---- asking


def _ask_python(store: Store, image: Image, path: str, *, alone: bool = True) -> dict[str, str]:
    argv = [path, "-c", PYTHON_SCRIPT]
    done = run_once(store, image, argv, timeout=TIMEOUT, alone=alone)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise LpmxError(words[-1] if words else f"exit status {done.returncode}")
    try:
        facts = json.loads(done.stdout)
        FoundPython(path, **facts)
    except (ValueError, TypeError) as error:
        raise LpmxError(f"unexpected output {done.stdout[:80]!r}") from error
    return dict(facts)


def _ask_r(store: Store, image: Image, path: str) -> dict[str, str]:
    argv = [path, "--slave", "-e", R_SCRIPT]
    done = run_once(store, image, argv, timeout=TIMEOUT, alone=True)
    words = done.stdout.decode(errors="replace").split()
    if done.returncode != 0 or len(words) != 2:
        raise LpmxError(f"{path}: no IRkernel")
    return {"version": words[0], "irkernel": words[1]}


def _ask_shell(store: Store, image: Image, path: str) -> dict[str, str]:
    argv = [path, "-c", "exit 0"]
    if run_once(store, image, argv, timeout=TIMEOUT, alone=True).returncode != 0:
        raise LpmxError(f"{path}: does not start")
    return {}
