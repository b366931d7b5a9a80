"""Programs that print what the kernel answers (native/*.c): the same lines alone and in a
container, in its own tree and in a bind."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.lpmx import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.lpmx import Completed

SOURCES = Path(__file__).resolve().parent / "native"
LEAST = {  # lines that it prints
    "execs": 70, "links": 150, "traced": 4, "deep": 60, "resolve": 800, "arguments": 1500,
    "peers": 100, "layout": 20, "names": 700, "procfiles": 10,
    "closed": 250,
}  # fmt: skip
# Of what an emulated root may do, in the union alone: what is in binds belongs to the host
AS_ROOT = {
    "allowed": 50,
    "fsuid": 21,
    "permissions": 540,
    "written": 75,
    "acl": 250,
    "credentials": 38,
    "ctimes": 70,
    "closed": 250,
}


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """compiled(NAME): the static program of native/NAME.c."""
    folder = tmp_path_factory.mktemp("native")

    def make(name: str) -> Path:
        compiler = shutil.which("gcc")
        if not compiler:
            pytest.skip("no C compiler (Debian: gcc, libc6-dev)")
        if not (folder / name).exists():
            words = (compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o")
            run([*words, folder / name, SOURCES / f"{name}.c"])
        return folder / name

    return make


@pytest.mark.parametrize("place", ["union", "bind"])
@pytest.mark.parametrize(
    "name",
    [
        "execs",
        "links",
        "deep",
        "resolve",
        "arguments",
        "peers",
        "layout",
        "names",
        "procfiles",
        pytest.param("closed", marks=pytest.mark.needs_user),
        pytest.param("traced", marks=pytest.mark.needs_ptrace),
    ],
)
def test_answers_are_the_kernels(
    name: str,
    place: str,
    compiled: Callable[[str], Path],
    busybox_image: str,
    run_lpmx: Callable[..., Completed],
    tmp_path: Path,
) -> None:
    for folder in ("alone", "bound"):
        (tmp_path / folder).mkdir()
    program = compiled(name)
    alone = run([program], cwd=tmp_path / "alone").stdout.splitlines()
    assert len(alone) >= LEAST[name]
    binds = ("-v", f"{program}:/{name}", "-v", f"{tmp_path / 'bound'}:/bound")
    work = "/srv" if place == "union" else "/bound"
    told = run_lpmx("run", "--rm", *binds, "-w", work, busybox_image, f"/{name}")
    assert told.stdout.splitlines() == alone


@pytest.mark.needs_root
@pytest.mark.parametrize("kept", ["attributes", "files"])
@pytest.mark.parametrize("name", AS_ROOT)
def test_an_emulated_root_answers_as_the_kernels(
    name: str,
    kept: str,
    compiled: Callable[[str], Path],
    busybox_image: str,
    run_lpmx: Callable[..., Completed],
) -> None:
    program = compiled(name)
    with tempfile.TemporaryDirectory() as folder:  # where another user can go, too
        os.chmod(folder, 0o755)
        alone = run([program], cwd=folder).stdout.splitlines()
    assert len(alone) >= AS_ROOT[name]
    options = ("--rm", "--fakeroot", "-v", f"{program}:/{name}", "-w", "/srv")
    told = run_lpmx("run", *options, busybox_image, f"/{name}", env={"LPMX_OWNERS": kept})
    assert told.stdout.splitlines() == alone
