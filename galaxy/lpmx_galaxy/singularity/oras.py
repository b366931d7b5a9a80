"""`oras://NAME`: a SIF file that a registry keeps as an artifact of one layer.

The types are those of Apptainer's internal/pkg/client/oras. The file itself is what `pull` writes;
`exec` and `run` unpack it into the store once, and know it again by its digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from lpmx_galaxy.frontend.supply import platform_of
from lpmx_runtime.errors import LpmxError, storage_errors
from lpmx_runtime.fetch.obtain import fetch_in_order

from .reference import refuse_existing, umask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lpmx_runtime.images.registry.download import Descriptor
    from lpmx_runtime.images.registry.wire.client import Manifest, Repository
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .sources import Fetching

__all__ = ["CONFIG_TYPE", "LAYER_TYPE", "find_oras", "pull_file"]

CONFIG_TYPE = "application/vnd.sylabs.sif.config.v1+json"
LAYER_TYPE = "application/vnd.sylabs.sif.layer.v1.sif"


def find_oras(store: Store, name: str, how: Fetching) -> Image:
    """The image in the SIF file called @name.

    Raises RegistryError when it cannot be had, ArchiveError when it is no SIF file.
    """
    from .sif import unpack_sif

    note = _note(store, name)
    if not how.refresh and (image := _image(store, _read(note))) is not None:
        return image
    places, blob = _locate(name, how)
    with fetch_in_order(), store.lock(f"oras-{blob.digest}"):
        known = _read(note)  # another process may have brought it
        if known.get("digest") == blob.digest and (image := _image(store, known)) is not None:
            return image
        with _fetched(store, places, blob, name) as path:
            image = unpack_sif(store, os.fspath(path), called=f"oras://{name}")
        _write(note, {"digest": blob.digest, "image": image.id})
    return image


def pull_file(store: Store, name: str, target: str, how: Fetching, *, force: bool) -> None:
    """Write the SIF file called @name to @target, whole or not at all."""
    places, blob = _locate(name, how)
    with (
        fetch_in_order(),
        store.lock(f"oras-{blob.digest}"),
        _fetched(store, places, blob, name) as path,
        storage_errors(target),
    ):
        temporary = f"{target}.{os.getpid()}.tmp"
        try:
            shutil.copyfile(path, temporary)
            os.chmod(temporary, 0o755 & ~umask())
            if not force:
                refuse_existing(target)
            os.rename(temporary, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _locate(name: str, how: Fetching) -> tuple[list[Repository], Descriptor]:
    from lpmx_runtime.images.registry.choose import choose_manifest, parse_platform
    from lpmx_runtime.images.registry.places import Access, image_reference, open_image
    from lpmx_runtime.images.registry.signatures import require_signatures
    from lpmx_runtime.images.trust.policy import requirements

    from .messages import warning

    reference = image_reference(name)
    places, top = open_image(reference, Access(plain_http=how.plain_http), warn=warning)
    platform = parse_platform(platform_of(how.platform))
    manifest = choose_manifest(places[0], top, platform, str(reference))
    needed = requirements(reference)
    require_signatures(places, (top.digest, manifest.digest), needed, str(reference))
    return places, _layer_of(manifest, str(reference))


def _layer_of(manifest: Manifest, name: str) -> Descriptor:
    """The blob that is the SIF file. LpmxError: the artifact has none."""
    from lpmx_runtime.images.registry.download import Descriptor
    from lpmx_runtime.store.image import is_hex_digest

    value: Any = json.loads(manifest.data)
    layers, config = value.get("layers"), value.get("config")
    found = [
        layer
        for layer in (layers if isinstance(layers, list) else [])
        if isinstance(layer, dict) and layer.get("mediaType") == LAYER_TYPE
    ]
    if len(found) != 1:
        described = config.get("mediaType") if isinstance(config, dict) else ""
        kind = value.get("artifactType") or described or "no type"
        image = str(kind).endswith(("image.config.v1+json", "image.v1+json"))
        raise LpmxError(
            f"oras://{name}: {'an image of layers' if image else f'an artifact of type {kind}'},"
            " not a SIF image",
            hint=f"docker://{name}" if image else None,
        )
    digest, size = str(found[0].get("digest")).removeprefix("sha256:"), found[0].get("size")
    if not is_hex_digest(digest) or not isinstance(size, int) or size < 0:
        raise LpmxError(f"oras://{name}: a descriptor that makes no sense")
    return Descriptor(digest, size)


@contextlib.contextmanager
def _fetched(store: Store, places: list[Repository], blob: Descriptor, name: str) -> Iterator[Path]:
    """The file of @blob while it is needed; gone on with by the next command after a cut."""
    from lpmx_runtime.fetch.obtain import Step
    from lpmx_runtime.images.registry.download import Blobs, discard, require_space

    from .progress import Progress

    require_space(store, [blob])
    progress = Progress(f"oras://{name}")
    progress.warn(Step(f"oras://{name}: pulling it"))
    try:
        path = Blobs(store, places, progress.begin([blob])).fetch(blob)
    finally:
        progress.end()
    try:
        yield path
    finally:
        discard(store, blob)


# ---- what is known of them


def _note(store: Store, name: str) -> Path:
    from lpmx_runtime.images.registry.places import image_reference

    key = hashlib.sha256(str(image_reference(name)).encode()).hexdigest()
    return store.root / "cache" / "oras" / key


def _read(note: Path) -> dict[str, str]:
    try:
        value = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write(note: Path, value: dict[str, str]) -> None:
    from lpmx_runtime.store.store import atomic_write, make_private

    with storage_errors(str(note)):
        make_private(note.parent)
        atomic_write(note, json.dumps(value).encode(), durable=False)


def _image(store: Store, known: dict[str, str]) -> Image | None:
    with contextlib.suppress(LpmxError):
        return store.image(str(known["image"])) if "image" in known else None
    return None
