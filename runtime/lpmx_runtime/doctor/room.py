"""Room on the store's disk: blocks, inodes, and the user's quota of both."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from lpmx_runtime.columns import size_text

from .finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpmx_runtime.doctor.site import Site

    from .finding import Verdict

__all__ = ["Quota", "quota", "read_quota", "space"]

TIGHT, SCARCE = 10_000_000_000, 1_000_000_000  # bytes: a few images, not even one
TIGHT_FILES, SCARCE_FILES = 200_000, 20_000  # a conda image has 100,000 files
FREE = "`lpmx gc` and `lpmx rmi` free room; or put the store elsewhere with LPMX_HOME"
SYS_QUOTACTL = 179  # x86_64
Q_GETQUOTA_USER = 0x80000700  # QCMD(Q_GETQUOTA, USRQUOTA) of quotactl(2)
BLOCK = 1024  # bytes: the unit of block limits in struct if_dqblk


def space(site: Site) -> Iterator[Finding]:
    """Free bytes and inodes, as far as a plain user may use them."""
    found = os.statvfs(site.nearest)
    free = found.f_bavail * found.f_frsize
    yield Finding(
        "free space",
        _grade(free, TIGHT, SCARCE),
        f"{size_text(free)} of {size_text(found.f_blocks * found.f_frsize)}",
        FREE if free < TIGHT else "",
    )
    if found.f_files:  # btrfs and some network file systems count none
        yield Finding(
            "free inodes",
            _grade(found.f_favail, TIGHT_FILES, SCARCE_FILES),
            f"{found.f_favail} of {found.f_files} (an image takes one a file)",
            FREE if found.f_favail < TIGHT_FILES else "",
        )


def _grade(left: int, tight: int, scarce: int) -> Verdict:
    return "problem" if left < scarce else "note" if left < tight else "ok"


class Quota(NamedTuple):
    """What this user has and may have; a limit of 0 is none. Space in bytes."""

    space: int
    space_limit: int
    files: int
    files_limit: int


class _Dqblk(ctypes.Structure):
    """struct if_dqblk of linux/quota.h."""

    _fields_ = (
        ("bhardlimit", ctypes.c_uint64),
        ("bsoftlimit", ctypes.c_uint64),
        ("curspace", ctypes.c_uint64),
        ("ihardlimit", ctypes.c_uint64),
        ("isoftlimit", ctypes.c_uint64),
        ("curinodes", ctypes.c_uint64),
        ("btime", ctypes.c_uint64),
        ("itime", ctypes.c_uint64),
        ("valid", ctypes.c_uint32),
    )


def read_quota(device: str, user: int) -> Quota | None:
    """The quota of @user on a local block device, None where none is kept. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    block = _Dqblk()
    command = ctypes.c_int(Q_GETQUOTA_USER - (1 << 32))
    if libc.syscall(SYS_QUOTACTL, command, os.fsencode(device), user, ctypes.byref(block)):
        error = ctypes.get_errno()
        if error in {errno.ESRCH, errno.ENOSYS, errno.ENOTBLK, errno.ENOENT, errno.EINVAL}:
            return None
        raise OSError(error, os.strerror(error), device)
    return Quota(
        block.curspace,
        (block.bsoftlimit or block.bhardlimit) * BLOCK,
        block.curinodes,
        block.isoftlimit or block.ihardlimit,
    )


def quota(site: Site) -> Iterator[Finding]:
    """The user's share of the disk."""
    mount = site.mount_of(site.nearest)
    if mount.network:
        tool = "lfs quota -h" if mount.type == "lustre" else "quota -s"
        yield Finding(
            "quota",
            "note",
            f"of {mount.type} is counted on its server",
            f"`{tool}` on a login node tells it; images take up many files",
        )
        return
    try:
        found = read_quota(mount.source, os.getuid())
    except OSError as error:
        yield Finding(
            "quota", "note", f"cannot be asked for ({os.strerror(error.errno or 0).lower()})"
        )
        return
    if found is None or not (found.space_limit or found.files_limit):
        yield Finding("quota", "ok", "none on this file system")
        return
    yield _judge(found)


def _judge(found: Quota) -> Finding:
    parts: list[str] = []
    grades: list[Verdict] = ["ok"]
    if found.space_limit:
        parts.append(f"{size_text(found.space)} of {size_text(found.space_limit)} used")
        grades.append(_grade(found.space_limit - found.space, TIGHT, SCARCE))
    if found.files_limit:
        parts.append(f"{found.files} of {found.files_limit} files used")
        grades.append(_grade(found.files_limit - found.files, TIGHT_FILES, SCARCE_FILES))
    verdict: Verdict = "problem" if "problem" in grades else "note" if "note" in grades else "ok"
    return Finding("quota", verdict, ", ".join(parts), "" if verdict == "ok" else FREE)
