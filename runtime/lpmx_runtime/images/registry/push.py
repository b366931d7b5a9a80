"""An image of the store into a registry: as it was pulled, where its blobs can be had, else anew.

An image that was pulled keeps its manifest, and so its digest: its blobs are at the target already,
or are mounted there, or come from where they were pulled from. Any other image gets a manifest of
its own, with layers compressed such that the same image always has the same digest.
"""

from __future__ import annotations

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from lpmx_runtime.config.values import jobs
from lpmx_runtime.errors import UsageError
from lpmx_runtime.images.save import layer_file, raw_config
from lpmx_runtime.reference import parse_reference
from lpmx_runtime.text import parse_json

from .download import Blobs, Descriptor
from .places import Access, image_reference, open_places
from .sources import remember_source, sources
from .upload import Upload, put_manifest
from .wire.client import MANIFEST_TYPES, Manifest, digest_of
from .wire.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lpmx_runtime.reference import Reference
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .download import Meter
    from .wire.client import Repository

    MeterOf = Callable[[Sequence[Descriptor]], Meter]

__all__ = ["Pushed", "push"]

_OCI = "application/vnd.oci.image"


@dataclass(frozen=True)
class Pushed:
    """What is in the registry now."""

    reference: str
    digest: str  # of the manifest: sha256:HEX
    size: int  # bytes of the manifest
    sent: int  # blobs that went up
    mounted: int
    present: int  # blobs that were there


@dataclass(frozen=True)
class _Blob:
    """A blob to be in the registry, and how to get its bytes."""

    descriptor: Descriptor
    open: Callable[[], IO[bytes]]


@dataclass
class _Count:
    sent: int = 0
    mounted: int = 0
    present: int = 0


class _Silent:
    def advance(self, blob: Descriptor, size: int) -> None:
        pass

    def done(self, blob: Descriptor) -> None:
        pass


def push(
    store: Store,
    name: str,
    target: str = "",
    *,
    access: Access | None = None,
    at_once: int = 0,
    meter: MeterOf | None = None,
    report: Callable[[str], None] | None = None,
) -> Pushed:
    """Put the image called @name into a registry as @target, by default under its own name.

    @at_once: blobs at a time (0: as configured). @meter and @report as for `pull`. Raises
    ImageNotFoundError, UsageError for a bad @target, RegistryError when the registry refuses or
    cannot be reached, StorageError when a layer is not what it was.
    """
    image = store.resolve(name)
    reference = _target(image, name, target)
    access = access or Access()
    say = report or (lambda _line: None)
    place = open_places(reference, access, warn=say)[-1]  # a mirror is not written to
    place.actions = "pull,push"
    pushing = _Pushing(store, image, reference, place, access, jobs(at_once), meter, say)
    with store.adding(), store.workspace() as workspace:
        manifest = pushing.original(workspace) or pushing.anew(workspace)
        put_manifest(place, reference.tag or "latest", manifest)
        remember_source(store, image.id, reference, manifest, manifest)
    count = pushing.count
    digest, size = manifest.digest, len(manifest.data)
    return Pushed(str(reference), digest, size, count.sent, count.mounted, count.present)


def _target(image: Image, name: str, target: str) -> Reference:
    if not target and not image.names:
        raise UsageError(f"{name}: the image has no name", hint="add one: `lpmx push ID NAME`")
    reference = image_reference(target or image.name)
    if reference.digest:
        raise UsageError(f"{target}: a digest cannot be chosen", hint="name a tag")
    return reference


