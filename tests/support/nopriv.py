#!/usr/bin/python3
"""Run a command with nothing privileged left to lean on: the strictest site we promise to work at.

usage: nopriv.py [--user NAME] -- COMMAND [ARGUMENT...]        (root must name a user)

The command and all its children have no_new_privs (setuid programs give nothing) and a seccomp
filter that answers EPERM to everything in DENIED and to clone with a namespace flag, and ENOSYS to
clone3, whose flags a filter cannot read. Threads, processes, pipes and files are as ever. x86-64
only.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import os
import pwd
import struct
import sys

DENIED = {
    "ptrace": 101,
    "pivot_root": 155,
    "chroot": 161,
    "mount": 165,
    "umount2": 166,
    "unshare": 272,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "bpf": 321,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "mount_setattr": 442,
}
CLONE, CLONE3 = 56, 435
NAMESPACE_FLAGS = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}

AUDIT_ARCH_X86_64 = 0xC000003E
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, JUMP_EQUAL, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
OFFSET_NUMBER, OFFSET_ARCH, OFFSET_FIRST_ARGUMENT = 0, 4, 16
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def filter_program() -> list[Instruction]:
    """The seccomp filter, in classic BPF."""
    program: list[Instruction] = [
        (LOAD, 0, 0, OFFSET_ARCH),
        (JUMP_EQUAL, 1, 0, AUDIT_ARCH_X86_64),
        (RETURN, 0, 0, ERRNO | errno.ENOSYS),
        (LOAD, 0, 0, OFFSET_NUMBER),
    ]
    for number in DENIED.values():
        program += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | errno.EPERM)]
    program += [(JUMP_EQUAL, 0, 1, CLONE3), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    program += [
        (JUMP_EQUAL, 0, 3, CLONE),
        (LOAD, 0, 0, OFFSET_FIRST_ARGUMENT),
        (JUMP_ANY_BIT, 0, 1, NAMESPACE_FLAGS),
        (RETURN, 0, 0, ERRNO | errno.EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    return program


def deny() -> None:
    """Put this process, and all it will ever start, under the filter. There is no way back."""
    install(filter_program())


def install(program: list[Instruction]) -> None:
    """Install a filter given in classic BPF."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(buffer)))
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(header), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP)")


def become(name: str) -> None:
    """Turn from root into the user @name for good."""
    user = pwd.getpwnam(name)
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="run a command without any privilege")
    parser.add_argument("--user", help="the ordinary user to become (root only, and then required)")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    if os.getuid() == 0:
        if not options.user:
            parser.error("started by root: name an ordinary user with --user")
        become(options.user)
    deny()
    os.execvp(options.command[0], options.command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
