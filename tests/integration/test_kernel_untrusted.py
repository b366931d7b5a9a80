"""Opening a notebook from anywhere: its kernel starts, and nothing that came with it runs.

As a server does it: the kernel starts in the notebook's folder and is told which notebook that is.
Then the client asks what JupyterLab asks when a notebook is opened. No cell is run.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from support.jupyter import READY, Jupyter, Session, containers

from lpmx_kernels.errors import KernelStartError
from lpmx_kernels.start import notebook, startup

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.lpmx import Completed

NAME = "demo"
SCRIPT = """#!/bin/sh
{{ echo "$0"; }} >> {proof}
exec /usr/bin/python3 "$@"
"""
MODULE = "open({proof!r}, 'a').write(__file__ + '\\n')\n"
# What programs look for where they stand
PROGRAMS = ("python3", "python", "bash", "sh", "R", "lpmx", "evil/python3", "evil/python", "bin/sh")
FILES = (
    "ipython_config.py", "ipython_kernel_config.py", "ipykernel_config.py", "jupyter_config.py",
    "profile_default/startup/00-evil.py", "profile_default/ipython_config.py",
    "profile_default/ipython_kernel_config.py", "sitecustomize.py", "usercustomize.py",
)  # fmt: skip
MODULES = (
    "ipykernel", "IPython", "ipywidgets", "comm", "debugpy", "psutil", "matplotlib", "numpy",
    "pandas", "jedi", "zmq", "tornado", "traitlets", "lpmx_kernels", "IRkernel",
)  # fmt: skip
SHELLS = (".Rprofile", ".Renviron", ".bashrc", ".profile", ".bash_profile", ".inputrc", ".shrc")
ENVIRONMENT = "image: {image}\ncommands: {{hostname: 'host:{folder}/evil/python3'}}\n"


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as cloned from anywhere, in which the test stands; what runs leaves a proof."""
    folder = tmp_path / "clone"
    proof = folder / "PROOF"  # where a container with the default binds writes for all to see
    for name in PROGRAMS:
        _write(folder / name, SCRIPT.format(proof=proof), 0o755)
    modules = (*MODULES, *(name for name in sys.stdlib_module_names if name.isidentifier()))
    for name in (*FILES, *(f"{name}.py" for name in modules)):
        _write(folder / name, MODULE.format(proof=str(proof)))
    for name in SHELLS:
        _write(folder / name, f"echo {name} >> {proof}\n")
    monkeypatch.chdir(folder)
    return folder


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def proof(folder: Path) -> list[str]:
    """What of the planted files has run."""
    found = folder / "PROOF"
    return found.read_text().splitlines() if found.exists() else []


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every name in a folder, with time and size."""
    return {
        os.path.relpath(os.path.join(top, name), folder): (found.st_mtime_ns, found.st_size)
        for top, folders, files in os.walk(folder)
        for name in folders + files
        for found in [os.lstat(os.path.join(top, name))]
    }


def environment(folder: Path, wishes: object) -> dict[str, str]:
    """The environment of a start for a notebook with these wishes."""
    path = folder / "innocent.ipynb"
    path.write_text(json.dumps({"metadata": {"lpmx": wishes}, "cells": [], "nbformat": 4}))
    return {**os.environ, notebook.VARIABLE: str(path)}


def open_as_a_client(session: Session, *, debugger: bool = True) -> None:
    """Ask what JupyterLab asks of a kernel whose notebook has been opened."""
    client: Any = session.client
    asked = [client.kernel_info(), client.comm_info(), client.history(hist_access_type="tail", n=1)]
    for name in ("debugInfo", "initialize") if debugger else ():
        message = client.session.msg(
            "debug_request",
            {"type": "request", "seq": 1, "command": name, "arguments": {"clientID": "x"}},
        )
        client.control_channel.send(message)
        client.get_control_msg(timeout=READY)
    while asked:
        reply = client.get_shell_msg(timeout=READY)
        asked = [one for one in asked if one != reply["parent_header"].get("msg_id")]


def hostile(folder: Path, image: str) -> list[dict[str, str]]:
    """Wishes that would run a file of the folder."""
    evil = os.fspath(folder / "evil" / "python3")
    link = os.fspath(folder / "python3")
    wishes = [{"image": image, "python": path} for path in (evil, link, "./python3", "python3")]
    wishes += [{"image": image, "python": f"/usr/bin/../..{evil}"}]
    wishes += [{"image": image, "python": "/proc/self/cwd/python3"}]
    wishes += [{"image": image, "python": "/usr/bin/env"}, {"image": image, "python": "/bin/sh"}]
    wishes += [{"image": path} for path in ("lab.yaml", "./lab.yaml", str(folder / "lab.yaml"))]
    wishes += [{"image": image, key: "x"} for key in ("binds", "env", "command", "map", "persist")]
    return wishes


def test_nothing_that_hostile_metadata_names_is_run(
    bare_jupyter: Jupyter,
    start: Callable[..., Session],
    image: Callable[[str], str],
    planted: Path,
) -> None:
    bare_jupyter.lpmx("kernel", "install", image("demo"), "--name", NAME)
    text = ENVIRONMENT.format(image=image("demo"), folder=planted)
    (planted / "lab.yaml").write_text(text)
    for wishes in hostile(planted, image("demo")):
        env = environment(planted, wishes)
        before = tree(planted)
        with pytest.raises(KernelStartError, match=r"innocent\.ipynb: metadata\.lpmx: ") as caught:
            start(NAME, env=env)
        assert "What to do: " in str(caught.value), wishes
        assert proof(planted) == [], wishes
        assert tree(planted) == before, wishes
        assert containers(bare_jupyter) == [], wishes


@pytest.mark.parametrize("kind", ["demo", "payload", "musl"])
def test_nothing_beside_a_notebook_is_run(
    bare_jupyter: Jupyter,
    start: Callable[..., Session],
    image: Callable[[str], str],
    payload_image: str,
    planted: Path,
    kind: str,
) -> None:
    chosen = payload_image if kind == "payload" else image(kind)
    bare_jupyter.lpmx("kernel", "install", chosen, "--name", NAME)
    env = environment(planted, {})
    before = tree(planted)
    session = start(NAME, env=env)
    open_as_a_client(session, debugger=kind != "musl")
    session.end()
    assert proof(planted) == []
    assert tree(planted) == before


def test_r_reads_the_users_own_profile_and_not_that_of_the_folder(
    image: Callable[[str], str],
    run_lpmx: Callable[..., Completed],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With what a kernel of IRkernel is started with; the image's R has none to start."""
    folder, home = tmp_path / "cwd", tmp_path / "home"
    _write(folder / ".Rprofile", "cat('theirs')\n")
    _write(folder / ".Renviron", "FROM=theirs\n")
    _write(home / ".Rprofile", "cat('own ')\n")
    monkeypatch.setenv("HOME", str(home))
    words = ("R", "--slave", "-e", ".First <- function() cat('theirs'); save.image()")
    assert "theirs" in run_lpmx("run", image("tools"), *words).stdout
    assert (folder / ".RData").exists()
    kernel = ("R", "--slave", "-e", "IRkernel::main()")
    given = startup.environment(kernel, {})
    options = [word for name, value in given.items() for word in ("-e", f"{name}={value}")]
    program, keep, *rest = startup.command(kernel)
    script = "cat(Sys.getenv('FROM'), exists('.First'))"
    words = (program, keep, *rest[:-1], script)
    assert run_lpmx("run", *options, image("tools"), *words).stdout == "own  FALSE"
    assert startup.environment(kernel, {"R_PROFILE_USER": ".Rprofile"}).keys() == {"R_ENVIRON_USER"}
    assert startup.command(("python3",)) == ("python3",)


def test_an_image_and_its_own_python_can_be_chosen(
    bare_jupyter: Jupyter,
    start: Callable[..., Session],
    image: Callable[[str], str],
    payload_image: str,
    planted: Path,
) -> None:
    bare_jupyter.lpmx("kernel", "install", payload_image, "--name", NAME)
    env = environment(planted, {"image": image("demo"), "python": "/usr/bin/python3"})
    session = start(NAME, env=env)
    open_as_a_client(session)
    assert session.value("open('/etc/lpmx-image').read()") == "demo\n"
    assert proof(planted) == []
    session.run("import ipywidgets")  # a cell is the user's own word: now the folder counts
    assert proof(planted) == [f"{planted}/ipywidgets.py"]


def test_a_python_that_the_user_names_may_lie_in_a_folder_of_his(
    bare_jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str], planted: Path
) -> None:
    python = str(planted / "evil" / "python3")
    bare_jupyter.lpmx("kernel", "install", image("demo"), "--name", NAME, "--python", python)
    assert python in proof(planted)
    assert start(NAME).value("open('/etc/lpmx-image').read()") == "demo\n"