@dataclass
class _Pushing:
    store: Store
    image: Image
    reference: Reference
    place: Repository
    access: Access
    jobs: int
    meter: MeterOf | None
    report: Callable[[str], None]
    count: _Count = field(default_factory=_Count)

    # ---- as it was pulled
    def original(self, workspace: Path) -> Manifest | None:
        """Bring the blobs of the manifest that the image was pulled with to the registry.

        None: the image was not pulled, or a blob cannot be had any more.
        """
        origin = self._origin()
        if origin is None:
            return None
        source, manifest, blobs = origin
        registry, _, repository = source.partition("/")
        mount = repository if registry == self.reference.registry else ""
        if mount and mount != self.reference.repository:
            self.place.also = (mount,)
        missing = [blob for blob in blobs if not self._is_there(blob, *self.place.also)]
        try:
            blobs_here = [self._fetched(source, blob, workspace) for blob in missing]
        except RegistryError as error:
            self.report(f"{error.message}: the layers are compressed again, so the digest changes")
            return None
        self._send(blobs_here)
        return manifest

    def _origin(self) -> tuple[str, Manifest, list[Descriptor]] | None:
        """Where the image was pulled from, its manifest, and the blobs of that."""
        try:
            data = (self.store.images_dir / self.image.id / "manifest.json").read_bytes()
            value = parse_json(data)
            listed = [value["config"], *value["layers"]]
            blobs = [Descriptor(str(one["digest"])[7:], int(one["size"])) for one in listed]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        digest = digest_of(data)
        fitting = [
            one
            for one in sources(self.store, self.image.id)
            if one.get("manifest") == digest and one.get("name")
        ]
        if not fitting:
            return None
        # a repository of the same registry first: from there blobs can be mounted
        fitting.sort(key=lambda one: str(one["name"]).split("/")[0] != self.reference.registry)
        kind = str(fitting[0].get("media_type") or value.get("mediaType") or MANIFEST_TYPES[0])
        unique = {blob.digest: blob for blob in blobs}
        return str(fitting[0]["name"]), Manifest(data, kind, digest), list(unique.values())

    def _is_there(self, blob: Descriptor, *mount: str) -> bool:
        if Upload.is_there(self.place, blob.digest):
            self.count.present += 1
            return True
        if mount and Upload.mount(self.place, blob.digest, mount[0]):
            self.count.mounted += 1
            return True
        return False

    def _fetched(self, source: str, blob: Descriptor, workspace: Path) -> _Blob:
        if blob.digest == self.image.id:
            return self._config()
        places = open_places(parse_reference(source), self.access, warn=self.report)
        arrived = Blobs(self.store, places, _Silent()).fetch(blob)
        kept = workspace / blob.digest
        os.rename(arrived, kept)
        return _Blob(blob, lambda: open(kept, "rb"))

    # ---- anew
    def anew(self, workspace: Path) -> Manifest:
        """Compress the layers, send what is missing; the manifest that describes them."""
        diff_ids = list(dict.fromkeys(self.image.diff_ids))
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="layer") as workers:
            made = workers.map(lambda diff_id: self._layer(diff_id, workspace), diff_ids)
            layers = dict(zip(diff_ids, made, strict=True))
        config = self._config()
        every = {blob.descriptor.digest: blob for blob in (*layers.values(), config)}
        self.count = _Count()
        self._send([one for one in every.values() if not self._is_there(one.descriptor)])
        value = {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _described(config, f"{_OCI}.config.v1+json"),
            "layers": [
                _described(layers[diff_id], f"{_OCI}.layer.v1.tar+gzip")
                for diff_id in self.image.diff_ids
            ],
        }
        data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        return Manifest(data, f"{_OCI}.manifest.v1+json", digest_of(data))

    def _layer(self, diff_id: str, workspace: Path) -> _Blob:
        path, digest = layer_file(self.store, diff_id, workspace, compress=True)
        return _Blob(Descriptor(digest, path.stat().st_size), lambda: open(path, "rb"))

    def _config(self) -> _Blob:
        raw = raw_config(self.store, self.image)
        return _Blob(Descriptor(self.image.id, len(raw)), lambda: io.BytesIO(raw))

    def _send(self, blobs: Sequence[_Blob]) -> None:
        if not blobs:
            return
        meter = self.meter([blob.descriptor for blob in blobs]) if self.meter else _Silent()
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="push") as workers:
            coming = [
                workers.submit(Upload(self.place, blob.descriptor, blob.open, meter).run)
                for blob in blobs
            ]
            try:
                for one in coming:
                    one.result()
            except BaseException:
                workers.shutdown(wait=False, cancel_futures=True)
                raise
        self.count.sent += len(blobs)


def _described(blob: _Blob, media_type: str) -> dict[str, Any]:
    one = blob.descriptor
    return {"mediaType": media_type, "digest": f"sha256:{one.digest}", "size": one.size}
