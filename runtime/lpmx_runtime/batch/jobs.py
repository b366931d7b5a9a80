"""The jobs of a container: a folder for each, and whether the batch system still has it.

containers/ID/jobs/TOKEN/     env, script (the job's own), submit/NAME (what was submitted)
containers/ID/runs/job-TOKEN.json     while the job may be there: it counts as running
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lpmx_runtime.process import runs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Job", "cancel_all", "forget_finished", "list_jobs", "new_folder", "number_in"]

_PREFIX = "job-"
# sbatch; sbatch --parsable; qsub of Grid Engine (also -terse), of PBS; bsub
_NUMBERS = (
    re.compile(r"Submitted batch job (\d+)"),
    re.compile(r"Your job(?:-array)? (\d+)"),
    re.compile(r"Job <(\d+)> is submitted"),
    re.compile(r"^(\d+(?:\[\])?\.[A-Za-z][\w.-]*)\s*$", re.MULTILINE),
    re.compile(r"^(\d+)(?:[.;][\w.:;-]*)?\s*$", re.MULTILINE),
)
_FINDS_SYSTEM = re.compile(r"SLURM_CONF$|SGE_|PBS_(CONF_FILE|DEFAULT|SERVER)$|LSF_")
# The commands that ask for a job's state, and that end it; its number follows.
_STATE = {
    "slurm": ("squeue", "-h", "-o", "%T", "-j"),
    "sge": ("qstat", "-j"),
    "pbs": ("qstat",),
    "lsf": ("bjobs", "-noheader", "-o", "stat"),
}
_CANCEL = {"slurm": "scancel", "sge": "qdel", "pbs": "qdel", "lsf": "bkill"}
_WAIT = 30.0  # seconds for a batch system to say whether it has a job


def new_folder(container: str) -> str:
    """The path of a folder for a new job; it is not made."""
    return os.path.join(container, "jobs", f"{time.time_ns():x}-{os.urandom(3).hex()}")


def number_in(said: str) -> str:
    """The job's number in what a submit command printed; "" when there is none."""
    for pattern in _NUMBERS:
        if found := pattern.search(said):
            return found[1]
    return ""


@dataclass(frozen=True)
class Job:
    """A job that was submitted from a container."""

    folder: str
    system: str
    command: str  # the submit command, whose folder has the one that asks
    argv: list[str]
    number: str = ""
    env: Mapping[str, str] = field(default_factory=dict)  # by which the system is found again
    submitter: runs.Process | None = None  # who has yet to hear the number

    @property
    def _note_file(self) -> str:
        container = os.path.dirname(os.path.dirname(self.folder))
        return os.path.join(container, "runs", f"{_PREFIX}{os.path.basename(self.folder)}.json")

    def with_number(self, number: str) -> Job:
        """The same, known to the batch system as @number."""
        return replace(self, number=number)

    def note(self) -> None:
        """Enter it into the container's register of what runs: runs.py reads it as a process."""
        where = f"{self.system} job {self.number}".strip()
        data = {
            "pid": 0, "start": 0, "boot": "", "namespace": 0, "host": where, "kind": "job",
            "argv": self.argv, "since": time.time(), "system": self.system,
            "command": self.command, "number": self.number,
            "submitter": dict(vars(runs.this_process())),
            "env": {name: value for name, value in self.env.items() if _FINDS_SYSTEM.match(name)},
        }  # fmt: skip
        path = self._note_file
        temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.tmp")
        with open(temporary, "w", encoding="ascii") as file:
            json.dump(data, file)
        os.rename(temporary, path)

    def forget(self) -> None:
        """It is over, or never came to be."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._note_file)
        shutil.rmtree(self.folder, ignore_errors=True)

    def cancel(self) -> None:
        """Ask the batch system to end it. A job that is over already is no error."""
        if self.number:
            _ask(self, _CANCEL[self.system], self.number)

    def is_over(self) -> bool:
        """Does the batch system say that it has no such job any more? In doubt it has."""
        if not self.number:
            return self.submitter is not None and not self.submitter.is_alive()
        done = _ask(self, *_STATE[self.system], self.number)
        if done is None:
            return False
        return _answer(self.system, done.returncode, done.stdout, done.stderr)


def _ask(job: Job, name: str, *words: str) -> subprocess.CompletedProcess[str] | None:
    """What command @name, which lies beside the one that submitted @job, says; None: no answer."""
    try:
        return subprocess.run(
            [os.path.join(os.path.dirname(job.command), name), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_WAIT,
            env={**os.environ, **job.env},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _answer(system: str, status: int, out: str, err: str) -> bool:
    said = f"{out}{err}".lower()
    if system == "slurm":
        return (status == 0 and not out.strip()) or "invalid job id" in said
    if system == "sge":
        return "do not exist" in said
    if system == "pbs":
        return "unknown job" in said or "has finished" in said
    states = set(out.split())
    return "is not found" in said or (bool(states) and states <= {"DONE", "EXIT"})


def list_jobs(container: str) -> list[Job]:
    """The jobs noted for the container in folder @container."""
    found = []
    folder = os.path.join(container, "runs")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if not name.startswith(_PREFIX) or not name.endswith(".json"):
            continue
        try:
            with open(os.path.join(folder, name), encoding="ascii") as file:
                data = json.load(file)
            token = name.removeprefix(_PREFIX).removesuffix(".json")
            found.append(
                Job(
                    os.path.join(container, "jobs", token),
                    str(data["system"]),
                    str(data["command"]),
                    list(data["argv"]),
                    str(data["number"]),
                    dict(data["env"]),
                    runs.Process.from_dict(data["submitter"]),
                )
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def cancel_all(container: str) -> None:
    """End and forget all jobs of the container in folder @container."""
    for job in list_jobs(container):
        job.cancel()
        job.forget()
    _forget_folders(container, set())


def forget_finished(container: str) -> int:
    """Forget the jobs of the container in folder @container that are over; how many are left."""
    left = set()
    for job in list_jobs(container):
        if job.is_over():
            job.forget()
        else:
            left.add(os.path.basename(job.folder))
    if not runs.live_runs(os.path.join(container, "runs")):
        _forget_folders(container, left)
    return len(left)


def _forget_folders(container: str, but: set[str]) -> None:
    """Remove what srun and the like have left, which are not noted: they end with their caller."""
    folder = os.path.join(container, "jobs")
    for name in set(os.listdir(folder)) - but if os.path.isdir(folder) else ():
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
