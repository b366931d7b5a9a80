"""A SIF file as Apptainer lays one out: header, one descriptor, a squashfs."""

from __future__ import annotations

import os
import shutil
import struct
from typing import TYPE_CHECKING

import pytest

from support import busybox
from support.lpmx import run

if TYPE_CHECKING:
    from pathlib import Path


def write_sif(folder: Path) -> Path:
    """A SIF file in @folder of a busybox, with a runscript and a variable of its own."""
    program = busybox.available()
    if not program or not shutil.which("mksquashfs"):
        pytest.skip("no static busybox or no squashfs-tools on this machine")
    tree = folder / "tree"
    for name in ("bin", "etc", "tmp", ".singularity.d/env"):
        (tree / name).mkdir(parents=True)
    shutil.copy(program, tree / "bin" / "busybox")
    os.link(tree / "bin" / "busybox", tree / "bin" / "sh")
    (tree / "etc" / "marker").write_text("from a SIF\n")
    (tree / ".singularity.d/env/10-docker2singularity.sh").write_text(
        '#!/bin/sh\nexport PATH="/bin"\nexport SAID="${SAID:-"by the image"}"\n'
    )
    script = tree / ".singularity.d" / "runscript"
    script.write_text('#!/bin/sh\nbusybox cat /etc/marker; echo "$SAID $*"\n')
    script.chmod(0o755)
    run(["mksquashfs", tree, folder / "files.squashfs", "-quiet", "-no-progress", "-all-root"])
    data = (folder / "files.squashfs").read_bytes()
    descriptor = struct.pack("<i?III", 0x4004, True, 1, 0xF0000001, 0)
    descriptor += struct.pack("<7q", 4096, len(data), len(data), 0, 0, 0, 0) + bytes(128)
    descriptor += struct.pack("<ii", 1, 2).ljust(384, b"\0")
    head = b"#!/usr/bin/env run-singularity\n".ljust(32, b"\0") + b"SIF_MAGIC\0" + b"01\0" + b"02\0"
    head += bytes(16) + struct.pack("<8q", 0, 0, 47, 48, 128, len(descriptor), 4096, len(data))
    path = folder / "real.sif"
    path.write_bytes((head + descriptor).ljust(4096, b"\0") + data)
    return path
