"""Whether a driver can run what an image was built for.

An image of NVIDIA's line says what it needs in NVIDIA_REQUIRE_CUDA ("cuda>=12.4 brand=tesla,
driver>=470 ..."), most others in CUDA_VERSION. Within one major version newer programs run on an
older driver ("minor version compatibility"), so what counts is the first driver of that version:
https://docs.nvidia.com/deploy/cuda-compatibility/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import GpuError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_driver", "needed_cuda"]

# The first Linux driver of each major version of CUDA, by NVIDIA's release notes.
_FIRST_DRIVER = {
    9: (384, 81),
    10: (410, 48),
    11: (450, 80, 2),
    12: (525, 60, 13),
    13: (580, 65, 6),
}


def needed_cuda(env: Mapping[str, str]) -> tuple[int, ...]:
    """The CUDA version that an image with variables @env was built for; () when it does not say."""
    found = re.search(r"(?:^|\s)cuda>=(\d+(?:\.\d+)*)", env.get("NVIDIA_REQUIRE_CUDA", ""))
    text = found.group(1) if found else env.get("CUDA_VERSION", "")
    return _version(text)


def check_driver(driver: str, env: Mapping[str, str], *, image: str, has_compat: bool) -> None:
    """GpuError when version @driver is too old for the image.

    @has_compat: the image brings NVIDIA's forward compatibility package.
    """
    if has_compat or env.get("NVIDIA_DISABLE_REQUIRE", "").lower() in {"1", "true"}:
        return
    wanted, have = needed_cuda(env), _version(driver)
    first = _FIRST_DRIVER.get(wanted[0]) if wanted else None
    if first is None or not have or have >= first:
        return
    raise GpuError(
        f"image {image} needs a driver for CUDA {'.'.join(map(str, wanted))}, version"
        f" {'.'.join(map(str, first))} or later; this machine has {driver}",
        hint="use an image for an older CUDA, or -e NVIDIA_DISABLE_REQUIRE=1 to try all the same",
    )


def _version(text: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, found.group().split("."))) if found else ()
