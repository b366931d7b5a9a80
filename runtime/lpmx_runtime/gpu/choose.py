"""Which GPUs a program is to use: what was asked for, out of what the user has been granted.

A batch system grants by CUDA_VISIBLE_DEVICES, a container around us by NVIDIA_VISIBLE_DEVICES.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import GpuError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .host import GpuHost
    from .request import GpuRequest

__all__ = ["choose_gpus"]

_ALL = {"", "all", "void", "none", "NoDevFiles"}


def choose_gpus(
    request: GpuRequest, gpus: Sequence[tuple[str, str]], host: GpuHost
) -> dict[str, str]:
    """The variables that make CUDA use those of @gpus (index, UUID) that @request wants.

    GpuError when there are not as many, or not these.
    """
    granted, by = _granted(host)
    if request.everything:
        return {"CUDA_VISIBLE_DEVICES": ",".join(granted)} if granted else {}
    pool = granted or [index for index, _ in gpus]
    if request.devices:
        chosen = [_find(name, gpus) for name in request.devices]
        if granted:
            for name, own in zip(request.devices, chosen, strict=True):
                if not {name, *own} & set(granted):
                    raise GpuError(
                        f"--gpus {name}: not granted, {by} is {','.join(granted)}",
                        hint="ask the batch system for it, or use --gpus all",
                    )
        return {"CUDA_VISIBLE_DEVICES": ",".join(request.devices)}
    if request.count > len(pool):
        raise GpuError(
            f"--gpus {request.count}: there {'is' if len(pool) == 1 else 'are'} {len(pool)}"
            + (f" ({by} is {','.join(granted)})" if granted else ""),
            hint="--gpus takes a number of GPUs; one of them by its index is --gpus device=INDEX",
        )
    return {"CUDA_VISIBLE_DEVICES": ",".join(pool[: request.count])}


def _granted(host: GpuHost) -> tuple[list[str], str]:
    for name in ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"):
        value = host.variable(name)
        if value not in _ALL:
            return [word.strip() for word in value.split(",") if word.strip()], name
    return [], ""


def _find(name: str, gpus: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """All names of the GPU called @name."""
    if name.startswith("MIG-"):  # a part of one; only the driver knows which
        return (name,)
    for gpu in gpus:
        index, uuid = gpu
        if name == index or (name.startswith("GPU-") and (not uuid or uuid.startswith(name))):
            return gpu
    known = ", ".join(f"{index} {uuid}".strip() for index, uuid in gpus)
    raise GpuError(f"--gpus {name}: no such GPU", hint=f"this machine has {known or 'none'}")
