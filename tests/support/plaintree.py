"""The tree of an image without us: its layers unpacked into one folder, and a chroot of it. Root
only.

What a suite does in that chroot is what it should do in a container.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.lpmx import Completed, run

if TYPE_CHECKING:
    from pathlib import Path

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
# A fresh upper over the tree, in a mount namespace of its own: nothing of a run is left
CHROOT = r"""
set -e
mount -t overlay overlay -o "lowerdir=$TREE,upperdir=$WORK/upper,workdir=$WORK/work" "$WORK/root"
cd "$WORK/root"
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind /sys sys
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
    HOME=/root chroot . "$@"
"""


def unpack(archive: Path, folder: Path) -> Path:
    """The merged tree of a docker-save archive, its whiteouts applied; made in @folder."""
    tree = folder / "tree"
    tree.mkdir()
    run(["tar", "-C", folder, "-xf", archive])
    (manifest,) = json.loads((folder / "manifest.json").read_text())
    for name in manifest["Layers"]:
        with tarfile.open(folder / name) as layer:
            for member in layer.getnames():
                _hide(tree, member)
        run(["tar", "-C", tree, "--numeric-owner", f"--exclude={WHITEOUT}*", "-xf", folder / name])
        (folder / name).unlink()
    return tree


def _hide(tree: Path, member: str) -> None:
    """Carry out one whiteout or opaque mark of a layer on the tree below it."""
    place, name = os.path.split(member)
    if name == OPAQUE:
        shutil.rmtree(tree / place, ignore_errors=True)
    elif name.startswith(WHITEOUT):
        target = tree / place / name.removeprefix(WHITEOUT)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


@dataclass(frozen=True)
class Chroot:
    """Runs commands in a plain chroot of @tree, each in a fresh copy, with scratch in @folder."""

    tree: Path
    folder: Path

    def __call__(self, *command: str, timeout: float) -> Completed:
        """Run @command there and capture what it prints; its status is the caller's to judge."""
        with tempfile.TemporaryDirectory(dir=self.folder) as work:
            for name in ("upper", "work", "root"):
                os.mkdir(os.path.join(work, name))
            namespace = ["unshare", "-m", "--propagation", "private", "bash", "-c", CHROOT, "sh"]
            env = {"TREE": str(self.tree), "WORK": work}
            return run([*namespace, *command], env=env, check=False, timeout=timeout)
