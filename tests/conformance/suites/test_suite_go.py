"""The tests of Go's packages about files and processes, compiled and run by `go test` inside."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.suites.conftest import Side

PACKAGES = "os os/exec os/signal os/user path/filepath io/fs io/ioutil syscall internal/poll net"
# What these want is not there by design: docs/limits.md (mount namespaces; another user in a store
# of root's)
REFUSED = {"TestUnshareMountNameSpace", "TestUnshareMountNameSpaceChroot", "TestDeathSignal"}
SCRIPT = """
export GOCACHE=/tmp/cache GOFLAGS=-vet=off GOTOOLCHAIN=local CGO_ENABLED=0 HOME=/tmp
cd /tmp
for package in {packages}; do
    list=$(go test -list . $package | grep '^Test' | tr '\\n' '|')
    go test -v -timeout 300s -run "^(${{list%|}})$" $package < /dev/null 2>&1 \\
        | grep -E '^ *--- |^(ok|FAIL|panic)'
    echo "@@ $package"
done
"""


def outcomes(side: Side) -> tuple[dict[str, str], str]:
    """Test to PASS, FAIL or SKIP, and what was printed."""
    script = SCRIPT.format(packages=PACKAGES)
    done = side("bash", "-c", script, timeout=3000)
    assert done.stdout.count("@@ ") == len(PACKAGES.split()), done.stdout[-2000:] + done.stderr
    return {name: how for how, name in re.findall(r"--- (\w+): (\S+)", done.stdout)}, done.stdout


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_packages_pass(container: Callable[[str], Side]) -> None:
    found, log = outcomes(container("suites-go"))
    bad = {name for name, how in found.items() if how == "FAIL"}
    assert bad <= REFUSED, log[-6000:]
    assert list(found.values()).count("PASS") > 500


@pytest.mark.long
@pytest.mark.needs_root
@pytest.mark.timeout(3600)
def test_packages_do_as_in_a_chroot(
    container: Callable[[str], Side], chroot: Callable[[str], Side]
) -> None:
    inside, log = outcomes(container("suites-go"))
    outside, _ = outcomes(chroot("suites-go"))
    differ = {
        name: inside.get(name)
        for name, how in outside.items()
        if how == "PASS" and inside.get(name) != "PASS" and name not in REFUSED
    }
    assert differ == {}, log[-6000:]
