"""The kernel and what was decided about this process before us: filters, privileges, limits."""

from __future__ import annotations

import os
import re
import resource
from typing import TYPE_CHECKING

from .finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpmx_runtime.doctor.site import Site

__all__ = ["filters", "kernel", "limits", "privileges"]

OLDEST = (3, 17)  # seccomp(2), renameat2(2), memfd_create(2)
GOOD = (5, 11)  # calls that a filter always allows cost nothing from here on
SPECULATION = (4, 17)  # SECCOMP_FILTER_FLAG_SPEC_ALLOW
LOW_MEMORY = 2 << 30  # bytes of address space that a Java or Node program wants at the least


def kernel(site: Site) -> Iterator[Finding]:
    """Processor and kernel version."""
    machine = os.uname().machine
    if machine != "x86_64":
        yield Finding(
            "processor",
            "problem",
            f"{machine}; lpmx runs programs on x86_64 only",
            "use another machine",
        )
    release = site.read("sys/kernel/osrelease") or os.uname().release
    version = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    if version < OLDEST:
        yield Finding(
            "kernel",
            "problem",
            f"Linux {release}, and lpmx needs {_dotted(OLDEST)} at least",
            "ask for a newer kernel, or use another machine",
        )
    elif version < SPECULATION:
        yield Finding(
            "kernel",
            "note",
            f"Linux {release}: before {_dotted(SPECULATION)} a filter slows a whole program down",
            "programs are right but slower; a newer kernel helps",
        )
    elif version < GOOD:
        yield Finding(
            "kernel",
            "note",
            f"Linux {release}: from {_dotted(GOOD)} on untouched system calls cost nothing more",
            "programs are right, and a newer kernel makes them a little faster",
        )
    else:
        yield Finding("kernel", "ok", f"Linux {release}")


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def filters(site: Site) -> Iterator[Finding]:
    """Does the kernel have filters, and does this process have some already?"""
    actions = site.read("sys/kernel/seccomp/actions_avail").split()
    mode = site.status("Seccomp")
    if not mode or (actions and "trap" not in actions):
        yield Finding(
            "seccomp",
            "problem",
            "this kernel has no system call filters (CONFIG_SECCOMP_FILTER)",
            "ask for a kernel with them; every distribution's has",
        )
        return
    count = site.status("Seccomp_filters") or ("0" if mode == "0" else "some")
    if mode == "0":
        yield Finding("seccomp", "ok", "filters can be installed; none is in force here")
    else:
        yield Finding(
            "seccomp",
            "note",
            f"{count} filter(s) are in force here already: you are in a container or a sandbox",
            "the line `engine` below says whether programs start all the same",
        )
    if site.status("NoNewPrivs") == "1":
        yield Finding(
            "no_new_privs",
            "note",
            "set already: setuid programs of the host (sudo, ping) gain nothing in this session",
            "programs in containers never gain anything by them either way",
        )


def privileges(site: Site) -> Iterator[Finding]:
    """What other engines need and lpmx does not: told so that nobody asks for it."""
    found = []
    namespaces = site.read("sys/user/max_user_namespaces")
    if namespaces == "0" or site.read("sys/kernel/unprivileged_userns_clone") == "0":
        found.append("user namespaces are off")
    scope = site.read("sys/kernel/yama/ptrace_scope")
    if scope not in ("", "0"):
        found.append(f"ptrace is restricted (yama {scope})")
    if not os.access(site.dev / "fuse", os.R_OK | os.W_OK):
        found.append("FUSE is not for you")
    here = f"here {', '.join(found)}, which does not matter" if found else "though you have them"
    yield Finding(
        "privileges",
        "ok",
        f"user namespaces, ptrace, mounts, FUSE and setuid are not needed: {here}",
    )


def limits(site: Site) -> Iterator[Finding]:  # noqa: ARG001 (the limits are this process's own)
    """Limits that programs inherit and that are low enough to break them."""
    memory, _ = resource.getrlimit(resource.RLIMIT_AS)
    files, files_hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    low = []
    if memory != resource.RLIM_INFINITY and memory < LOW_MEMORY:
        low.append(f"address space {memory >> 20} MiB (ulimit -v)")
    if files != resource.RLIM_INFINITY and files < 256:
        low.append(f"{files} open files (ulimit -n, up to {files_hard})")
    if processes != resource.RLIM_INFINITY and processes < 128:
        low.append(f"{processes} processes (ulimit -u)")
    if low:
        yield Finding(
            "limits",
            "note",
            f"low: {', '.join(low)}",
            "programs inherit them, in containers too: raise them before you start (or ask the"
            " batch system for more)",
        )
    else:
        yield Finding("limits", "ok", "of memory, files and processes are high enough")
