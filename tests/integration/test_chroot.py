"""chroot(2) inside a container: a process sees another directory of the tree as its root."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.lpmx import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.lpmx import Completed

# What images/programs/rooted.c tells in a plain tree, as root
SEEN = """\
chroot: ok
not yet: (unreachable)
chdir: ok
cwd: /sub
/etc/name: jailed
/absolute: jailed
up: jailed
../../../etc/name: jailed
/dir/etc-name: sub
top/etc/name: jailed
/../sub/../../etc/name: jailed
/jail/etc/name: No such file or directory
stat: ok
top: same
chdir: ok
cwd: /sub/inner
chdir up: ok
cwd: /
mkdir: ok
rename: ok
rmdir: ok
bind: ok
socket: /sub/socket
connect: ok
unlink: ok
/etc/name: jailed
etc-name: sub
/etc/name: jailed
fchdir: ok
outside: (unreachable)
etc/name: outer
jail/absolute: jailed
jail/../etc/name: jailed
chroot out: ok
out: /
/etc/name: outer
/jail/sub/up: outer
setuid: ok
absent: No such file or directory
file: Not a directory
user: Operation not permitted
/etc/name: jailed
exec: No such file or directory
/etc/name: jailed
executed: (unreachable)
chroot: ok
/etc/name: No such file or directory
below: (unreachable)
"""
ROOTED = "mkdir /opt/jail && cp $1 /opt/jail/program && $1 /opt/jail"


@pytest.mark.parametrize("libc", ["-static", "-musl"])
def test_a_process_sees_another_root(
    libc: str, image: Callable[[str], str], run_lpmx: Callable[..., Completed]
) -> None:
    program = f"/probes/rooted{libc}"
    words = ("run", "--fakeroot", "-w", "/", image("c-probes"), "sh", "-c", ROOTED, "sh", program)
    assert run_lpmx(*words).stdout == SEEN


@pytest.mark.needs_root
@pytest.mark.needs_checkout
def test_it_is_what_the_kernel_shows(tmp_path: Path) -> None:
    from images.recipe import HERE

    program = tmp_path / "rooted"
    run(["gcc", "-O1", "-pthread", "-static", "-o", program, HERE / "programs" / "rooted.c"])
    jail = tmp_path / "jail"
    jail.mkdir()
    (jail / "program").write_bytes(program.read_bytes())
    (jail / "program").chmod(0o755)
    assert run([program, jail]).stdout == SEEN


def test_an_ordinary_user_may_not(
    image: Callable[[str], str], run_lpmx: Callable[..., Completed]
) -> None:
    words = ("run", "-u", "1234", image("c-probes"), "chroot", "/", "true")
    done = run_lpmx(*words, check=False)
    assert "Operation not permitted" in done.stderr
    assert done.returncode == 125


def test_tools_work_in_another_tree(
    image: Callable[[str], str], run_lpmx: Callable[..., Completed]
) -> None:
    """A copy of the system in a folder: accounts, linker cache, devices, a second root below."""
    script = """
set -e
mkdir /tree; cp -a /bin /lib /lib64 /usr /etc /var /tree/ 2> /dev/null
mkdir /tree/tmp /tree/root /tree/dev /tree/deep; echo tree > /tree/etc/lpmx-image
chroot /tree sh -ec '
mknod /dev/null c 1 3; echo gone > /dev/null; stat -c "%F %U" /dev/null
cat /etc/lpmx-image; cd /usr/share; pwd; realpath ../../../etc; dpkg -s libc6 | grep -c Status
useradd -m anna; su anna -c "id -un; cd; pwd"; ldconfig; perl -MCwd -e "chdir q(/etc); print getcwd"
echo; find / -xdev -maxdepth 1 -name lpmx-image; chroot /deep true || echo nothing in deep'
dpkg --root=/tree -s libc6 | grep -c Status; ls /tree/home
useradd -R /tree bob; grep -c bob /tree/etc/passwd
ldconfig -r /tree; cat /etc/lpmx-image; chroot --userspec=33:33 /tree id -u
"""
    done = run_lpmx("run", "--fakeroot", "-w", "/", image("c-probes"), "bash", "-c", script)
    assert done.stdout.splitlines() == [
        "character special file root", "tree", "/usr/share", "/etc", "1", "anna", "/home/anna",
        "/etc", "nothing in deep", "1", "anna", "1", "c-probes", "33",
    ]  # fmt: skip
