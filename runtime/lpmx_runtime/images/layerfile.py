"""An image of the store as the files that it is outside: configuration, layers, OCI manifest.

Layers are put together again byte for byte (tar/split.py) and compressed in one way, so the same
image gives the same digests each time, in archives and in registries.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import StorageError
from lpmx_runtime.tar.blocks import Digest
from lpmx_runtime.tar.split import archive_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = [
    "CONFIG_TYPE",
    "LAYER_TYPE",
    "MANIFEST_TYPE",
    "compact_json",
    "config_of",
    "image_manifest",
    "write_layer",
]

_OCI = "application/vnd.oci.image"
CONFIG_TYPE, MANIFEST_TYPE = f"{_OCI}.config.v1+json", f"{_OCI}.manifest.v1+json"
LAYER_TYPE = f"{_OCI}.layer.v1.tar"  # and +gzip


def config_of(store: Store, image: Image) -> bytes:
    """The configuration as it came. StorageError: it is not what it was."""
    raw = (store.images_dir / image.id / "config.json").read_bytes()
    if hashlib.sha256(raw).hexdigest() != image.id:
        raise StorageError(
            f"image {image.name}: its configuration is not what it was",
            hint="remove the image (`lpmx rmi`) and load it again",
        )
    return raw


def write_layer(store: Store, diff_id: str, path: Path, *, compress: bool) -> str:
    """Write a layer's archive to @path, by gzip with @compress; the digest of the file in hex.

    StorageError: the layer's files are not those of its archive any more.
    """
    inner, outer = Digest(), Digest()
    try:
        with open(path, "wb") as file:
            plain = _seen(archive_blocks(store.layer_dir(diff_id)), inner)
            for block in _gzip(plain) if compress else plain:
                outer.update(block)
                file.write(block)
        if inner.hexdigest() != diff_id:
            raise StorageError(
                f"layer {diff_id[:12]}: its files are not those of its archive any more",
                hint="remove the image (`lpmx rmi`, `lpmx gc`) and load it again",
            )
        return outer.hexdigest()
    finally:
        inner.close()
        outer.close()


def image_manifest(config: dict[str, Any], layers: Sequence[dict[str, Any]]) -> bytes:
    """An OCI manifest; both are descriptors."""
    return compact_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config,
            "layers": list(layers),
        }
    )


def compact_json(value: Any) -> bytes:
    """One spelling for one value: its digest depends on it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _seen(blocks: Iterable[bytes], digest: Digest) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


def _gzip(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """RFC 1952, without a name or a time: the same layer gives the same bytes."""
    squeeze = zlib.compressobj(6, zlib.DEFLATED, 31)
    for block in blocks:
        if data := squeeze.compress(block):
            yield data
    yield squeeze.flush()
