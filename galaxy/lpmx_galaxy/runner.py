"""Job runners for Galaxy's job_conf, which bring the container type `lpmx` with them.

    runners:
      tools: {load: "lpmx_galaxy.runner:LpmxLocalJobRunner"}

They are Galaxy's own runners; a class is made when it is asked for, so that no batch system's
library is needed but the one that is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lpmx_galaxy.native import register

__all__ = ["RUNNERS"]

RUNNERS = {
    "LpmxLocalJobRunner": ("galaxy.jobs.runners.local", "LocalJobRunner"),
    "LpmxSlurmJobRunner": ("galaxy.jobs.runners.slurm", "SlurmJobRunner"),
    "LpmxDRMAAJobRunner": ("galaxy.jobs.runners.drmaa", "DRMAAJobRunner"),
    "LpmxShellJobRunner": ("galaxy.jobs.runners.cli", "ShellJobRunner"),
    "LpmxCondorJobRunner": ("galaxy.jobs.runners.condor", "CondorJobRunner"),
    "LpmxPulsarEmbeddedJobRunner": ("galaxy.jobs.runners.pulsar", "PulsarEmbeddedJobRunner"),
}


def __getattr__(name: str) -> Any:
    """The runner class @name."""
    if name not in RUNNERS:
        raise AttributeError(f"there is no runner {name} here; {', '.join(RUNNERS)}")
    module, base = RUNNERS[name]
    register()
    made = type(name, (getattr(import_module(module), base),), {"__doc__": f"{base} with lpmx."})
    globals()[name] = made
    return made
