"""A Python environment with JupyterLab and its kin, and this project in it: not that of the tests.

It is kept in the cache of the test images until the list of its packages changes.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from typing import TYPE_CHECKING

from images.build import cache_folder

from support.users import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = (
    "cffi", "flaky", "ipykernel", "ipyparallel", "ipywidgets", "jupyter-console",
    "jupyter_kernel_test", "jupyterlab", "nbclient", "nbconvert", "nbmake", "papermill",
    "playwright", "psutil",     "pytest<10", "pytest-asyncio", "pytest-cov",
    "pytest-console-scripts", "pytest-jupyter", "pytest-timeout",
    "pyyaml", "setuptools", "testpath", "trio", "wheel", "xmltodict", "zstandard",
)  # fmt: skip


@dataclass(frozen=True)
class JupyterVenv:
    """An environment at @folder."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def version(self, package: str) -> str:
        code = f"import importlib.metadata as m; print(m.version({package!r}))"
        done = subprocess.run([self.python, "-c", code], check=True, capture_output=True, text=True)
        return done.stdout.strip()


def jupyter_venv() -> JupyterVenv:
    """The environment, made if need be; this checkout is installed into it anew."""
    key = hashlib.sha256(repr((PACKAGES, sys.version)).encode()).hexdigest()[:12]
    found = JupyterVenv(cache_folder() / f"jupyter-venv-{key}")
    if not (found.folder / "ready").exists():
        shutil.rmtree(found.folder, ignore_errors=True)
        venv.create(found.folder, with_pip=True)
        _pip(found, "install", *PACKAGES)
        (found.folder / "ready").touch()
    _pip(found, "install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    return found


def sdist(where: JupyterVenv, package: str, folder: Path) -> Path:
    """The unpacked sources, with the tests, of the version of @package that is installed there."""
    version = where.version(package)
    _pip(
        where, "download", "--no-deps", "--no-binary", package, "-d", str(folder),
        f"{package}=={version}",
    )  # fmt: skip
    (archive,) = folder.glob(f"{package}-*.tar.gz")
    shutil.unpack_archive(archive, folder)
    return folder / archive.name.removesuffix(".tar.gz")


def _pip(where: JupyterVenv, *arguments: str) -> None:
    command = [str(where.python), "-m", "pip", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
