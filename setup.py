"""Build hook: the native parts are made by preload/Makefile and travel as package data.

Everything else is in pyproject.toml. Wheel and editable installs both go through build_py, which
runs make, copies the loader and the UUFS library beside the Python code and generates the cffi
module (ABI mode: no Python.h is needed, so one wheel serves every Python 3).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:
    from wheel.bdist_wheel import bdist_wheel

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "runtime" / "lpmx_runtime"
NATIVE = ("lpmx-exec", "liblpmx_uufs.so")


def install(source: Path, target: Path) -> None:
    """Copy through a temporary name: a program that runs from @target keeps its old file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".new")
    shutil.copy2(source, temporary)
    strip = os.environ.get("STRIP") or shutil.which("strip")
    if strip:
        subprocess.run([strip, str(temporary)], check=True)
    os.replace(temporary, target)


def build_native() -> None:
    """Make the C parts and put them, with the generated cffi module, into the package's folder."""
    subprocess.run(["make", "-s", "-C", str(ROOT / "preload")], check=True)
    for name in NATIVE:
        install(ROOT / "preload" / "build" / name, PACKAGE / "_native" / name)
    loader = PACKAGE / "_native" / NATIVE[0]
    digest = hashlib.sha256(loader.read_bytes()).hexdigest()
    loader.with_name(loader.name + ".sha256").write_text(digest + "\n")
    output = PACKAGE / "_uufs_cffi.py"
    subprocess.run(
        [sys.executable, str(ROOT / "preload" / "hosted" / "cffi_build.py"), str(output)],
        check=True,
    )


class BuildPy(build_py):
    """build_py that makes the native parts first; an editable install uses them where they lie."""

    def run(self) -> None:
        build_native()
        super().run()


class PlatformWheel(bdist_wheel):
    """A wheel for one platform and any Python 3: the binaries inside do not link to Python."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        _, _, platform = super().get_tag()
        return "py3", "none", platform


class BinaryDistribution(Distribution):
    """Packages go to platlib."""

    def has_ext_modules(self) -> bool:
        return True


setup(
    packages=[
        *find_packages("runtime", include=["lpmx_runtime", "lpmx_runtime.*"]),
        *find_packages(".", include=["lpmx_kernels", "lpmx_kernels.*"]),
        *find_packages("galaxy", include=["lpmx_galaxy", "lpmx_galaxy.*"]),
    ],
    package_dir={
        "lpmx_runtime": "runtime/lpmx_runtime",
        "lpmx_kernels": "lpmx_kernels",
        "lpmx_galaxy": "galaxy/lpmx_galaxy",
    },
    cmdclass={"build_py": BuildPy, "bdist_wheel": PlatformWheel},
    distclass=BinaryDistribution,
)
