"""What people do to files with the tools they have: the same to a directory of the layers as to one
that the container made itself, which is the disk's alone."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.lpmx import Completed

LAYERS = "/usr/share/perl/5.36.0/unicore"
OWN = "/srv/copy/5.36.0/unicore"  # as deep, so that what is above looks alike

SNIPPETS = dict(
    part.split("\n", 1)
    for part in Path(__file__).with_name("tools.sh").read_text().split("\n### ")[1:]
)
AS_IT_IS = r"""
cd / && cd $D
find . ../side -printf '%p %y %m %l ' \( -type f -printf '%s %n' -o -printf - \) -printf '\n' | sort
find . -type f -exec cksum {} + | sort -k 3
"""
SCRIPT = """
umask 022
mkdir -p ${D%/*}/side
cd $D
( SNIPPET
) < /dev/null 2>&1
echo "status $?"
AS_IT_IS
"""


def outcome(run: Callable[..., Completed], name: str, folder: str, snippet: str) -> list[str]:
    script = SCRIPT.replace("SNIPPET", snippet).replace("AS_IT_IS", AS_IT_IS)
    done = run("exec", "-e", f"D={folder}", name, "bash", "-c", script, check=False)
    return (done.stdout + done.stderr).replace(folder.rsplit("/", 2)[0], "TOP").splitlines()


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_tools_do_to_layers_what_they_do_to_own_files(
    run_lpmx: Callable[..., Completed], image: Callable[[str], str], snippet: str
) -> None:
    name = "tools-" + "".join(c if c.isalnum() else "-" for c in snippet)
    run_lpmx("create", "--name", name, image("tools"), "true")
    try:
        run_lpmx("exec", name, "sh", "-c", f"mkdir -p {OWN}; cp -a {LAYERS}/. {OWN}")
        own = outcome(run_lpmx, name, OWN, SNIPPETS[snippet])
        layers = outcome(run_lpmx, name, LAYERS, SNIPPETS[snippet])
    finally:
        run_lpmx("rm", "-f", name)
    assert len(own) > 5, own
    assert own == layers, "\n".join(difflib.unified_diff(own, layers, "own", "layers", n=0))
