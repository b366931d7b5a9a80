"""What a file is that was given for an image archive and is none, by its first bytes.

For messages only: nothing is read here that a loader would then believe.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["FileKind", "file_kind"]

HEAD = 1 << 15  # bytes looked at; an ISO 9660 image says so in its 17th sector
_ISO = (32769, b"CD001")


@dataclass(frozen=True)
class FileKind:
    """@name as in "NAME: a SIF image ..."; @hint with {file} for the file's name."""

    name: str
    hint: str


_IMPORT = "`tar -C DIR -c . | lpmx-docker import - NAME`"
_DISK = (
    "a virtual machine's disk, not a container's image: `guestfish --ro -a {file} -i tar-out / -"
    " | lpmx-docker import - NAME` takes its files out, where libguestfs is there"
)
_SIF = FileKind(
    "a SIF image of Apptainer or Singularity", "`lpmx-singularity exec {file} COMMAND` runs it"
)
_SQUASHFS = FileKind(
    "a squashfs image", "`unsquashfs -d DIR {file}`, then " + _IMPORT + " brings it in"
)
_EXT = FileKind(
    "an ext2, ext3 or ext4 image",
    "`debugfs -R 'rdump / DIR' {file}`, then " + _IMPORT + " brings it in",
)
_ZIP = FileKind("a zip archive", "unpack it; `lpmx load` reads the archive or folder in it")
_SEVEN = FileKind("a 7z archive", "unpack it; `lpmx load` reads the archive or folder in it")
_DOWNLOAD = FileKind(
    "a web page", "the download gave a page instead of the file: get it again, perhaps logged in"
)
_REFERENCE = FileKind(
    "a file that `lpmx-singularity pull` wrote",
    "`lpmx-singularity exec {file} COMMAND` runs the image, which is in the store it was pulled to",
)
_KINDS: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"#!/usr/bin/env run-singularity", _SIF),
    (32, b"SIF_MAGIC\0", _SIF),
    (0, b"hsqs", _SQUASHFS),
    (1080, b"\x53\xef", _EXT),
    (0, b"QFI\xfb", FileKind("a qcow2 image", _DISK)),
    (0, b"KDMV", FileKind("a VMDK image", _DISK)),
    (0, b"vhdxfile", FileKind("a VHDX image", _DISK)),
    (64, b"\x7f\x10\xda\xbe", FileKind("a VDI image", _DISK)),
    (*_ISO, FileKind("an ISO 9660 image", "`xorriso -osirrox on -indev {file} -extract / DIR`")),
    (0, b"PK\3\4", _ZIP),
    (0, b"7z\xbc\xaf\x27\x1c", _SEVEN),
    (0, b"!<arch>\n", FileKind("a Debian package or static library", "unpack it elsewhere")),
    (0, b"\xed\xab\xee\xdb", FileKind("an RPM package", "unpack it elsewhere")),
    (0, b"\x7fELF", FileKind("a program", "perhaps it is to be run?")),
    (0, b"version https://git-lfs", FileKind("a pointer of Git LFS", "`git lfs pull` gets it")),
    (0, b"<!DOCTYPE", _DOWNLOAD),
    (0, b"<!doctype", _DOWNLOAD),
    (0, b"<html", _DOWNLOAD),
    (0, b"#!/usr/bin/env -S lpmx-singularity", _REFERENCE),
    (0, b"#!", FileKind("a script", "perhaps it is to be run?")),
    (0, b"FROM ", FileKind("a Dockerfile", "images are built elsewhere, or by `lpmx commit`")),
)


def file_kind(fd: int) -> FileKind | None:
    """What open file @fd is; None where it may be a tar, or is nothing known."""
    head = os.pread(fd, HEAD + 16, 0)
    if head[257:262] == b"ustar":
        return None  # whatever the name of its first member looks like
    for at, magic, kind in _KINDS:
        if head[at : at + len(magic)] == magic:
            return kind
    return None
