"""The store's folder: whose it is, what file system it lies on, and what that can do."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import stat
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from lpmx_runtime.config.values import read_config
from lpmx_runtime.store.store import FileLock, is_own, remove_tree, user_name

from .finding import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lpmx_runtime.doctor.site import Site

__all__ = ["abilities", "file_system", "folder", "scratch"]

RENAME_NOREPLACE = 1
LOCAL = "ext4, xfs and btrfs have them; LPMX_HOME=/some/local/folder puts the store elsewhere"
MOVE = "put the store elsewhere: LPMX_HOME=/some/local/folder (an absolute path)"


def _origin(site: Site) -> str:
    """What determines where the store is."""
    if site.environ.get("LPMX_HOME"):
        return "LPMX_HOME"
    files = read_config()
    return "config.yaml" if files and files.store else "the default; LPMX_HOME changes it"


def folder(site: Site) -> Iterator[Finding]:
    """Is the store there, the user's own, and closed to others?"""
    store = site.store
    origin = _origin(site)
    if not store.exists():
        if os.access(site.nearest, os.W_OK | os.X_OK):
            yield Finding("store", "ok", f"{store} ({origin}) will be made when it is needed")
        else:
            yield Finding(
                "store",
                "problem",
                f"{store} ({origin}) cannot be made: {site.nearest} is not yours",
                MOVE,
            )
        return
    status = store.stat()
    if not store.is_dir() or not os.access(store, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("store", "problem", f"{store} ({origin}) is no folder you can write in", MOVE)
    elif not is_own(store, status.st_uid):
        yield Finding(
            "store",
            "problem",
            f"{store} belongs to {user_name(status.st_uid)}, and a store serves one user",
            "name a folder of your own by LPMX_HOME; `lpmx save` and `lpmx load` carry images over",
        )
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield Finding(
            "store",
            "problem",
            f"{store} can be written by others (mode {stat.S_IMODE(status.st_mode):o}):"
            " they could put programs into your containers",
            f"chmod go-w {store}",
        )
    else:
        yield Finding("store", "ok", f"{store} ({origin})")


def file_system(site: Site) -> Iterator[Finding]:
    """The kind of file system, and mount options that matter."""
    mount = site.mount_of(site.nearest)
    where = f"{mount.type} at {mount.point}"
    if "noexec" in mount.options:
        yield Finding(
            "file system",
            "problem",
            f"{where} is mounted noexec: programs of images cannot be mapped",
            MOVE,
        )
    elif "ro" in mount.options:
        yield Finding("file system", "problem", f"{where} is mounted read-only", MOVE)
    elif mount.network:
        yield Finding(
            "file system",
            "note",
            f"{where}, shared over a network",
            "works, also for several machines in one container; lookups are answered from the"
            " image's index, and ask for what a container has written. Let programs write big"
            " scratch files elsewhere (-v)",
        )
    elif mount.type in {"tmpfs", "ramfs"}:
        yield Finding(
            "file system",
            "note",
            f"{where}: images take up memory and are gone after a reboot",
            MOVE,
        )
    elif mount.type == "overlay":
        yield Finding(
            "file system",
            "note",
            f"{where}: you are in a container, whose end may be the store's end too",
            "bind a folder of the host and let LPMX_HOME name it",
        )
    else:
        yield Finding("file system", "ok", where)


@contextmanager
def scratch(site: Site) -> Iterator[str | None]:
    """A temporary folder on the store's file system, None where there can be none."""
    place = site.store / "tmp" if (site.store / "tmp").is_dir() else site.nearest
    try:
        path = tempfile.mkdtemp(prefix=".doctor-", dir=place)
    except OSError:
        yield None
        return
    try:
        yield path
    finally:
        remove_tree(path)


class Attempt(NamedTuple):
    """Something to try in a folder: @run returns why it did not work, or raises OSError."""

    name: str
    run: Callable[[str], str]
    verdict: Verdict  # of a failure
    consequence: str
    advice: str = ""


def abilities(site: Site) -> Iterator[Finding]:
    """Try what the store and containers need of the file system."""
    with scratch(site) as path:
        if path is None:
            yield Finding("store", "problem", f"nothing can be written at {site.nearest}", MOVE)
            return
        for attempt in _ATTEMPTS:
            if attempt.run is _shared_memory and site.mount_of(site.nearest).network:
                continue  # containers do without where other machines could not see it
            reason = _reason(attempt.run, path)
            if reason:
                detail = f"{reason}: {attempt.consequence}"
                yield Finding(attempt.name, attempt.verdict, detail, attempt.advice)
            else:
                yield Finding(attempt.name, "ok", "work in the store")


def _reason(attempt: Callable[[str], str], path: str) -> str:
    try:
        return attempt(path)
    except OSError as error:
        return os.strerror(error.errno or 0).lower()


def _locks(path: str) -> str:
    """Locks of both kinds must hold off another open file."""
    name = os.path.join(path, "lock")
    with FileLock(name):
        if FileLock(name).try_acquire():
            return "a second fcntl lock on one file is granted"
    with open(name, "r+") as one, open(name, "r+") as two:  # NFS locks only what may be written
        fcntl.flock(one, fcntl.LOCK_EX)
        try:
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ""
        return "a second flock on one file is granted"


def _shared_memory(path: str) -> str:
    """What one process writes into a mapping must be in the file for others."""
    name = os.path.join(path, "map")
    with open(name, "wb+") as file:
        file.truncate(mmap.PAGESIZE)
        with mmap.mmap(file.fileno(), mmap.PAGESIZE) as memory:
            memory[0] = 1
            memory.flush()
        return "" if os.pread(file.fileno(), 1, 0) == b"\1" else "changes are lost"


def _programs(path: str) -> str:
    """Programs are mapped from the store, whatever the table of mounts says of it."""
    name = os.path.join(path, "program")
    with open(name, "wb+") as file:
        file.truncate(mmap.PAGESIZE)
        os.chmod(name, 0o700)
        with mmap.mmap(
            file.fileno(), mmap.PAGESIZE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC
        ):
            pass
    return "" if os.access(name, os.X_OK) else "no program may be executed"


def _names(path: str) -> str:
    """Names are bytes, and letters are not folded."""
    for name in (b"name", b"NAME", b"bytes-\xff\xfe"):
        descriptor = os.open(
            os.path.join(os.fsencode(path), name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600
        )
        os.close(descriptor)
    return ""


def _links(path: str) -> str:
    name = os.path.join(path, "linked")
    with open(name, "w"):
        pass
    os.link(name, f"{name}-twin")
    return "" if os.stat(name).st_nlink == 2 else "link counts are wrong"


def _renames(path: str) -> str:
    """renameat2 with RENAME_NOREPLACE, by which a copy-up appears."""
    old, new = os.path.join(path, "old"), os.path.join(path, "new")
    for name in (old, new):
        with open(name, "w"):
            pass
    if _renameat2(old, new) != errno.EEXIST:
        return "an existing file is replaced or the call refused"
    os.unlink(new)
    result = _renameat2(old, new)
    return os.strerror(result).lower() if result else ""


def _renameat2(old: str, new: str) -> int:
    """The errno of the call, 0 for success."""
    libc = ctypes.CDLL(None, use_errno=True)
    syscall_renameat2 = 316  # x86_64; glibc before 2.28 has no wrapper
    at_cwd = -100
    result = libc.syscall(
        syscall_renameat2, at_cwd, os.fsencode(old), at_cwd, os.fsencode(new), RENAME_NOREPLACE
    )
    return ctypes.get_errno() if result else 0


def _attributes(path: str) -> str:
    os.setxattr(path, "user.lpmx.doctor", b"1")
    return "" if os.getxattr(path, "user.lpmx.doctor") == b"1" else "values are lost"


def _modes(path: str) -> str:
    """Permissions must stay as they are set."""
    name = os.path.join(path, "mode")
    with open(name, "w"):
        pass
    os.chmod(name, 0o751)  # noqa: S103  a mode that no umask would leave
    return "" if stat.S_IMODE(os.stat(name).st_mode) == 0o751 else "permissions cannot be set"


_ATTEMPTS = (
    Attempt("locks", _locks, "problem", "two lpmx at once could spoil the store", MOVE),
    Attempt("shared memory maps", _shared_memory, "problem", "programs would miss new files", MOVE),
    Attempt("programs", _programs, "problem", "those of images cannot be run from here", MOVE),
    Attempt("renames", _renames, "note", "copies on write take another, slower way", LOCAL),
    Attempt(
        "names", _names, "problem", "images hold names that differ in case or are not UTF-8", MOVE
    ),
    Attempt("permissions", _modes, "problem", "programs of images would not be executable", MOVE),
    Attempt("hard links", _links, "note", "linked files of an image cannot be linked here", LOCAL),
    Attempt(
        "user attributes",
        _attributes,
        "note",
        "programs that set extended attributes see the same error",
        LOCAL,
    ),
)
