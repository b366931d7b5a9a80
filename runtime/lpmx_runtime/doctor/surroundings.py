"""What lies around: temporary files, GPUs, a batch system."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpmx_runtime.doctor.site import Site
    from lpmx_runtime.gpu.host import GpuHost

__all__ = ["batch", "gpu", "temporary"]

# a batch system by its submitting program; the first that is found names the family
BATCH = {
    "Slurm": ("sbatch", "srun"),
    "LSF": ("bsub",),
    "HTCondor": ("condor_submit",),
    "Grid Engine or PBS": ("qsub",),
}
JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "_CONDOR_SCRATCH_DIR")


def temporary(site: Site) -> Iterator[Finding]:
    """Containers share /tmp, or what TMPDIR names."""
    place = site.environ.get("TMPDIR") or "/tmp"  # noqa: S108  the host's /tmp is what is meant
    if not os.path.isdir(place) or not os.access(place, os.W_OK | os.X_OK):
        yield Finding(
            "temporary files",
            "problem",
            f"{place} cannot be written",
            "let TMPDIR name a folder of yours",
        )
        return
    mount = site.mount_of(place)
    if "noexec" in mount.options:
        yield Finding(
            "temporary files",
            "note",
            f"{place} is mounted noexec: programs and libraries built there do not run",
            "`--no-bind tmp` gives a container a /tmp of its own; or set TMPDIR",
        )
        return
    free = os.statvfs(place)
    if free.f_bavail * free.f_frsize < 100_000_000:
        yield Finding(
            "temporary files", "note", f"{place} is nearly full", "set TMPDIR to another folder"
        )
        return
    yield Finding("temporary files", "ok", f"{place} ({mount.type})")


def gpu(site: Site) -> Iterator[Finding]:
    """Devices and drivers of GPUs, as `--gpus` finds them."""
    from lpmx_runtime.gpu import cdi, rocm
    from lpmx_runtime.gpu.nvidia import find_nodes, kernel_version

    host = _gpu_host(site)
    cards = [p for p in find_nodes(host) if re.search(r"/(nvidia\d+|dxg)$", p)]
    amd = rocm.find_nodes(host)
    registry = cdi.load_registry(host)
    yield from _nvidia(host, cards)
    if amd:
        yield _closed("AMD", amd, "membership in the groups render and video") or Finding(
            "GPU", "ok", f"AMD: {', '.join(map(os.path.basename, amd))}"
        )
    if registry.devices:
        yield Finding("GPU", "ok", f"specifications (CDI): {', '.join(sorted(registry.devices))}")
    for problem in registry.problems:
        yield Finding("GPU", "note", problem, "its devices cannot be asked for by --gpus")
    if not cards and not amd and not registry.devices and not kernel_version(host):
        yield Finding("GPU", "ok", "none on this machine")


def _gpu_host(site: Site) -> GpuHost:
    """Where `--gpus` would look; tests have a /dev and /proc of their own."""
    from lpmx_runtime.gpu.host import this_host

    host = this_host(site.environ)
    return replace(host, root=str(site.dev.parent)) if site.dev != Path("/dev") else host


def _nvidia(host: GpuHost, cards: list[str]) -> Iterator[Finding]:
    from lpmx_runtime.gpu.nvidia import find_driver, kernel_version

    names = ", ".join(map(os.path.basename, cards))
    version = kernel_version(host)
    driver = find_driver(host) if cards else None
    if not cards and version:
        yield Finding(
            "GPU",
            "note",
            f"an NVIDIA driver ({version}) is loaded but no device is here",
            "ask for a GPU in your job",
        )
    if not cards:
        return
    closed = _closed("NVIDIA", cards, "a GPU in your job, or for membership in the devices' group")
    if closed:
        yield closed
    elif driver is None:
        yield Finding(
            "GPU",
            "note",
            f"NVIDIA: {names}, but there is no libcuda.so.1 that programs here would load",
            "let LD_LIBRARY_PATH or LPMX_DRIVER_ROOT name where the driver's libraries are",
        )
    else:
        known = f"driver {driver.version}" if driver.version else "driver of unknown version"
        yield Finding("GPU", "ok", f"NVIDIA: {names} ({known})")


def _closed(kind: str, nodes: list[str], ask: str) -> Finding | None:
    """A note when the user may not open one of @nodes."""
    closed = [os.path.basename(p) for p in nodes if not os.access(p, os.R_OK | os.W_OK)]
    if not closed:
        return None
    return Finding("GPU", "note", f"{kind}: {', '.join(closed)}: not open to you", f"ask for {ask}")


def batch(site: Site) -> Iterator[Finding]:
    """Programs that submit jobs, and whether this is a job."""
    found = {
        family: path
        for family, names in BATCH.items()
        if (path := next(filter(None, map(site.program, names)), None))
    }
    job = next((name for name in JOBS if site.environ.get(name)), "")
    inside = f"; this is a job ({job}={site.environ[job]})" if job else ""
    if found:
        systems = ", ".join(f"{family} ({path})" for family, path in found.items())
        yield Finding("batch system", "ok", systems + inside)
    else:
        yield Finding("batch system", "ok", f"none on PATH{inside}")
