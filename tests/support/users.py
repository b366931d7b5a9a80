"""The ordinary user tests run as when the suite itself runs as root, and what that user needs to
run them.

A stage is a folder the user can read: the project installed from its wheel, outside the checkout,
in a virtual environment of the system's Python; a copy of the tests; the built images. Root makes
it and owns it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

USER = os.environ.get("LPMX_TEST_USER", "lpmxtest")
SYSTEM_PYTHON = "/usr/bin/python3"
TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
FALLBACK = Path("/var/lib/lpmx-test")  # only root can make it, so its name may be known
COPIED = ("tests", "examples", "docs", "pyproject.toml", "setup.cfg", "preload")
NOT_COPIED = (".cache", "__pycache__", "build", ".pytest_cache")


def ensure_user(name: str = USER) -> pwd.struct_passwd:
    """The account @name; root creates it where it is missing."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        useradd = shutil.which("useradd", path="/usr/sbin:/usr/bin:/sbin:/bin") or "useradd"
        subprocess.run([useradd, "--create-home", "--shell", "/bin/bash", name], check=True)
        return pwd.getpwnam(name)


def user_command(command: Sequence[str], name: str = USER, *, denied: bool = False) -> list[str]:
    """@command as the ordinary user @name, if we are root; under the denier if asked."""
    if denied:
        user = ["--user", name] if os.geteuid() == 0 else []
        return [SYSTEM_PYTHON, str(TESTS / "support" / "nopriv.py"), *user, "--", *command]
    if os.geteuid() != 0:
        return list(command)
    account = pwd.getpwnam(name)
    return [
        "setpriv", f"--reuid={name}", f"--regid={account.pw_gid}", "--init-groups",
        "env", f"HOME={account.pw_dir}", f"USER={name}", f"LOGNAME={name}", *command,
    ]  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """A folder from which the ordinary user can run the tests."""

    folder: Path

    @property
    def venv(self) -> Path:
        return self.folder / "user-venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def checkout(self) -> Path:
        """Tests and examples; nothing in it can be imported as the project itself."""
        return self.folder / "user-checkout"

    @property
    def images(self) -> Path:
        return self.folder / "images"


def stage(cache: Path) -> Stage:
    """Where the stage for this checkout is: in the cache if the user can reach that."""
    reachable = _can_enter(cache)
    return Stage(cache if reachable else FALLBACK)


def build_stage(cache: Path) -> Stage:
    """Install the project as it now is for the ordinary user, and copy the tests. Root only."""
    ensure_user()
    place = stage(cache)
    place.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    for image in (cache / "images").iterdir():
        share_image(image, place)
    _install(place)
    shutil.rmtree(place.checkout, ignore_errors=True)
    for name in COPIED:
        _copy(ROOT / name, place.checkout / name)
    return place


def _can_enter(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    probe = user_command(["test", "-r", str(folder), "-a", "-x", str(folder)])
    return subprocess.run(probe, cwd="/", check=False).returncode == 0


def share_image(source: Path, place: Stage) -> Path:
    """Where the ordinary user finds the built image @source: linked, or copied, into the stage."""
    target = place.images / source.name
    if target.parent == source.parent or (target.exists() and target.samefile(source)):
        return target
    target.parent.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    elif source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _install(place: Stage) -> None:
    if not place.python.exists():
        subprocess.run([SYSTEM_PYTHON, "-m", "venv", place.venv], check=True)
    wheels = place.folder / "user-wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    _pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT))
    (wheel,) = wheels.glob("*.whl")
    _pip(str(place.python), "install", f"{wheel}[test]")
    _pip(str(place.python), "install", "--force-reinstall", "--no-deps", str(wheel))


def _pip(python: str, *arguments: str) -> None:
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, umask=0o022)
