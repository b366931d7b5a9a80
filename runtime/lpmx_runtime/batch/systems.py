"""Which batch systems there are, and which one this host has."""

from __future__ import annotations

import importlib
import shutil
from typing import TYPE_CHECKING, Protocol

from lpmx_runtime.errors import LpmxError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .job import Inside, Rewritten, Submission

__all__ = ["SYSTEMS", "System", "commands_here", "find_system", "system_module"]

# In the order in which `auto` looks: qsub is Grid Engine's and PBS's, so a command of only one
# system decides.
SYSTEMS = {"slurm": "sbatch", "lsf": "bsub", "sge": "qconf", "pbs": "pbsnodes"}
# Variables that say which of several systems the user's shell has been set up for.
SIGNS = {
    "slurm": ("SLURM_CONF", "SLURM_CLUSTER_NAME"),
    "lsf": ("LSF_ENVDIR",),
    "sge": ("SGE_ROOT",),
    "pbs": ("PBS_CONF_FILE", "PBS_DEFAULT", "PBS_SERVER"),
}


class System(Protocol):
    """What the module of a batch system offers."""

    ADAPTED: tuple[str, ...]  # commands that are rewritten
    PLAIN: tuple[str, ...]  # commands that are the host's as they are
    TAKE: str  # variables of a node that a job gets, as `lpmx-exec --take` wants them

    def adapt(self, submission: Submission, inside: Inside) -> Rewritten:
        """The command for the host that runs the job in the container again."""


def system_module(name: str) -> System:
    """The module of batch system @name."""
    module: System = importlib.import_module(f"lpmx_runtime.batch.{name}")
    return module


def find_system(wanted: str, path: str, environ: Mapping[str, str]) -> str:
    """The batch system that @wanted (a key of SYSTEMS, auto, none or "") means on this host.

    @path: PATH of the host. Of several systems the one that @environ is set up for is taken.

    "" when there is none to be had and none is insisted on. LpmxError when @wanted is not here.
    """
    if wanted in ("", "none"):
        return ""
    if wanted == "auto":
        found = [name for name, sign in SYSTEMS.items() if shutil.which(sign, path=path)]
        meant = [name for name in found if any(environ.get(sign) for sign in SIGNS[name])]
        return (meant or found or [""])[0]
    adapted = system_module(wanted).ADAPTED[0]
    if shutil.which(adapted, path=path) is None:
        raise LpmxError(
            f"batch: {wanted}: there is no {adapted} on the PATH of this host",
            hint="load its module or set PATH first; `batch: auto` takes what there is",
        )
    return wanted


def commands_here(system: str, path: str) -> Mapping[str, str]:
    """The commands of @system that are on the host's PATH, with their places."""
    module = system_module(system)
    names = (*module.ADAPTED, *module.PLAIN)
    return {name: found for name in names if (found := shutil.which(name, path=path))}
