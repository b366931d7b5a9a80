"""The wheel and the editable install, used from outside the checkout."""

from __future__ import annotations

import json
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from support import mkimage as mk
from support import users

pytestmark = pytest.mark.needs_checkout

CHECK = """
import json, sys
from importlib.metadata import entry_points
import lpmx_runtime, lpmx_kernels
from lpmx_runtime import native
provisioners = entry_points(group="jupyter_client.kernel_provisioners")
print(json.dumps([
    lpmx_runtime.__file__, lpmx_kernels.__file__, native.loader_path(), native.library_path(),
    [point.value for point in provisioners if point.name == "lpmx-provisioner"],
]))
"""
IGNORED = shutil.ignore_patterns(
    ".git", ".cache", "build", "dist", "_native", "_uufs_cffi.py", "*.egg-info", "__pycache__"
)


def run(*argv: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(a) for a in argv], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources, without anything that was built."""
    path = tmp_path_factory.mktemp("install") / "checkout"
    shutil.copytree(users.ROOT, path, ignore=IGNORED)
    return path


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A fresh environment that has our dependencies, but not us: no .pth is read behind a .pth."""
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return python


def pip(python: Path, *argv: str | Path, cwd: Path) -> None:
    options = ["--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet"]
    run(sys.executable, "-m", "pip", "--python", python, argv[0], *options, *argv[1:], cwd=cwd)


def check(python: Path, where: Path, tmp_path: Path) -> None:
    """All parts come from @where, and an image can be loaded with them."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out = run(python, "-c", CHECK, cwd=elsewhere)
    *paths, provisioners = json.loads(out)
    assert [path for path in paths if not Path(path).is_relative_to(where)] == []
    assert provisioners == ["lpmx_kernels.provisioner:LpmxProvisioner"]
    archive = mk.docker_archive(elsewhere / "a.tar", [mk.Spec("a:1", [mk.layer(mk.file("f"))])])
    lpmx = python.with_name("lpmx")
    out = run("env", f"LPMX_HOME={elsewhere}/store", lpmx, "load", archive, cwd=elsewhere)
    assert out.startswith("loaded a:1")
    assert "lpmx-exec" in run(lpmx, "--version", cwd=elsewhere)


def test_the_wheel_works_outside_the_checkout(checkout: Path, python: Path, tmp_path: Path) -> None:
    pip(python, "wheel", "--wheel-dir", tmp_path / "wheels", checkout, cwd=tmp_path)
    (wheel,) = (tmp_path / "wheels").iterdir()
    assert wheel.name.endswith("-py3-none-linux_x86_64.whl")
    pip(python, "install", "--no-index", wheel, cwd=tmp_path)
    check(python, tmp_path / "venv", tmp_path)


def test_the_editable_install_works_outside_the_checkout(
    checkout: Path, python: Path, tmp_path: Path
) -> None:
    pip(python, "install", "--no-index", "--editable", checkout, cwd=tmp_path)
    check(python, checkout, tmp_path)
