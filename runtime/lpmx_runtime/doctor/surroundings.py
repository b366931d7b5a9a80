"""What lies around: temporary files, GPUs, a batch system."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from lpmx_runtime.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpmx_runtime.doctor.site import Site

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
    """Devices and drivers of GPUs."""
    cards = sorted(path.name for path in site.dev.glob("nvidia[0-9]*"))
    version = site.read("driver/nvidia/version").splitlines()
    if cards:
        closed = [name for name in cards if not os.access(site.dev / name, os.R_OK | os.W_OK)]
        driver = _driver(version[0]) if version else "driver of unknown version"
        if closed:
            yield Finding(
                "GPU",
                "note",
                f"{', '.join(closed)}: you may not open them",
                "ask for a GPU in your job, or for membership in the devices' group",
            )
        else:
            yield Finding("GPU", "ok", f"NVIDIA: {', '.join(cards)} ({driver})")
    elif version:
        yield Finding(
            "GPU",
            "note",
            "an NVIDIA driver is loaded but no device is here",
            "ask for a GPU in your job",
        )
    if (site.dev / "kfd").exists():
        mine = os.access(site.dev / "kfd", os.R_OK | os.W_OK)
        yield Finding(
            "GPU",
            "ok" if mine else "note",
            "AMD: /dev/kfd" + ("" if mine else " is not open to you"),
            "" if mine else "ask for membership in the groups render and video",
        )
    if not cards and not version and not (site.dev / "kfd").exists():
        yield Finding("GPU", "ok", "none on this machine")


def _driver(line: str) -> str:
    """The number in "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  DATE"."""
    number = re.search(r"\s(\d+(\.\d+)+)\s", f"{line} ")
    return f"driver {number[1]}" if number else "driver of unknown version"


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
