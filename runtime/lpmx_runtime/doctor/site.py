"""What an examination looks at, and the order in which it does."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lpmx_runtime.errors import LpmxError

from .finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["GROUP", "Mount", "Site", "examine"]

GROUP = "lpmx.examiners"
NETWORK = {
    "nfs", "nfs4", "lustre", "gpfs", "beegfs", "cephfs", "ceph", "cifs", "smb3", "glusterfs",
    "fuse.glusterfs", "fuse.sshfs", "afs", "9p", "panfs", "pvfs2", "ocfs2", "gfs2", "wekafs",
}  # fmt: skip


class Mount(NamedTuple):
    """The file system under a path, as /proc/self/mountinfo tells it."""

    point: str
    type: str
    source: str
    options: frozenset[str]

    @property
    def network(self) -> bool:
        """Is it served by other machines?"""
        return self.type in NETWORK


@dataclass(frozen=True)
class Site:
    """This machine as seen by this user. Tests put other folders and values in place."""

    store: Path  # the folder of the store, which need not exist
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")

    def read(self, name: str) -> str:
        """The text of a file of /proc, "" when it cannot be read."""
        try:
            return (self.proc / name).read_text(errors="replace").strip()
        except OSError:
            return ""

    def status(self, key: str) -> str:
        """A field of /proc/self/status, "" when there is none."""
        for line in self.read("self/status").splitlines():
            name, _, value = line.partition(":")
            if name == key:
                return value.strip()
        return ""

    def mount_of(self, path: str | os.PathLike[str]) -> Mount:
        """The mount that @path, or its nearest parent that exists, lies on."""
        place = os.path.realpath(path)
        best = Mount("/", "unknown", "", frozenset())
        for line in self.read("self/mountinfo").splitlines():
            mount = _parse_mount(line)
            if mount and _lies_below(place, mount.point) and len(mount.point) >= len(best.point):
                best = mount  # of two at one place the later one is on top
        return best

    @property
    def nearest(self) -> Path:
        """The store's folder, or the nearest parent of it that exists."""
        return next(path for path in (self.store, *self.store.parents) if path.exists())

    def program(self, name: str) -> str | None:
        """The program @name of this user's PATH."""
        import shutil

        return shutil.which(name, path=self.environ.get("PATH"))


def _parse_mount(line: str) -> Mount | None:
    """A line of mountinfo, by proc_pid_mountinfo(5).

    ID PARENT DEVICE ROOT POINT OPTIONS [TAG...] - TYPE SOURCE SUPER_OPTIONS
    """
    before, separator, after = line.partition(" - ")
    fields, rest = before.split(), after.split()
    if not separator or len(fields) < 6 or len(rest) < 2:
        return None
    options = set(fields[5].split(","))
    if len(rest) > 2:
        options |= set(rest[2].split(","))
    return Mount(_unescape(fields[4]), rest[0], _unescape(rest[1]), frozenset(options))


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _lies_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def examine(site: Site) -> Iterator[Finding]:
    """Look at everything; an examiner that fails is itself a finding."""
    for name, examiner in _examiners():
        try:
            yield from examiner(site)
        except (OSError, ValueError, ImportError, LpmxError) as error:
            yield Finding(
                name,
                "problem",
                f"could not be examined: {type(error).__name__}: {error}",
                "please report this",
            )


def _examiners() -> Iterator[tuple[str, Callable[[Site], Iterable[Finding]]]]:
    from importlib.metadata import entry_points

    from lpmx_runtime.doctor import engine, machine, room, storage, surroundings

    yield "kernel", machine.kernel
    yield "filters", machine.filters
    yield "privileges", machine.privileges
    yield "limits", machine.limits
    yield "store", storage.folder
    yield "file system", storage.file_system
    yield "store", storage.abilities
    yield "space", room.space
    yield "quota", room.quota
    yield "engine", engine.parts
    yield "engine", engine.start
    yield "temporary files", surroundings.temporary
    yield "GPU", surroundings.gpu
    yield "batch system", surroundings.batch
    for point in entry_points(group=GROUP):
        yield point.name, point.load()
