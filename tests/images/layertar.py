"""Layer tars out of directories: the form in which an image carries them.

An overlayfs upper directory becomes an OCI layer here: a 0/0 character device turns into
`.wh.NAME`, a directory with `trusted.overlay.opaque` gets a `.wh..wh..opq` inside. The same tree
gives the same bytes (sorted names, no tar header of the moment), so its digest is stable. Writing
archives out of layers is archive.py.
"""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

PRIVATE_XATTRS = ("trusted.", "security.selinux", "system.")
OPAQUE = "trusted.overlay.opaque"


def write_layer(tree: Path, out: Path, *, mtime: int | None = None) -> int:
    """Write @tree (plain, or the upper of an overlayfs) as a layer; return the number of members.

    @mtime, when given, replaces every time stamp.
    """
    with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
        return _LayerWriter(tar, mtime).directory(tree, "")


class _LayerWriter:
    def __init__(self, tar: tarfile.TarFile, mtime: int | None) -> None:
        self.tar = tar
        self.mtime = mtime
        self.links: dict[tuple[int, int], str] = {}

    def directory(self, directory: Path, prefix: str) -> int:
        count = 0
        for entry in sorted(os.scandir(directory), key=lambda each: os.fsencode(each.name)):
            path, name = Path(entry.path), prefix + entry.name
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISSOCK(status.st_mode):
                continue  # tar has no sockets
            count += 1
            if _is_whiteout(status):
                self._empty(f"{prefix}.wh.{entry.name}")
                continue
            self._member(path, name, status)
            if stat.S_ISDIR(status.st_mode):
                if _is_opaque(path):
                    self._empty(f"{name}/.wh..wh..opq")
                    count += 1
                count += self.directory(path, name + "/")
        return count

    def _empty(self, name: str) -> None:
        info = tarfile.TarInfo(name)
        info.mode = 0
        self.tar.addfile(info)

    def _member(self, path: Path, name: str, status: os.stat_result) -> None:
        info = tarfile.TarInfo(name)
        info.mode, info.uid, info.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
        info.mtime = status.st_mtime_ns // 10**9 if self.mtime is None else self.mtime
        info.pax_headers = _xattr_headers(path)
        if stat.S_ISDIR(status.st_mode):
            info.type = tarfile.DIRTYPE
        elif (first := self._first_name(name, status)) != name:
            info.type, info.linkname = tarfile.LNKTYPE, first
        elif stat.S_ISLNK(status.st_mode):
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
        elif stat.S_ISFIFO(status.st_mode):
            info.type = tarfile.FIFOTYPE
        elif stat.S_ISREG(status.st_mode):
            info.size = status.st_size
            with open(path, "rb") as data:
                self.tar.addfile(info, data)
            return
        else:
            info.type = tarfile.CHRTYPE if stat.S_ISCHR(status.st_mode) else tarfile.BLKTYPE
            info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
        self.tar.addfile(info)

    def _first_name(self, name: str, status: os.stat_result) -> str:
        if status.st_nlink == 1:
            return name
        return self.links.setdefault((status.st_dev, status.st_ino), name)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _xattr_headers(path: Path) -> dict[str, str]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {
        "SCHILY.xattr." + name: os.getxattr(path, name, follow_symlinks=False).decode(
            "utf-8", "surrogateescape"
        )
        for name in names
        if not name.startswith(PRIVATE_XATTRS)
    }
