"""One kernel's start on another node, from the submission of its job to the running process.

Used by the provisioner and by relay.py. The time in the queue is not the kernel's: it has a limit
of its own, and what the queue says against the job is the reason of the failing start.
"""

from __future__ import annotations

import asyncio
import fnmatch
import os
import re
import time
import uuid
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from lpmx_kernels.aside import aside
from lpmx_kernels.errors import KernelStartError
from lpmx_kernels.spec.interpreter import module_argv
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.plans.plan import PlanError, parse_plan
from lpmx_runtime.union.paths import plan_host_path

from . import job as jobs
from .queues import SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lpmx_kernels.spec.settings import KernelSettings

    from .job import Job, JobKernel
    from .queues import Queue
    from .wire import Start

INTERVAL = 0.01
SIGNAL_TIMEOUT = 2.0
"""Seconds to wait for the word that a signal has arrived."""
ANSWER_TIMEOUT = 60.0
"""Seconds in which a node says whether it has started a kernel: planning one takes far less."""


class QueueRefusedError(LpmxError):
    """The batch system did not run the job; its words are in the log."""

    def __init__(self, queue: Queue, status: int) -> None:
        super().__init__(f"{queue.program} ended with exit status {status}")
        self.status = status


class QueueTimeoutError(LpmxError):
    """The job has waited for its turn for too long."""


class Elsewhere:
    """The place of a kernel on another node; from restart to restart the same job."""

    def __init__(self, queue: Queue, settings: KernelSettings, name: str) -> None:
        self.queue, self.settings = queue, settings
        letters = re.sub(r"[^A-Za-z0-9.-]", "-", name)[:24]
        self._label = f"lpmx-{letters}"
        self._job: Job | None = None
        self._answer: Mapping[str, Any] = {}
        self.on_start: Callable[[JobKernel], None] = lambda _: None

    @property
    def is_held(self) -> bool:
        """Say whether there is a job that lives."""
        return self._job is not None and self._job.poll() is None

    @property
    def job_name(self) -> str:
        """By which the batch system knows it."""
        return self._job.name if self._job else ""

    @property
    def container(self) -> str:
        """Id of the kernel's container."""
        return str(self._answer.get("container", ""))

    @property
    def connection(self) -> Mapping[str, Any]:
        """Where the kernel listens."""
        return dict(self._answer["connection"])

    async def reserve(self, env: Mapping[str, str], log: IO[bytes] | int, timeout: float) -> None:
        """Have a job that runs. Raises QueueRefusedError, QueueTimeoutError."""
        if self.is_held:
            return
        await self.end()
        self._job = job = self._submit(env, log)
        deadline = time.monotonic() + timeout
        while job.place is None:
            status = job.poll()
            if status is not None and job.place is None:
                raise QueueRefusedError(self.queue, status)
            if time.monotonic() > deadline:
                raise QueueTimeoutError(
                    f"{self.queue.program} has found no place for it within {timeout:g} s",
                    hint="ask for less in `launcher_options`, or wait longer: `queue_timeout`",
                )
            await asyncio.sleep(INTERVAL)

    def _submit(self, env: Mapping[str, str], log: IO[bytes] | int) -> Job:
        program = (*module_argv("lpmx_kernels.nodes.node"), self.queue.name)
        name = f"{self._label}-{uuid.uuid4().hex[:8]}"
        options = self.settings.launcher_options
        try:
            return jobs.submit(self.queue, name, options, program, env=env, log=log)
        except FileNotFoundError:
            raise LpmxError(
                f"there is no program {self.queue.program} here",
                hint="start Jupyter on a machine from which jobs can be submitted",
            ) from None

    async def start(self, start: Start) -> JobKernel:
        """Start a kernel in the job. Raises LpmxError with the node's reason where it cannot."""
        job = self._job
        assert job
        sent = without_secrets(start.env, start.asked)
        job.start(replace(start, env=sent, container=start.container or self.container))
        deadline = time.monotonic() + ANSWER_TIMEOUT
        while job.answer is None:
            if job.poll() is not None:
                raise QueueRefusedError(self.queue, job.poll() or 0)
            if time.monotonic() > deadline:
                raise KernelStartError(f"its node has not answered within {ANSWER_TIMEOUT:g} s")
            await asyncio.sleep(INTERVAL)
        if job.kernel is None:
            raise LpmxError(str(job.answer["message"]), hint=str(job.answer["hint"]))
        self._answer = job.answer
        self.on_start(job.kernel)
        return job.kernel

    async def signals_arrive(self) -> None:
        """Wait until the kernel has what was sent: an interrupt must not hit the next cell."""
        deadline = time.monotonic() + SIGNAL_TIMEOUT
        while self._job and not self._job.has_signalled() and time.monotonic() < deadline:
            await asyncio.sleep(INTERVAL / 10)

    async def end(self) -> None:
        """Leave neither job nor process."""
        job, self._job = self._job, None
        if job:
            await aside(job.end)

    def host_path(self, path: str) -> str | None:
        """The file that a path of the kernel means, where this machine sees it too."""
        try:
            with open(self._answer["plan"], "rb") as file:
                plan = parse_plan(file.read())
        except (OSError, PlanError, KeyError):
            return None
        plan = replace(plan, cwd=str(self._answer["cwd"]))
        return plan_host_path(plan, os.path.expanduser(path))


def without_secrets(env: Mapping[str, str], asked: Mapping[str, str] | Any) -> dict[str, str]:
    """What of a client's variables may travel to another node."""
    return {
        name: value
        for name, value in env.items()
        if name in asked or not any(fnmatch.fnmatchcase(name, each) for each in SECRETS)
    }
