"""The image of a manifest as an archive for `load`: layers arrive while the first are unpacked.

Layers that the store has are never asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import ArchiveError
from lpmx_runtime.images.archive import Blob
from lpmx_runtime.store.image import parse_config

from .choose import check_image, check_platform
from .download import Blobs, Descriptor, Meter, descriptor, discard, require_space
from .wire.answers import ANSWER_MAX
from .wire.client import digest_of
from .wire.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lpmx_runtime.reference import Reference
    from lpmx_runtime.store.store import Store

    from .wire.client import Manifest, Repository

__all__ = ["RegistryArchive"]

LAYERS_MAX = 1000
CONFIG_MAX = 4 << 20
_NAME = "io.containerd.image.name"


@dataclass
class RegistryArchive:
    """The image of @manifest as an OCI layout."""

    store: Store
    places: Sequence[Repository]
    manifest: Manifest
    reference: Reference
    jobs: int
    meter: Callable[[Sequence[Descriptor]], Meter]
    label: str = ""
    is_spoiled: bool = False  # what is in its blobs is wrong: to keep them is no use
    _small: dict[str, bytes] = field(default_factory=dict)
    _coming: dict[str, Future[Any]] = field(default_factory=dict)
    _workers: ThreadPoolExecutor | None = None
    _blobs: Blobs | None = None
    _layers: dict[str, str] = field(default_factory=dict)  # diff ids by blobs' digests
    _sizes: dict[str, Descriptor] = field(default_factory=dict)  # by blobs' names

    def __post_init__(self) -> None:
        self.label = str(self.reference)
        config, layers = check_image(self.manifest, self.label)
        if len(layers) > LAYERS_MAX:
            raise ArchiveError(f"{self.label}: an image of {len(layers)} layers")
        wanted = [descriptor(layer, self.label) for layer in layers]
        name = str(self.reference)
        entry = {
            "mediaType": self.manifest.media_type,
            "digest": self.manifest.digest,
            "size": len(self.manifest.data),
            "annotations": {_NAME: name},
        }
        data = self._config(descriptor(config, self.label))
        check_platform(data, self.label)
        self._small = {
            "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
            _blob_name(self.manifest.digest[7:]): self.manifest.data,
            _blob_name(digest_of(data)[7:]): data,
        }
        self._begin(wanted, data)

    def _config(self, config: Descriptor) -> bytes:
        """The configuration, from the first place that has it right; each is asked twice."""
        if config.size > CONFIG_MAX:
            raise ArchiveError(f"{self.label}: a configuration of {config.size} bytes")
        for place in self.places:
            last = place is self.places[-1]
            try:
                return place.small_blob(
                    f"sha256:{config.digest}",
                    max(config.size, ANSWER_MAX),
                    name=self.label,
                    what="the configuration",
                )
            except RegistryError as error:
                if last:
                    raise
                place.transport.warn(f"{error.message}: another place is asked")
        raise AssertionError("unreachable")

    def _begin(self, wanted: list[Descriptor], config: bytes) -> None:
        """Have the layers come that the store lacks, in the order in which they are unpacked."""
        _, diff_ids = parse_config(config)
        missing: dict[str, Descriptor] = {}
        self._layers = {
            blob.digest: diff_id for blob, diff_id in zip(wanted, diff_ids, strict=False)
        }
        for blob in wanted:
            if self._is_here(blob):
                discard(self.store, blob)  # fetched and unpacked by a command that was killed then
            else:
                missing.setdefault(blob.digest, blob)
        require_space(self.store, list(missing.values()))
        self._blobs = Blobs(self.store, self.places, self.meter(list(missing.values())))
        self._workers = ThreadPoolExecutor(max(1, self.jobs), thread_name_prefix="pull")
        for digest, blob in missing.items():
            self._coming[_blob_name(digest)] = self._submit(blob)
        self._sizes = {_blob_name(blob.digest): blob for blob in wanted}

    def __contains__(self, name: str) -> bool:
        return name in self._small or name in self._coming

    def blob(self, name: str) -> Blob:
        """The blob @name, waited for."""
        if name in self._small:
            fd = os.memfd_create("manifest", os.MFD_CLOEXEC)
            os.write(fd, self._small[name])
            return Blob(fd, 0, len(self._small[name]))
        if name not in self._sizes:
            raise ArchiveError(f"{self.label}: {name} is not in it")
        if name not in self._coming:
            self._coming[name] = self._submit(self._sizes[name])
        try:
            fd = os.open(self._wait(self._coming[name]), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # its layer was here, and has gone since
            self._coming[name] = self._submit(self._sizes[name])
            fd = os.open(self._wait(self._coming[name]), os.O_RDONLY | os.O_CLOEXEC)
        return Blob(fd, 0, os.fstat(fd).st_size)

    def _is_here(self, blob: Descriptor) -> bool:
        diff_id = self._layers.get(blob.digest)
        return diff_id is not None and self.store.has_layer(diff_id)

    def _submit(self, blob: Descriptor) -> Future[Any]:
        assert self._workers is not None
        assert self._blobs is not None
        return self._workers.submit(self._blobs.fetch, blob, lambda: self._is_here(blob))

    def _wait(self, coming: Future[Any]) -> Any:
        while not wait([coming], timeout=0.2).done:
            for one in self._coming.values():  # do not wait for a layer when a later one has failed
                if one.done() and not one.cancelled() and one.exception() is not None:
                    one.result()
        return coming.result()

    def close(self) -> None:
        """Stop what still comes; remove what is unpacked by now, keep what is not."""
        if self._blobs is not None:
            self._blobs.stopped.set()
        if self._workers is not None:
            self._workers.shutdown(wait=True, cancel_futures=True)
        for name, coming in self._coming.items():
            if not coming.done() or coming.cancelled() or coming.exception() is not None:
                continue
            if self.is_spoiled or self._is_here(self._sizes[name]):
                with contextlib.suppress(OSError):
                    os.unlink(coming.result())


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{digest}"
