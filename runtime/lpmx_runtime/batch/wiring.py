"""What a container needs so that jobs submitted in it come back: mapped commands and a note.

A submit command is mapped to a small script in the store that starts submit.py on the host; the
other commands of the batch system are mapped to themselves. batch.json in the container's folder
tells submit.py what it must know of the container.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.plans.execmap import ExecMap, HostTarget, Mapping
from lpmx_runtime.plans.plan import Bind, environment_dict

from .job import JOBS
from .systems import commands_here, system_module

if TYPE_CHECKING:
    from collections import abc
    from pathlib import Path

    from lpmx_runtime.container.record import Container
    from lpmx_runtime.plans.plan import LaunchPlan
    from lpmx_runtime.store.store import Store

__all__ = ["NOTE", "NOTE_VARIABLE", "jobs_bind", "map_commands", "note", "write_stubs"]

NOTE = "batch.json"
NOTE_VARIABLE = "LPMX_BATCH"
VERSION = 1
_SHEBANG_MAX = 120  # bytes: less than the 127 of kernels before 5.1


def map_commands(
    store: Store, commands: ExecMap, system: str, *, note_file: str, path: str
) -> tuple[ExecMap, dict[str, bytes]]:
    """The commands of batch system @system, and @commands, which win; and the scripts to be made.

    Those are the programs of submit commands, by their paths. @path: PATH of the host.
    """
    module = system_module(system)
    found = []
    stubs: dict[str, bytes] = {}
    for name, place in commands_here(system, path).items():
        if name in module.ADAPTED:
            text = _stub_text(system, place).encode("utf-8", "surrogateescape")
            stub = os.fspath(_stub_directory(store, text) / name)
            stubs[stub] = text
            target = HostTarget(stub, aside=True)
            found.append(Mapping(name, target, env={NOTE_VARIABLE: note_file}))
        else:
            found.append(Mapping(name, HostTarget(place)))
    return ExecMap(tuple(found)) + commands, stubs


def write_stubs(stubs: abc.Mapping[str, bytes]) -> None:
    """Make the scripts that do not exist yet."""
    from lpmx_runtime.store.store import atomic_write, make_private

    for path, text in stubs.items():
        if not os.path.exists(path):
            make_private(os.path.dirname(path))
            atomic_write(path, text, mode=0o700, durable=False)


def _stub_directory(store: Store, text: bytes) -> Path:
    return store.root / "cache" / "batch" / hashlib.sha256(text).hexdigest()[:16]


def _stub_text(system: str, place: str) -> str:
    """A Python script, or one of a shell where #! cannot name this Python.

    A shell drops the variables that have no name for it, such as exported functions.
    """
    python = sys.executable
    if len(python) < _SHEBANG_MAX and not set(python) & set(" \t\n"):
        call = f"main([{system!r}, {place!r}, *sys.argv[1:]])"
        return (
            f"#!{python} -I\nimport sys\nfrom lpmx_runtime.batch.submit import main\n"
            f"sys.exit({call})\n"
        )
    words = (python, "-I", "-m", "lpmx_runtime.batch", system, place)
    return f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n'


def jobs_bind(container_folder: str) -> Bind:
    """Shows the scripts of jobs in the container."""
    return Bind(os.path.join(container_folder, "jobs"), JOBS, read_only=True)


def note(container: Container, plan: LaunchPlan, plan_file: str) -> bytes:
    """What submit.py must know of a container that is started by @plan."""
    data = {
        "version": VERSION,
        "container": container.folder,
        "label": container.label,
        "loader": plan.loader,
        "plan": plan_file,
        "view": plan.view,
        "layers": list(plan.layers),
        "upper": plan.upper,
        "binds": [dict(vars(bind)) for bind in plan.binds],
        "home": container.home,
        "env": environment_dict(plan.env),
    }
    return json.dumps(data).encode("ascii")
