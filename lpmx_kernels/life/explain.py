"""Why a kernel did not start, for its user: what happened, its last words, what to do, the log."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Subject:
    """The kernel that did not start."""

    display_name: str
    name: str  # of its kernel spec
    last_words: Sequence[str]
    log: Path | None


REMEDIES = (
    (
        r"No module named '?ipykernel",
        "that Python has no ipykernel any more; `lpmx kernel install` looks for another one",
    ),
    (r"Address already in use", "another program took the port first; start the kernel again"),
    (r"No space left on device|Disk quota exceeded", "make room (`lpmx gc`)"),
    (r"MemoryError|Cannot allocate memory", "the node or the job is short of memory; ask for more"),
    (
        r"^srun: |^qrsh: |Job was rejected|no suitable queues|unknown resource|Unable to run",
        "ask the queue for something else: `launcher_options` in the kernel spec",
    ),
    (r"cannot open shared object file", "the image lacks that library; add it to the image"),
)


def ended(subject: Subject, status: int) -> str:
    """The process ended before the kernel answered; `status` as of subprocess."""
    if status >= 0:
        what = f"it ended with exit status {status} before it was ready"
    else:
        name = _signal_name(-status)
        what = f"it was ended by {name} before it was ready"
        if -status == signal.SIGKILL:
            what += " (often: out of memory)"
    return _compose(subject, what)


def refused(subject: Subject, program: str, status: int) -> str:
    """The batch system did not run it; `program` is its client."""
    what = f"{program} ended with exit status {status} before it ran on a node"
    return _compose(subject, what)


def silent(subject: Subject, seconds: float) -> str:
    """The process lives and does not answer."""
    return _compose(subject, f"it was not ready after {seconds:g} s and has been stopped")


def _compose(subject: Subject, what: str) -> str:
    parts = [f'The kernel "{subject.display_name}" did not start: {what}', ""]
    if subject.last_words:
        parts += [*(f"    {line}" for line in subject.last_words), ""]
    parts.append(f"What to do: {_remedy(subject)}")
    if subject.log:
        parts.append(f"Full log: {subject.log}")
    return "\n".join(parts)


def _remedy(subject: Subject) -> str:
    text = "\n".join(subject.last_words)
    for pattern, remedy in REMEDIES:
        if re.search(pattern, text, re.MULTILINE):
            return remedy
    return f"`lpmx kernel doctor {subject.name}` looks for the cause"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
