"""perl's own tests (the t/ of its sources), unchanged, by Debian's perl in a container."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.suites.conftest import Side

QUICK = (
    "io/argv.t io/dup.t io/fs.t io/inplace.t io/open.t io/openpid.t io/pipe.t io/print.t io/read.t"
    " io/say.t io/tell.t io/utf8.t op/chdir.t op/exec.t op/filetest.t op/fork.t op/getppid.t"
    " op/glob.t op/kill0.t op/lfs.t op/mkdir.t op/readline.t op/require_errors.t op/stat.t"
    " op/stat_errors.t op/sysio.t op/sigsystem.t ../lib/File/*.t"
)
ALL = "base/*.t cmd/*.t io/*.t op/*.t run/*.t ../lib/*.t ../lib/File/*.t"
# `make test` skips what needs parts of perl that are only in its build folder; here it fails, as in
# a chroot
NEEDS_BUILD = {"op/goto_xs.t", "run/switcht.t", "../lib/File/Basename.t"}
# How many of its tests it runs is left to chance
RANDOM = {"../lib/charnames.t"}
SCRIPT = """
cd /suites/perl/t
for test in {tests}; do
    [ -e "$test" ] || continue
    timeout 120 env --default-signal=INT,PIPE ./perl "$test" > /tmp/out 2> /tmp/err < /dev/null
    echo "@@ $test $? $(grep -c '^ *ok' /tmp/out) $(grep '^ *not ok' /tmp/out | grep -vc TODO)"
    grep '^ *not ok' /tmp/out | grep -v TODO | head -3
done
"""


class Outcome(NamedTuple):
    """How a test file ended."""

    status: int
    passed: int
    failed: int


def outcomes(side: Side, tests: str) -> tuple[dict[str, Outcome], str]:
    """Test file to outcome, and what was printed."""
    done = side("bash", "-c", SCRIPT.format(tests=tests), timeout=2400)
    lines = re.findall(r"@@ (\S+) (\d+) (\d+) (\d+)", done.stdout)
    return {name: Outcome(*map(int, numbers)) for name, *numbers in lines}, done.stdout


def is_same(name: str, one: Outcome | None, other: Outcome) -> bool:
    """Did a file end the same way?"""
    if one and name in RANDOM:
        return one.status == other.status and one.failed == other.failed and one.passed > 0
    return one == other


@pytest.mark.timeout(600)
def test_quick_files_pass(container: Callable[[str], Side]) -> None:
    found, log = outcomes(container("suites"), QUICK)
    bad = {
        name: outcome
        for name, outcome in found.items()
        if (outcome.status or outcome.failed) and name not in NEEDS_BUILD
    }
    assert bad == {}, log[-3000:]
    assert len(found) > 25
    assert sum(outcome.passed for outcome in found.values()) > 1500


@pytest.mark.long
@pytest.mark.needs_root
@pytest.mark.timeout(3600)
def test_files_do_as_in_a_chroot(
    container: Callable[[str], Side], chroot: Callable[[str], Side]
) -> None:
    inside, log = outcomes(container("suites"), ALL)
    outside, _ = outcomes(chroot("suites"), ALL)
    differ = {
        name: (inside.get(name), outcome)
        for name, outcome in outside.items()
        if not (outcome.status or outcome.failed) and not is_same(name, inside.get(name), outcome)
    }
    assert differ == {}, log[-3000:]
    assert len(outside) > 300
