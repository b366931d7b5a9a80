"""Images by the digest of their manifest: docker's RepoDigests, and NAME@sha256:HEX as a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime.errors import ImageNotFoundError
from lpmx_runtime.images.registry import sources
from lpmx_runtime.reference import parse_reference

if TYPE_CHECKING:
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["repo_digests", "resolve"]


def repo_digests(store: Store, image: Image) -> list[str]:
    """NAME@sha256:HEX of each repository that the image was pulled from, or is called by."""
    named = [parse_reference(name) for name in image.names if "@" in name]
    called = [f"{reference.name}@{reference.digest}" for reference in named]
    return list(dict.fromkeys([*sources.repo_digests(store, image.id), *called]))


def resolve(store: Store, name: str) -> Image:
    """The image called @name; also by a digest by which nobody has named it so far."""
    try:
        return store.resolve(name)
    except ImageNotFoundError:
        if "@" not in name:
            raise
        reference = parse_reference(name)
        found = sources.find_source(store, reference, reference.digest or "")
        if found is None:
            raise
        return found
