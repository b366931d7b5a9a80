"""Where the images of the store were pulled from: kept in each image's `sources.json`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from lpmx_runtime.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.reference import Reference
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .wire.client import Manifest

__all__ = ["find_source", "remember_source", "repo_digests", "signers_of", "sources"]


def remember_source(
    store: Store,
    image_id: str,
    reference: Reference,
    top: Manifest,
    chosen: Manifest,
    signers: Sequence[str] = (),
    *,
    keep_manifest: bool = True,
) -> None:
    """Keep with an image where it came from, its manifest, and whose signatures were checked.

    @signers: fingerprints of their keys. Without @keep_manifest the manifest that is kept already
    stays.
    """
    from lpmx_runtime.store.store import atomic_write

    folder = store.images_dir / image_id
    entry = {
        "name": f"{reference.registry}/{reference.repository}",
        "tag": reference.tag or "",
        "index": top.digest if top.is_index else "",
        "manifest": chosen.digest,
        "media_type": chosen.media_type,
        "signers": list(signers),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    others = [
        one
        for one in sources(store, image_id)
        if (one.get("name"), one.get("tag")) != (entry["name"], entry["tag"])
    ]
    if keep_manifest or not (folder / "manifest.json").exists():
        atomic_write(folder / "manifest.json", chosen.data)
    atomic_write(folder / "sources.json", json.dumps([*others, entry], indent=1).encode())


def sources(store: Store, image_id: str) -> list[dict[str, Any]]:
    """Where an image was pulled from: name, tag, digests of index and manifest, signers."""
    try:
        listed = json.loads((store.images_dir / image_id / "sources.json").read_bytes())
    except (OSError, ValueError):
        return []
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def find_source(store: Store, reference: Reference, digest: str) -> Image | None:
    """The image that was pulled as @digest of @reference's repository."""
    likely = store.named(str(reference))
    others = (image_id for image_id in store.image_ids() if image_id != likely)
    for image_id in (likely, *others) if likely else others:
        if _came_as(store, image_id, f"{reference.registry}/{reference.repository}", digest):
            return store.image(image_id)
    return None


def signers_of(store: Store, image_id: str, reference: Reference) -> set[str]:
    """The fingerprints of the keys whose signatures of an image of that repository were good."""
    name = f"{reference.registry}/{reference.repository}"
    listed = [one.get("signers") for one in sources(store, image_id) if one.get("name") == name]
    return {text for signers in listed if isinstance(signers, list) for text in signers}


def _came_as(store: Store, image_id: str, name: str, digest: str) -> bool:
    """Was the image pulled from repository @name as @digest?"""
    return any(
        one.get("name") == name and digest in {one.get("index"), one.get("manifest")}
        for one in sources(store, image_id)
    )


def repo_digests(store: Store, image_id: str) -> list[str]:
    """NAME@sha256:HEX for each repository an image was pulled from, as docker's RepoDigests."""
    found = []
    for one in sources(store, image_id):
        digest = one.get("index") or one.get("manifest")
        if one.get("name") and digest:
            found.append(f"{parse_reference(one['name']).name}@{digest}")
    return list(dict.fromkeys(found))
