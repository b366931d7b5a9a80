"""What the engine costs a process in memory of its own: less than 1 MiB."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support.lpmx import clean_environment
from support.waiting import until

ADDED_MAX = 1024  # KiB
# Work of the kind that a process does, then a long sleep to be looked at.
PROGRAM = """
import os, sys
for folder, _, files in os.walk("/usr/share"):
    for name in files[:3]:
        os.stat(os.path.join(folder, name))
print("ready", flush=True)
sys.stdin.read()
"""


def private_kib(pid: int) -> int:
    """Memory that no other process shares, in KiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(n) for n in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+)", text, re.MULTILINE))


def idle(command, **options) -> int:
    """Private memory of @command, a Python that has done its work."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            return min(private_kib(process.pid) for _ in range(3))
        finally:
            process.stdin.close()
            until(lambda: process.poll() is not None, what="end of the program")


@pytest.mark.parametrize("engine", ["", "trap"])
def test_private_memory_added_to_a_process_is_under_a_mebibyte(empty_store, archive, engine):
    """Twice the same Python of the image: with the engine, and with none by its own loader."""
    store, name = empty_store, "memory"
    store("load", archive("demo"))
    store("create", "--name", name, "lpmx-test/demo")
    env = clean_environment({**store.environment(), "LPMX_ENGINE": engine})
    inside = [*store.command, "exec", name, "python3", "-S", "-c", PROGRAM]
    with_engine = idle(inside, env=env)
    command, home = native_python(store)
    without = idle(command, env={**env, "PYTHONHOME": home})
    assert 0 < with_engine < without + ADDED_MAX, f"{with_engine} KiB, {without} KiB without"


def native_python(store) -> tuple[list[str], str]:
    """The image's Python run by the image's own ld.so, without any engine; and its home."""
    layers = store.home / "layers"
    (loader,) = layers.glob("*/fs/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    (python,) = layers.glob("*/fs/usr/bin/python3.11")
    folders = {str(path.parent) for path in layers.glob("*/fs/usr/lib/x86_64-linux-gnu/*.so.*")}
    words = [loader, "--library-path", ":".join(sorted(folders)), python]
    return [*map(str, words), "-S", "-c", PROGRAM], str(python.parents[1])
