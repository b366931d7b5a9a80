"""The figures as Markdown: every time also as a ratio to one of the others of the same rounds."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMMAND = "`sudo make bench` (which runs `bench/run.py`)"


@dataclass(frozen=True)
class Table:
    """One comparison: @times by name, in seconds, against the one named @reference."""

    title: str
    note: str
    reference: str
    times: Mapping[str, float]
    missing: Mapping[str, str] = field(default_factory=dict)  # name to why it was not measured

    def markdown(self) -> str:
        base = self.times.get(self.reference)
        lines = [
            f"## {self.title}",
            "",
            self.note,
            "",
            "| | time | ratio |",
            "| --- | ---: | ---: |",
        ]
        for name, seconds in self.times.items():
            ratio = f"{seconds / base:.2f}" if base else ""
            lines.append(f"| {name} | {_duration(seconds)} | {ratio} |")
        lines += [f"| {name} | {why} | |" for name, why in self.missing.items()]
        return "\n".join(lines) + "\n"


def page(tables: Sequence[Table], rounds: int, *, made_by: str = COMMAND) -> str:
    """The whole of docs/benchmarks.md, or of another page of figures."""
    head = (
        "# Benchmarks\n\n"
        f"Made by {made_by}; do not edit. The commands of a "
        f"table ran interleaved, {rounds} rounds unless noted, all caches warm; times are medians, "
        "ratios are to the line with 1.00. "
        "Take the ratios, not the times: the machine is small and shared.\n\n"
        f"Machine: {machine()}.\n"
    )
    return "\n".join([head, *(table.markdown() for table in tables)])


def machine() -> str:
    """What ran this, without its name."""
    cpu = _field("/proc/cpuinfo", "model name") or platform.machine()
    memory = int((_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 1024**2
    system = _field("/etc/os-release", "PRETTY_NAME", "=").strip('"')
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    return f"{cpu}, {os.cpu_count()} CPUs, {memory:.0f} GiB of memory, {system}, Linux {kernel}"


def _field(path: str, name: str, separator: str = ":") -> str:
    for line in Path(path).read_text().splitlines():
        key, found, value = line.partition(separator)
        if found and key.strip() == name:
            return value.strip()
    return ""


def _duration(seconds: float) -> str:
    if seconds < 1e-4:
        return f"{seconds * 1e6:.2f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.2f} ms"
    return f"{seconds:.2f} s"
