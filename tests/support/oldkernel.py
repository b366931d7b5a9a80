#!/usr/bin/python3
"""Run a command as on an old kernel: calls that came after Linux 3.17, renameat2, seccomp and kcmp,
are answered with ENOSYS.

usage: oldkernel.py COMMAND [ARGUMENT...]
"""

from __future__ import annotations

import errno
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from support.nopriv import ALLOW, ERRNO, LOAD, OFFSET_NUMBER, RETURN, install

JUMP_GREATER_OR_EQUAL, JUMP_EQUAL = 0x35, 0x15
KCMP, RENAMEAT2, SECCOMP, EXECVEAT = 312, 316, 317, 322


def main(command: list[str]) -> int:
    """Become @command."""
    install(
        [
            (LOAD, 0, 0, OFFSET_NUMBER),
            (JUMP_EQUAL, 3, 0, KCMP),
            (JUMP_EQUAL, 2, 0, RENAMEAT2),
            (JUMP_EQUAL, 1, 0, SECCOMP),
            (JUMP_GREATER_OR_EQUAL, 0, 1, EXECVEAT),
            (RETURN, 0, 0, ERRNO | errno.ENOSYS),
            (RETURN, 0, 0, ALLOW),
        ]
    )
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
