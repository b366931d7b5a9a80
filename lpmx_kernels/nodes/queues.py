"""The batch systems that kernels can be started through: their command lines, nothing else.

A system has a client that runs one command on a node, waits for its turn, and connects the
command's standard streams with its own.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpmx_runtime.batch import sge, slurm
from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOCAL = "local"
SECRETS = ("JUPYTERHUB_*", "*_TOKEN", "*_PASSWORD")
"""Names of a client's variables that do not travel."""


@dataclass(frozen=True)
class Queue:
    """A batch system. `{name}` in its words stands for the job's name, which is unique."""

    name: str
    start: tuple[str, ...]  # what runs a command on a node; the user's options follow
    cancel: tuple[str, ...]  # ends the job, whatever its state
    granted: tuple[str, ...]  # names of the variables by which the system tells a job what it got
    own_job: str  # the variable that is set in a job
    kept: tuple[str, ...]  # of the `granted`, those that clients need to find their system
    submitter: str  # the variable that names the machine a job was submitted from

    @property
    def program(self) -> str:
        """The client."""
        return self.start[0]

    def command(self, job: str, options: Sequence[str], program: Sequence[str]) -> list[str]:
        """The command line that runs `program` on a node."""
        return [*(word.format(name=job) for word in self.start), *options, *program]

    def cancel_command(self, job: str) -> list[str]:
        """The command line that ends it."""
        return [word.format(name=job) for word in self.cancel]

    def client_env(self, env: Mapping[str, str]) -> dict[str, str]:
        """`env` for the client.

        Where Jupyter itself runs in a job, its kernels are jobs of their own and not steps of it.
        """
        inside = self.own_job in env
        return {
            name: value
            for name, value in env.items()
            if not _matches(name, SECRETS)
            and not (inside and self.is_granted(name) and name not in self.kept)
        }

    def is_granted(self, name: str) -> bool:
        """Say whether the system sets that variable in its jobs."""
        return _matches(name, self.granted)


QUEUES = {
    queue.name: queue
    for queue in (
        Queue(
            "slurm",
            # / is on every node; the kernel's directory follows in the request
            ("srun", "--ntasks=1", "--nodes=1", "--job-name={name}", "--chdir=/"),
            ("scancel", "--name={name}"),
            (*slurm.TAKE.split(":"), "SRUN_*", "SLURMD_*"),
            "SLURM_JOB_ID",
            ("SLURM_CONF", "SLURM_CONF_SERVER", "TMPDIR"),
            "SLURM_LAUNCH_NODE_IPADDR",
        ),
        Queue(
            "sge",
            # -now n: wait for a turn; -w e: refuse at once what could never have one
            ("qrsh", "-now", "n", "-w", "e", "-noshell", "-wd", "/", "-N", "{name}"),
            ("qdel", "{name}"),
            tuple(sge.TAKE.split(":")),
            "JOB_ID",
            ("SGE_ROOT", "SGE_CELL", "SGE_QMASTER_PORT", "SGE_EXECD_PORT", "SGE_CLUSTER_NAME",
             "TMPDIR", "TMP"),
            "SGE_O_HOST",
        ),
    )
}  # fmt: skip
LAUNCHERS = (LOCAL, *QUEUES)


def find_queue(name: str) -> Queue | None:
    """The batch system of that name; None for this machine."""
    if name in ("", LOCAL):
        return None
    try:
        return QUEUES[name]
    except KeyError:
        raise UsageError(
            f"launcher {name}: is not known", hint=f"known: {', '.join(LAUNCHERS)}"
        ) from None


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
