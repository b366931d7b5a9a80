"""One plain root file system out of the layers of several test images: what "installed" means.

The kernel's overlayfs stacks the trees from which the images were made (tests/.cache/trees, root's
own), and programs run in it by chroot. Root only; what is mounted goes with the private namespace.
"""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

from images import build
from images.all import RECIPES
from images.builder import Builder

if TYPE_CHECKING:
    from pathlib import Path

_MOUNT = """
set -e
mkdir -p {work}/upper {work}/work {work}/root
cd {trees}
mount -t overlay overlay -o lowerdir={lower},upperdir={work}/upper,workdir={work}/work {work}/root
mount -t proc proc {work}/root/proc
mount --bind /dev {work}/root/dev
mkdir -p {work}/root{shared}
mount --bind {shared} {work}/root{shared}
exec chroot {work}/root env -i PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C.UTF-8 HOME=/ {command}
"""


def run_native(images: list[str], command: list[str], *, work: Path, shared: Path) -> str:
    """Run @command where the tools of all @images are installed; its output.

    @work is an empty folder for the mounts, @shared a folder that is at the same path inside.
    """
    builder = Builder(build.cache_folder())
    trees = {tree.name: None for name in images for tree in builder.trees(RECIPES[name])}
    script = _MOUNT.format(
        work=shlex.quote(str(work)),
        trees=shlex.quote(str(build.cache_folder() / "trees")),
        lower=":".join(reversed(trees)),
        shared=shlex.quote(str(shared)),
        command=shlex.join(command),
    )
    return subprocess.run(
        ["unshare", "-m", "--propagation", "private", "bash", "-c", script],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
