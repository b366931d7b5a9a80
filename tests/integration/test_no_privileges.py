"""No part of a run asks the kernel for anything that an ordinary user may be refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.lpmx import Lpmx, run

if TYPE_CHECKING:
    from collections.abc import Callable

FORBIDDEN_CALLS = (
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "ptrace", "fsopen", "fsmount",
    "fsconfig", "move_mount", "open_tree", "mount_setattr", "bpf", "setuid", "setgid", "setresuid",
    "setresgid", "setgroups", "capset", "process_vm_readv", "process_vm_writev",
)  # fmt: skip
WORK = """
cd /usr && ls > /dev/null && (cat /etc/lpmx-image | tr a-z A-Z) && touch /srv/x && mv /srv/x /srv/y
"""
CALL = re.compile(r"^(?:\[pid +\d+\] |\d+ +)?(\w+)\((.*)$")


@pytest.fixture
def trace(store: Lpmx, image: Callable[[str], str], tmp_path: Path) -> str:
    """What strace saw of a whole `lpmx run`: Python, the engine and all children."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed (tests/images/prepare.sh test)")
    name, log = image("demo"), tmp_path / "trace"
    arguments = [*store.command, "run", name, "bash", "-c", WORK]
    done = run(
        ["strace", "-f", "-qq", "-o", log, *arguments], env=store.environment(), cwd=tmp_path
    )
    assert done.stdout == "DEMO\n"
    return log.read_text(errors="replace")


@pytest.mark.needs_ptrace
def test_a_run_makes_no_privileged_system_call(trace: str) -> None:
    lines = trace.splitlines()
    calls = [match for line in lines if (match := CALL.match(line))]
    assert len(calls) > 500, "the trace shows too little to judge by"
    names = {match[1] for match in calls}
    assert {"execve", "seccomp", "openat"} <= names, sorted(names)
    assert [match[0] for match in calls if match[1] in FORBIDDEN_CALLS] == []


@pytest.mark.needs_ptrace
def test_a_run_asks_for_no_namespace_and_no_fuse(trace: str) -> None:
    bad = [line for line in trace.splitlines() if "CLONE_NEW" in line or "/dev/fuse" in line]
    assert bad == []


@pytest.mark.needs_ptrace
def test_no_setuid_program_is_started(trace: str) -> None:
    started = re.findall(r'execve\("([^"]+)"', trace)
    setuid = [
        name for name in started if Path(name).is_file() and Path(name).stat().st_mode & 0o6000
    ]
    assert started
    assert setuid == []


def test_the_denier_denies(nopriv: Lpmx) -> None:
    for command in (
        ["unshare", "-U", "true"],
        ["chroot", "/", "/bin/true"],
        ["unshare", "-m", "true"],
    ):
        done = run([*nopriv.prefix, *command], check=False)
        assert done.returncode != 0, f"{command} worked under the denier"
        assert "Operation not permitted" in done.stderr, done.stderr


def test_load_and_run_work_where_everything_privileged_is_denied(
    nopriv: Lpmx, user_archive: Callable[[str], Path]
) -> None:
    nopriv("load", user_archive("c-probes"))
    printed = nopriv(
        "run", "lpmx-test/c-probes:latest", "bash", "-c", "id -u; cat /etc/lpmx-image"
    ).stdout
    uid, name = printed.split()
    assert name == "c-probes"
    assert uid != "0"


def test_an_ordinary_user_gets_files_of_its_own(
    ordinary_user: Lpmx, user_archive: Callable[[str], Path]
) -> None:
    ordinary_user("load", user_archive("c-probes"))
    script = (
        "touch /srv/mine && stat -c %u /srv/mine && id -u && "
        "rm /etc/lpmx-image && ! test -e /etc/lpmx-image"
    )
    printed = ordinary_user("run", "lpmx-test/c-probes:latest", "bash", "-c", script).stdout
    owner, uid = printed.split()
    assert owner == uid != "0"
