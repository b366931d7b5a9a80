"""The compiled parts, and whether a program really starts under them here."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lpmx_runtime import __version__, native
from lpmx_runtime.doctor.storage import scratch
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.process import proc

from .finding import Finding

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from lpmx_runtime.doctor.site import Site
    from lpmx_runtime.plans.plan import Bind, LaunchPlan

__all__ = ["parts", "start"]

_PROGRAM = "/bin/sh"
_FOLDERS = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/nix", "/gnu")
_TIMEOUT = 30.0  # seconds
_WORDS = "it runs"


def parts(site: Site) -> Iterator[Finding]:
    """Loader and library: there, executable, of this version."""
    try:
        loader = native.loader_path()
        native.library_path()
        done = proc.run([loader, "--version"], timeout=_TIMEOUT)
    except LpmxError as error:
        yield Finding(
            "loader", "problem", error.message, error.hint or "install lpmx-kernels again"
        )
        return
    text = (done.stdout + done.stderr).decode(errors="replace").strip()
    mount = site.mount_of(loader)
    if "noexec" in mount.options:
        yield Finding(
            "loader", "problem", f"{mount.point} is mounted noexec", "install lpmx elsewhere"
        )
    else:
        yield Finding("loader", "ok", f"{text} at {loader} (lpmx {__version__})")


def start(site: Site) -> Iterator[Finding]:
    """Start the host's shell in a container made of the host's own folders, writing a file."""
    if not os.access(_PROGRAM, os.X_OK):
        yield Finding("engine", "note", f"not tried: this host has no {_PROGRAM}")
        return
    with scratch(site) as folder:
        if folder is None:
            yield Finding("engine", "note", "not tried: the store cannot be written")
            return
        begin = time.monotonic()
        try:
            done = _run(folder)
        except (LpmxError, OSError) as error:
            yield Finding("engine", "problem", str(error), "please report this")
            return
        spent = (time.monotonic() - begin) * 1000
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode == 0 and said == _WORDS:
        yield Finding(
            "engine", "ok", f"a program starts, writes and reads in a container ({spent:.0f} ms)"
        )
        return
    end = f"status {done.returncode}" if done.returncode >= 0 else f"signal {-done.returncode}"
    lines = done.stderr.decode(errors="replace").splitlines()
    words = [line for line in lines if line.strip() and not line.startswith("  (")]  # no hints
    yield Finding(
        "engine",
        "problem",
        f"a program does not start in a container: {words[-1] if words else end}",
        "the lines above may say why; else please report it with `uname -a` and this output",
    )


def _run(folder: str) -> subprocess.CompletedProcess[bytes]:
    from lpmx_runtime.plans.plan import compile_plan

    path = os.path.join(folder, "plan")
    plan = _plan(folder)
    Path(path).write_bytes(compile_plan(plan))
    return proc.run([plan.loader, "--plan", path], check=False, timeout=_TIMEOUT)


def _plan(folder: str) -> LaunchPlan:
    """An empty image, a fresh upper, and the host's programs bound into it."""
    from lpmx_runtime.container.record import make_dirty_map
    from lpmx_runtime.plans.plan import LaunchPlan
    from lpmx_runtime.union.view import ViewBuilder

    diff_id = "0" * 64
    layer = os.path.join(folder, "layers", diff_id, "fs")
    os.makedirs(layer)
    for name in ("upper", "work"):
        os.mkdir(os.path.join(folder, name))
    make_dirty_map(os.path.join(folder, "dirty"))
    status = os.stat(layer)
    view = ViewBuilder()
    view.layer(diff_id, status.st_ino)
    view.add(b"", status, tar_mode=0o755, tar_uid=0, tar_gid=0)
    view.write(os.path.join(folder, "view"), diff_id)
    script = f"echo '{_WORDS}' > /written && while read -r line; do echo \"$line\"; done < /written"
    return LaunchPlan(
        loader=native.loader_path(),
        view=os.path.join(folder, "view"),
        layers=(layer,),
        stores=(os.path.join(folder, "layers"),),
        argv=(_PROGRAM, "-c", script),
        env=("PATH=/usr/bin:/bin",),
        binds=_binds(),
        upper=os.path.join(folder, "upper"),
        work=os.path.join(folder, "work"),
        dirty=os.path.join(folder, "dirty"),
        clear_env=True,
    )


def _binds() -> tuple[Bind, ...]:
    from lpmx_runtime.plans.plan import Bind

    return tuple(
        Bind(os.path.realpath(folder), folder, read_only=True)
        for folder in _FOLDERS
        if os.path.isdir(folder)
    )
