"""Timing: commands in interleaved rounds, so that a busy moment hits all of them alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Command:
    """Something to time: a program with its environment, in a working directory."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    reports: bool = False  # it prints its own time in seconds, which counts instead of the wall's
    status: int = 0  # the one that it must end with
    processor: bool = False  # its processor time counts, which other programs change little
    prepare: Callable[[], None] | None = None  # called before each run, untimed


class MeasureError(Exception):
    """A command that is to be timed does not work."""


def time_once(command: Command, cwd: Path) -> float:
    """Seconds of one run, from before the start to after its end."""
    env = dict(command.env or os.environ)
    if command.prepare:
        command.prepare()
    if command.reports:
        done = subprocess.run(
            command.argv, env=env, cwd=cwd, capture_output=True, text=True, check=False
        )
        _check(command, done.returncode, done.stderr)
        return float(done.stdout)
    os.chdir(cwd)
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, 1)]
    if command.status:
        actions.append((os.POSIX_SPAWN_DUP2, null, 2))  # it says why, each time
    begin = time.perf_counter()
    pid = os.posix_spawnp(command.argv[0], list(command.argv), env, file_actions=actions)
    _, status, used = os.wait4(pid, 0)
    elapsed = time.perf_counter() - begin
    os.close(null)
    _check(command, os.waitstatus_to_exitcode(status), "see above")
    return used.ru_utime + used.ru_stime if command.processor else elapsed


def _check(command: Command, status: int, said: str) -> None:
    if status != command.status:
        raise MeasureError(
            f"{command.name}: `{' '.join(command.argv)}` ended with {status}: {said}"
        )


def medians(
    commands: Sequence[Command], rounds: int, cwd: Path, *, again: bool = False
) -> dict[str, float]:
    """The median of each command over @rounds rounds; the order rotates from round to round.

    @again: each is timed right after a run of its own, so that no other's is in the caches.
    """
    times: dict[str, list[float]] = {command.name: [] for command in commands}
    for command in commands:
        time_once(command, cwd)  # caches warm for all
    for number in range(rounds):
        turn = number % len(commands)
        for command in [*commands[turn:], *commands[:turn]]:
            if again:
                time_once(command, cwd)
            times[command.name].append(time_once(command, cwd))
    return {name: statistics.median(values) for name, values in times.items()}


def medians_of(actions: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Like medians(), for functions that are called once a round."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds):
        names = list(actions)
        turn = number % len(names)
        for name in [*names[turn:], *names[:turn]]:
            begin = time.perf_counter()
            actions[name]()
            times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}
