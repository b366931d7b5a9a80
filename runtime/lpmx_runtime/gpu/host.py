"""The part of the host that GPUs are found in.

`LPMX_DRIVER_ROOT` names the folder below which the driver's files lie where that is not /, as with
drivers that are themselves installed by a container (/run/nvidia/driver). `LPMX_CDI_DIRS` replaces
the folders of CDI specifications.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GpuHost", "this_host"]

# https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md: later ones win.
_CDI_DIRS = ("/etc/cdi", "/var/run/cdi")


@dataclass(frozen=True)
class GpuHost:
    """Where to look."""

    root: str = "/"
    cdi_dirs: tuple[str, ...] = _CDI_DIRS
    environ: Mapping[str, str] | None = None

    def path(self, path: str) -> str:
        """Absolute @path of the driver's root, on the host."""
        return path if self.root == "/" else self.root.rstrip("/") + path

    def inside(self, path: str) -> str:
        """What host @path is called in the driver's root; itself when it is not in there."""
        return path.removeprefix(self.path("").rstrip("/")) if self.root != "/" else path

    def variable(self, name: str) -> str:
        """A variable of the user's environment."""
        return (self.environ or {}).get(name, "")

    def real(self, path: str) -> str:
        """@path of the driver's root with symlinks followed inside that root; "" without a file."""
        for _ in range(40):
            found = self.path(path)
            try:
                mode = os.lstat(found).st_mode
            except OSError:
                return ""
            if not stat.S_ISLNK(mode):
                return os.path.join(
                    os.path.realpath(os.path.dirname(found)), os.path.basename(path)
                )
            path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(found)))
        return ""

    def devices(self, path: str) -> list[str]:
        """Paths of the device nodes at or directly below @path: /dev/kfd, /dev/dri."""
        for found in dict.fromkeys((self.path(path), path)):
            if os.path.isdir(found):
                inside = sorted(os.path.join(found, name) for name in os.listdir(found))
                return [name for name in inside if not os.path.isdir(name)]
            if os.path.exists(found):
                return [found]
        return []


def this_host(environ: Mapping[str, str]) -> GpuHost:
    """The one we run on, as the variables of @environ describe it."""
    dirs = tuple(filter(None, environ.get("LPMX_CDI_DIRS", "").split(":")))
    return GpuHost(environ.get("LPMX_DRIVER_ROOT") or "/", dirs or _CDI_DIRS, environ)
