"""Containers on a kernel that lacks what is new: every call of the engine falls back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.lpmx import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.lpmx import Completed, Lpmx

OLD = Path(__file__).parents[1] / "support" / "oldkernel.py"


@pytest.fixture
def old(store: Lpmx, image: Callable[[str], str], tmp_path: Path) -> Callable[..., Completed]:
    """old(IMAGE, COMMAND...): run it in a container as on an old kernel."""

    def call(name: str, *command: str, options: tuple[str, ...] = ()) -> Completed:
        words = [sys.executable, OLD, *store.command, "run", *options, image(name), *command]
        return run(words, env=store.environment(), cwd=tmp_path)

    return call


def test_the_calls_are_not_there(tmp_path: Path) -> None:
    script = "import ctypes; print(ctypes.CDLL(None, use_errno=True).syscall(316, -1, 0, -1, 0, 0))"
    assert run([sys.executable, OLD, sys.executable, "-c", script], cwd=tmp_path).stdout == "-1\n"
    os_release = "import os; os.copy_file_range(0, 1, 1)"
    done = run([sys.executable, OLD, sys.executable, "-c", os_release], check=False, cwd=tmp_path)
    assert "not implemented" in done.stderr


def test_files_are_copied_up_moved_and_removed(old: Callable[..., Completed]) -> None:
    script = """
set -e
echo more >> /etc/profile; grep -c more /etc/profile; mv /etc/motd /srv/motd; test ! -e /etc/motd
cp -a /etc /srv/etc; diff -r --no-dereference /etc /srv/etc && echo same
rm -r /usr/share/doc; ls /usr/share | grep -c '^doc$' || true
mkdir /usr/share/doc; ls /usr/share/doc | wc -l; ln /etc/passwd /srv/twin; stat -c %h /srv/twin
mv -n /srv/motd /etc/hostname; test -e /srv/motd && echo kept
chmod 600 /etc/shadow; stat -c %a /etc/shadow
for i in 1 2 3; do mkdir /srv/lock 2> /dev/null && echo mine; done; true
"""
    assert old("c-probes", "sh", "-c", script).stdout.split() == [
        "1", "same", "0", "0", "2", "kept", "600", "mine",
    ]  # fmt: skip


@pytest.mark.parametrize("libc", ["", "-static", "-musl"])
@pytest.mark.parametrize("habit", ["block-all", "vfork-in-threads", "close-all", "small-stack"])
def test_habit_is_served(habit: str, libc: str, old: Callable[..., Completed]) -> None:
    done = old("c-probes", f"/probes/odd{libc}", habit, options=("-w", "/srv"))
    assert done.stdout == "ok\n"


@pytest.mark.needs_ptrace
def test_a_child_of_vfork_is_traced_from_its_execve_on(old: Callable[..., Completed]) -> None:
    assert old("c-probes", "/probes/edges", "traced-vfork").stdout == "ok\n"


def test_an_emulated_root_keeps_owners(old: Callable[..., Completed]) -> None:
    script = """
set -e
useradd -m anna; su anna -c 'touch ~/mine; stat -c %U ~/mine'; chown 7:8 /etc/profile
cp -a /etc/profile /srv/; stat -c %u:%g /srv/profile; chroot / id -u
"""
    done = old("c-probes", "sh", "-c", script, options=("--fakeroot",))
    assert done.stdout.split() == ["anna", "7:8", "0"]


def test_python_and_its_children(old: Callable[..., Completed]) -> None:
    script = (
        "import os, shutil, subprocess, tempfile\n"
        "with tempfile.TemporaryDirectory() as d:\n"
        "    shutil.copytree('/etc', d + '/etc', symlinks=True)\n"
        "    os.replace(d + '/etc/passwd', d + '/moved')\n"
        "    print(subprocess.run(['wc', '-l', d + '/moved'], capture_output=True).returncode)\n"
        "print(os.path.exists(d), sorted(os.listdir('/'))[:2])"
    )
    done = old("demo", "python3", "-c", script)
    assert done.stdout == "0\nFalse ['bin', 'boot']\n"
