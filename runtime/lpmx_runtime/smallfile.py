"""Reading files that users and strangers write: regular ones, of a size that people write.

What else has such a name is refused: a FIFO would be waited for, a device be read without end. An
input of this process itself (/dev/stdin, the /dev/fd/N of a shell's `<(...)`) is taken as it is.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SIZE_MAX", "read_small", "read_small_text"]

SIZE_MAX = 1 << 20
_OWN_INPUTS = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
_NULL = os.makedev(1, 3)
_KINDS = {
    stat.S_IFDIR: "is a directory",
    stat.S_IFIFO: "is a FIFO, not a file",
    stat.S_IFSOCK: "is a socket, not a file",
    stat.S_IFCHR: "is a device, not a file",
    stat.S_IFBLK: "is a device, not a file",
}


def read_small(path: str | Path, *, limit: int = SIZE_MAX) -> bytes:
    """The contents of @path; an OSError with a `strerror` to show for all that is not such."""
    name = os.fspath(path)
    ours = name.startswith(_OWN_INPUTS)
    _check(os.stat(name), name, ours=ours)
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        _check(os.fstat(fd), name, ours=ours)
        if ours:
            os.set_blocking(fd, True)
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"is larger than {limit} bytes", name)
    return data


def read_small_text(path: str | Path, *, limit: int = SIZE_MAX, errors: str = "strict") -> str:
    """The same as text."""
    return read_small(path, limit=limit).decode("utf-8", errors)


def _check(status: os.stat_result, name: str, *, ours: bool) -> None:
    kind = stat.S_IFMT(status.st_mode)
    allowed = kind == stat.S_IFREG or (kind == stat.S_IFCHR and status.st_rdev == _NULL)
    if kind == stat.S_IFDIR or not (allowed or ours):
        code = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise OSError(code, _KINDS.get(kind, "is not a file"), name)
