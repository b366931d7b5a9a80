"""Which compressed blobs hold a layer of the store, and where: kept in its `blobs.json`.

A layer is kept unpacked, and compressing it again rarely gives the bytes that it came as. What is
noted here lets a push leave out what the registry has. It is a hint: a registry is always asked.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from lpmx_runtime.store.image import is_hex_digest

from .download import Descriptor

if TYPE_CHECKING:
    from lpmx_runtime.store.store import Store

__all__ = ["BlobNote", "blob_notes", "note_blob"]

_FILE = "blobs.json"
_BLOBS_MAX, _REPOSITORIES_MAX = 8, 16


@dataclass(frozen=True)
class BlobNote:
    """A blob that holds a layer, and the repositories (`REGISTRY/NAME`) that have had it."""

    digest: str  # in hex
    size: int
    media_type: str
    repositories: tuple[str, ...]  # the latest last

    @property
    def descriptor(self) -> Descriptor:
        """Digest and size."""
        return Descriptor(self.digest, self.size)


def blob_notes(store: Store, diff_id: str) -> list[BlobNote]:
    """The blobs that are known to hold a layer, the latest first."""
    try:
        listed = json.loads((store.layer_dir(diff_id) / _FILE).read_bytes())
    except (OSError, ValueError):
        return []
    notes = [_note(one) for one in listed] if isinstance(listed, list) else []
    return [one for one in reversed(notes) if one is not None]


def note_blob(
    store: Store, diff_id: str, blob: Descriptor, media_type: str, repository: str
) -> None:
    """Remember that @repository has @blob, which holds the layer."""
    from lpmx_runtime.store.store import atomic_write

    known = blob_notes(store, diff_id)[::-1]
    mine = BlobNote(blob.digest, blob.size, media_type, (repository,))
    for one in known:
        if one.digest == blob.digest:
            others = [name for name in one.repositories if name != repository]
            places = (*others, repository)[-_REPOSITORIES_MAX:]
            mine = replace(one, repositories=places)
    kept = [one for one in known if one.digest != blob.digest] + [mine]
    if kept == known or not store.has_layer(diff_id):
        return
    rows = [{**asdict(one), "repositories": list(one.repositories)} for one in kept[-_BLOBS_MAX:]]
    data = json.dumps(rows, indent=1).encode()
    atomic_write(store.layer_dir(diff_id) / _FILE, data, durable=False)


def _note(value: Any) -> BlobNote | None:
    if not isinstance(value, dict):
        return None
    digest, size, kind = (value.get(key) for key in ("digest", "size", "media_type"))
    places = value.get("repositories")
    if not is_hex_digest(digest) or not isinstance(size, int) or not isinstance(places, list):
        return None
    names = tuple(name for name in places if isinstance(name, str))
    return BlobNote(str(digest), size, str(kind or ""), names)
