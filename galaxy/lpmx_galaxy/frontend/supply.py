"""Images by the names that workflow systems have for them, from the store or wherever they are.

What brings an image in is lpmx_runtime.fetch.obtain: directories of archives first, then its
registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime.errors import ImageNotFoundError, UsageError
from lpmx_runtime.fetch.obtain import obtain
from lpmx_runtime.reference import parse_reference

if TYPE_CHECKING:
    from lpmx_runtime.fetch.obtain import MeterOf, Report
    from lpmx_runtime.images.registry.pull import Options
    from lpmx_runtime.reference import Reference
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["obtain", "platform_of", "refresh", "split_transport"]

_MACHINES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64"}
_TRANSPORTS = (
    "docker", "docker-daemon", "docker-archive", "oci-archive", "oci", "oras",
    "library", "shub", "http", "https", "instance",
)  # fmt: skip


def refresh(
    store: Store,
    name: str,
    *,
    options: Options | None = None,
    meter: MeterOf | None = None,
    report: Report | None = None,
) -> Image:
    """The newest image of that name, as a `pull` wants it.

    One that was loaded or made here is the newest: its registry is not asked. One that was pulled
    stays where the registry cannot be reached, and @report is told. Raises what `obtain` raises.
    """
    from lpmx_runtime.fetch.supply import find_archive
    from lpmx_runtime.images.registry.wire.errors import UnreachableError

    reference = parse_reference(name)
    canonical = str(reference)
    try:
        here = store.resolve(canonical)
    except ImageNotFoundError:
        return obtain(
            store, canonical, policy="missing", options=options, meter=meter, report=report
        )
    if not _was_pulled(store, here, reference) and not find_archive(store, canonical):
        return here
    try:
        return obtain(
            store, canonical, policy="always", options=options, meter=meter, report=report
        )
    except UnreachableError as error:
        if report is not None:
            report(f"{error.message}: the image that is here is taken")
        return here


def _was_pulled(store: Store, image: Image, reference: Reference) -> bool:
    from lpmx_runtime.images.registry.sources import sources

    name = f"{reference.registry}/{reference.repository}"
    return any(one.get("name") == name for one in sources(store, image.id))


def platform_of(text: str) -> str:
    """`--platform OS/ARCH[/VARIANT]` or `--arch ARCH` as a pull wants it; "": this machine's."""
    from lpmx_runtime.images.platforms import host_platform

    parts = [_MACHINES.get(part, part) for part in text.lower().split("/") if part]
    platform = "/".join(parts if len(parts) != 1 else ("linux", *parts))
    return "" if platform == host_platform() else platform


def split_transport(text: str) -> tuple[str, str]:
    """`docker://bwa:1` as ("docker", "bwa:1"); ("", text) for a bare name or path."""
    for name in _TRANSPORTS:
        for sign in ("://", ":"):
            if text.startswith(name + sign):
                rest = text[len(name + sign) :]
                if not rest:
                    raise UsageError(f"{text}: no image is named")
                return name, rest
    return "", text
