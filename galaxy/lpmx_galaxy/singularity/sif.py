"""SIF files of Apptainer: the file system in them is unpacked once, and then is an image like any.

Format: https://github.com/apptainer/sif (pkg/sif/sif.go): a global header with the place of the
descriptors, packed little-endian; the one of the system partition says where its squashfs is.
Unpacking needs `unsquashfs` of squashfs-tools on the PATH.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import struct
import sys
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import ArchiveError, LpmxError
from lpmx_runtime.smallfile import read_small_text
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from pathlib import Path

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["find_partition", "is_sif", "load_sif", "read_config", "read_exports", "unpack_sif"]

_MAGIC = b"SIF_MAGIC\0"
_MAGIC_AT = 32
# launch script, magic, version, architecture, id; ctime, mtime, descriptors free and in all, then
# offset and size of the descriptors, offset and size of the data
_HEADER = struct.Struct("<32s10s3s3s16s8q")
# type, used, id, group, link; offset, size, stored size, ctime, mtime, uid, gid; name, extra
_DESCRIPTOR = struct.Struct("<i?III7q128s384s")
_PARTITION = struct.Struct("<ii")  # kind of file system, role
_DATA_PARTITION, _SQUASHFS, _SYSTEM = 0x4004, 1, 2
_EXPORT = re.compile(r"^\s*export ([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.MULTILINE)
_DEFAULT = re.compile(r'^"?\$\{[A-Za-z_][A-Za-z0-9_]*:-(.*)\}"?$')
_TABLE_MAX = 1 << 20  # bytes of descriptors that we read


def is_sif(path: str) -> bool:
    """Is @path a SIF file?"""
    with open(path, "rb") as file:
        file.seek(_MAGIC_AT)
        return file.read(len(_MAGIC)) == _MAGIC


def find_partition(path: str) -> tuple[int, int]:
    """Offset and size in bytes of the squashfs with the image's files; ArchiveError if none."""
    with open(path, "rb") as file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size:
            raise ArchiveError(f"{path}: truncated")
        offset, size = _HEADER.unpack(head)[9:11]
        file.seek(max(0, offset))
        table = file.read(max(0, min(size, _TABLE_MAX)))
    for start in range(0, len(table) - _DESCRIPTOR.size + 1, _DESCRIPTOR.size):
        entry = _DESCRIPTOR.unpack_from(table, start)
        if entry[0] != _DATA_PARTITION or not entry[1]:
            continue
        kind, role = _PARTITION.unpack_from(entry[13])
        if role == _SYSTEM and kind == _SQUASHFS:
            return entry[5], entry[6]
    raise ArchiveError(
        f"{path}: no squashfs with an image's files in it",
        hint="encrypted images and other file systems are not read here",
    )


def load_sif(store: Store, path: str) -> Image:
    """The image in @path, unpacked at the first time; known again by size and time of the file."""
    import hashlib

    from lpmx_runtime.store.store import make_private

    status = os.stat(path)
    key = f"{os.path.realpath(path)}:{status.st_size}:{status.st_mtime_ns}"
    note = store.root / "cache" / "sif" / hashlib.sha256(os.fsencode(key)).hexdigest()
    with store.lock("sif"):
        try:
            return store.image(note.read_text().strip())
        except (OSError, LpmxError):
            pass
        image = unpack_sif(store, path)
        make_private(note.parent)
        note.write_text(image.id)
    return image


def unpack_sif(store: Store, path: str, *, called: str = "") -> Image:
    """The image in @path, unpacked now; messages name it as @called. ArchiveError: it is no SIF."""
    from shutil import which

    from lpmx_galaxy.frontend.rootfs import import_rootfs
    from lpmx_runtime.process.proc import run

    called = called or path
    if not is_sif(path):
        raise ArchiveError(f"{called}: not a SIF file")
    offset, _ = find_partition(path)
    if not which("unsquashfs"):
        raise LpmxError(
            f"{called}: a SIF image, and there is no unsquashfs to unpack it",
            hint="install squashfs-tools, or give the image's docker:// name instead",
        )
    print(f"unpacking {shown(called)}, once", file=sys.stderr)
    path = os.path.abspath(path)  # a name that begins with a dash is no option
    with store.workspace() as workspace:
        tree = workspace / "tree"
        run(
            ["unsquashfs", "-no-progress", "-no-xattrs", "-d", tree, "-offset", str(offset), path],
            check=False,  # it ends with 2 where an ordinary user cannot make a device
        )
        if not tree.is_dir():
            raise ArchiveError(f"{called}: unsquashfs could not unpack it")
        config = read_config(tree)
        archive = workspace / "tree.tar"
        run(["tar", "-C", tree, "--owner=0", "--group=0", "--numeric-owner", "-cf", archive, "."])
        return import_rootfs(store, os.fspath(archive), None, config=config)


def read_config(tree: Path) -> dict[str, Any]:
    """What Apptainer keeps of an image's configuration in its files: variables and runscript."""
    env: dict[str, str] = {}
    folder = tree / ".singularity.d" / "env"
    # Symlinks would lead to files of this host.
    own = folder.is_dir() and not folder.is_symlink() and not folder.parent.is_symlink()
    for script in sorted(folder.glob("*.sh")) if own else ():
        if not script.is_symlink():
            with contextlib.suppress(OSError):
                env.update(read_exports(read_small_text(script, errors="replace")))
    config: dict[str, Any] = {"Env": [f"{name}={value}" for name, value in env.items()]}
    if os.path.lexists(tree / ".singularity.d" / "runscript"):
        config["Entrypoint"] = ["/.singularity.d/runscript"]
    return config


def read_exports(script: str) -> dict[str, str]:
    """The variables that a script exports with values that need no shell."""
    found = {name: _value(raw) for name, raw in _EXPORT.findall(script)}
    return {name: value for name, value in found.items() if "$" not in value}


def _value(raw: str) -> str:
    """The plain value of `export NAME="${NAME:-"value"}"` and of `export NAME="value"`."""
    found = _DEFAULT.match(raw.strip())
    text = found[1] if found else raw.strip()
    try:
        return "".join(shlex.split(text))
    except ValueError:
        return text.strip('"')
