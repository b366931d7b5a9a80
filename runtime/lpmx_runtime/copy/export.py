"""`lpmx export`: a container's own tree as a tar, the image's files and what was written over them.

Binds are not followed: the host's files are none of the container's. Where one is shown stands the
directory that holds the place, as in `docker export`.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import IO, TYPE_CHECKING

from lpmx_runtime.container.upper import Entry, Records
from lpmx_runtime.errors import UsageError, storage_errors
from lpmx_runtime.store.store import remove_tree
from lpmx_runtime.tar.writer import write_layer

from .tree import WritableTree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lpmx_runtime.container.record import Container
    from lpmx_runtime.store.store import Store

__all__ = ["export", "own_tree"]

_GONE = {errno.ENOENT, errno.ENOTDIR}


def export(store: Store, container: Container, output: str | IO[bytes]) -> None:
    """Write the tree of @container to the file or stream @output; a file appears whole."""
    if not isinstance(output, str):
        _write(store, container, output)
        return
    folder = os.path.dirname(output)
    if folder and not os.path.isdir(folder):
        raise UsageError(f"{output}: there is no directory {folder}", hint="make it first")
    if os.path.isdir(output):
        raise UsageError(f"{output}: a directory", hint="name a file")
    temporary = f"{output}.{os.getpid()}.partial"
    with storage_errors("the archive"):
        try:
            with open(temporary, "xb") as file:
                _write(store, container, file)
            os.rename(temporary, output)
        except BaseException:
            if os.path.lexists(temporary):
                remove_tree(temporary)
            raise


def _write(store: Store, container: Container, out: IO[bytes]) -> None:
    with WritableTree(store, container, binds=False) as union:
        write_layer(own_tree(union), out.write)
    out.flush()


def own_tree(union: WritableTree) -> Iterator[Entry]:
    """All of @union, the root (empty path) first, parents before what is in them."""
    records = Records(union.container)
    pending = [b""]
    while pending:
        path = pending.pop()
        try:
            entry = _entry(union, records, path)
        except OSError as error:
            if error.errno in _GONE:
                continue  # removed meanwhile
            raise
        if entry is None:
            continue
        yield entry
        if entry.is_folder:
            prefix = path + b"/" if path else b""
            names = union.names(union.walk(b"/" + path, follow=False))
            pending += [prefix + name for name in reversed(names)]


def _entry(union: WritableTree, records: Records, path: bytes) -> Entry | None:
    """What an archive says of @path; None for sockets, which no archive has."""
    hit = union.walk(b"/" + path, follow=False)
    if hit.absent:
        return None
    status, shown = hit.status(), union.shown(hit)
    if stat.S_ISSOCK(status.st_mode):
        return None
    return Entry(
        path=path,
        mode=shown.mode,
        uid=shown.uid,
        gid=shown.gid,
        mtime_ns=status.st_mtime_ns,
        size=status.st_size if stat.S_ISREG(shown.mode) else 0,
        rdev=shown.rdev,
        link=os.readlink(hit.host) if stat.S_ISLNK(status.st_mode) else b"",
        inode=(status.st_dev, status.st_ino),
        nlink=status.st_nlink,
        host=hit.host,
        xattrs=records.xattrs(hit.host, status.st_mode),
    )
