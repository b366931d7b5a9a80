"""Images of other Debian releases: glibc older and newer than the host's, and what people run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from images.suites import RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.lpmx import Completed

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

OLDEST = {"bullseye": (2, 31), "trixie": (2, 41), "sid": (2, 42)}
PROGRAMS = {
    "bash": r"""set -e
        for n in {1..100}; do /bin/true; done
        [ "$(echo a b | while read -r x y; do echo "$y"; done)" = b ]
        [ "$(cat <(echo 1) <(echo 2) | tr '\n' ' ')" = '1 2 ' ]
        mkdir -p /srv/d && cd /srv/d && touch {1..50} && [ "$(ls | wc -l)" = 50 ] && rm -r /srv/d
        find /usr -xdev -name '*.so*' | wc -l
        echo ok""",
    "python": """python3 - << 'E'
import concurrent.futures, ctypes, multiprocessing, os, shutil, subprocess, sys, tempfile
import hashlib, json, sqlite3, ssl, threading, zipfile
with tempfile.TemporaryDirectory(dir="/srv") as d:
    shutil.copytree("/etc", d + "/etc", symlinks=True, ignore=shutil.ignore_patterns("*shadow*"))
    assert sorted(os.listdir(d + "/etc"))
for _ in range(30):  # posix_spawn or vfork, whichever this Python takes
    assert os.posix_spawn("/bin/true", ["true"], {}) > 0
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    assert subprocess.run(["/bin/sh", "-c", "exit 3"], close_fds=False).returncode == 3
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    assert set(pool.map(lambda n: subprocess.call(["/bin/true"]), range(40))) == {0}
with multiprocessing.get_context("spawn").Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
print(os.confstr("CS_GNU_LIBC_VERSION"))
print("ok")
E""",
    "gcc": r"""set -e; cd /srv
        printf '#include <stdio.h>\nint main(void) { return puts("ok") < 0; }\n' > a.c
        gcc -O1 -o a a.c && gcc -O1 -static -o b a.c && [ "$(./b)" = ok ] && ./a""",
    "perl": """perl -MFile::Find -MFile::Temp=tempdir -MCwd -e '
        my $d = tempdir(DIR => "/srv", CLEANUP => 1); chdir $d or die; die if getcwd ne $d;
        open my $f, ">", "x" or die; print $f "1"; close $f; die unless -s "x" == 1;
        my $n = 0; find(sub { $n++ }, "/etc"); die if $n < 50;
        die unless `echo 5` == 5; chdir "/"; print "ok\n"'""",
    "procfs": """set -e
        [ "$(readlink /proc/self/exe)" = "$(readlink -f "$(command -v readlink)")" ]
        ps -ef > /dev/null; grep -q ' /usr/' /proc/self/maps; echo ok""",
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("suite", RELEASES)
def test_release_runs_what_people_run(
    suite: str, program: str, image: Callable[[str], str], run_lpmx: Callable[..., Completed]
) -> None:
    done = run_lpmx("run", image(f"release-{suite}"), "bash", "-c", PROGRAMS[program])
    assert done.stdout.splitlines()[-1] == "ok", done.stdout + done.stderr


@pytest.mark.parametrize("suite", RELEASES)
def test_release_has_the_glibc_it_is_there_for(
    suite: str, image: Callable[[str], str], run_lpmx: Callable[..., Completed]
) -> None:
    done = run_lpmx("run", image(f"release-{suite}"), "getconf", "GNU_LIBC_VERSION")
    version = tuple(int(part) for part in done.stdout.split()[1].split("."))
    assert version >= OLDEST[suite]
    assert (version < (2, 36)) == (suite == "bullseye")
