#!/usr/bin/env python3
"""Write the table of system calls in docs/limits.md from preload/calls.def.

usage: limits.py [--check]      --check: exit 1 when the page differs from the table
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "limits.md"
BEGIN, END = "<!-- made from calls.def -->", "<!-- end -->"
WHEN = {
    "always": "",
    "traceme": "only to be traced (PTRACE_TRACEME)",
    "identity": "only where other ids are shown",
    "fakeroot": "only with --fakeroot",
    "sets_flags": "only to set the flags that chattr sets, or verity",
    "sets_mask": "only when it blocks signals",
    "sets_action": "only when it sets an action, or for SIGSYS",
    "address": "only with a destination",
    "names1": "only with room for an address, once a unix socket was bound",
    "names4": "only with room for an address, once a unix socket was bound",
    "messages": "once a unix socket was bound, other than a stream's",
    "peer_option": "only with --fakeroot: SO_PEERCRED, SO_PEERGROUPS",
    "pass_option": "only with --fakeroot: SO_PASSCRED",
    "arg3": "only with a mask",
    "arg4": "only with a mask",
    "arg5": "only with a mask",
}


def table() -> str:
    """The rows of calls.def as two Markdown tables."""
    text = (ROOT / "preload" / "calls.def").read_text()
    calls = re.findall(
        r"^CALL\((\w+), (\w+), (\w+), \w+, \w+, [\w()]+, (\w+)\)", text, re.MULTILINE
    )
    refused = re.findall(r'^REFUSE\((\w+), (\w+), "([^"]*)"\)', text, re.MULTILINE)
    lines = ["| handled | how | trapped |", "| --- | --- | --- |"]
    lines += [
        f"| {name} | {intent} | {WHEN[when] or 'always'} |" for name, _, when, intent in calls
    ]
    lines += ["", "| refused | answer | why |", "| --- | --- | --- |"]
    lines += [f"| {name} | {error} | {why} |" for name, error, why in refused]
    return "\n".join(lines)


def main() -> int:
    """Rewrite the part between the marks, or compare it."""
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    made = f"{head}{BEGIN}\n{table()}\n{END}{tail}"
    if "--check" in sys.argv:
        return int(made != page)
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
