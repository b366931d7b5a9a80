"""An image of a registry into the store: decided by manifests, then loaded as from an archive.

To `load` the registry is an OCI layout whose layers arrive while the first are unpacked. Layers
that the store has are never asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lpmx_runtime.config.values import jobs
from lpmx_runtime.errors import ArchiveError, ImageNotFoundError, LpmxError, UsageError
from lpmx_runtime.images.archive import Blob
from lpmx_runtime.images.load import load_archive
from lpmx_runtime.images.manifest import host_platform
from lpmx_runtime.images.trust.policy import requirements
from lpmx_runtime.store.image import is_hex_digest, parse_config

from .choose import check_image, check_platform, choose_manifest, parse_platform
from .download import Blobs, Descriptor, Meter, discard, require_space
from .places import Access, first_manifest, image_reference, open_places
from .signatures import is_met, require_signatures
from .sources import find_source, remember_source, signers_of, sources
from .wire.answers import ANSWER_MAX
from .wire.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lpmx_runtime.reference import Reference
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .wire.client import Manifest, Repository

__all__ = ["Options", "Pulled", "pull"]

LAYERS_MAX = 1000
CONFIG_MAX = 4 << 20
_NAME = "io.containerd.image.name"


@dataclass(frozen=True)
class Options:
    """How to pull."""

    platform: str = ""  # OS/ARCH[/VARIANT]; "": this machine's
    jobs: int = 0  # blobs at a time; 0: as many as is configured
    authfile: str = ""
    plain_http: bool = False
    verify: bool = True  # certificates
    keys: tuple[str, ...] = ()  # files of public keys, one of which must have signed the image


@dataclass(frozen=True)
class Pulled:
    """An image that is now here."""

    image: Image
    digest: str  # of what its name stands for: sha256:HEX
    new_layers: int
    was_here: bool  # nothing had to be fetched


class _Silent:
    def advance(self, blob: Descriptor, size: int) -> None:
        pass

    def done(self, blob: Descriptor) -> None:
        pass


def pull(
    store: Store,
    name: str,
    options: Options | None = None,
    *,
    meter: Callable[[Sequence[Descriptor]], Meter] | None = None,
    report: Callable[[str], None] | None = None,
) -> Pulled:
    """Bring image @name (`[docker://]NAME[:TAG][@DIGEST]`) into @store.

    @meter is given the blobs that are to come and wants to know how far they are; @report gets a
    line for each thing that the user should know. Raises SignatureError when the image is not
    signed as @options or the user's trust.yaml ask, RegistryError, and what `load` raises.
    """
    options = options or Options()
    reference = image_reference(name)
    wanted = parse_platform(options.platform)
    if f"{wanted.system}/{wanted.machine}" != host_platform():
        raise UsageError(
            f"--platform {wanted}: its programs do not run on this machine ({host_platform()})"
        )
    needed = requirements(reference, options.keys)

    def is_signed(image: Image) -> bool:
        """Were the needed signatures looked at when @image came?"""
        have = signers_of(store, image.id, reference) if needed else set()
        return all(is_met(one, have) for one in needed)

    if reference.digest:
        known = find_source(store, reference, reference.digest)
        if known is not None and is_signed(known):
            store.tag(str(reference), known.id)
            return Pulled(known, reference.digest, 0, True)
    access = Access(options.authfile, options.plain_http, options.verify)
    places = open_places(reference, access, warn=report)
    asked = reference.digest or reference.tag or "latest"
    here = _up_to_date(store, places, reference, asked) if not options.platform else None
    if here is not None and is_signed(here.image):
        return here
    places, top = first_manifest(places, asked)
    chosen = choose_manifest(places[0], top, wanted, str(reference))
    signers = require_signatures(places, (top.digest, chosen.digest), needed, str(reference))
    with (
        store.adding(),  # from before the first byte: gc leaves downloads alone meanwhile
        store.workspace() as workspace,
        contextlib.closing(
            _RegistryArchive(
                store, places, chosen, reference, jobs(options.jobs), meter or _no_meter
            )
        ) as archive,
    ):
        try:
            (loaded,) = load_archive(store, archive, workspace, report=report)
        except ArchiveError:
            archive.is_spoiled = True
            raise
    remember_source(store, loaded.image.id, reference, top, chosen, signers)
    return Pulled(loaded.image, top.digest, loaded.new_layers, False)


def _no_meter(_blobs: Sequence[Descriptor]) -> Meter:
    return _Silent()


def _up_to_date(
    store: Store, places: list[Repository], reference: Reference, asked: str
) -> Pulled | None:
    """The image that the tag stood for at the last pull, if it still does."""
    if reference.digest:
        return None
    try:
        image = store.resolve(str(reference))
    except ImageNotFoundError:
        return None
    name = f"{reference.registry}/{reference.repository}"
    known = {
        digest
        for one in sources(store, image.id)
        if one.get("name") == name and one.get("tag") == reference.tag
        for digest in (one.get("index") or one.get("manifest"),)
        if digest
    }
    if not known:
        return None
    try:
        digest = places[0].head(asked)
    except LpmxError:
        return None  # the request for the manifest says why
    return Pulled(image, digest, 0, True) if digest in known else None


# ---- the registry as an archive


@dataclass
class _RegistryArchive:
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
        wanted = [_descriptor(layer, self.label) for layer in layers]
        name = str(self.reference)
        entry = {
            "mediaType": self.manifest.media_type,
            "digest": self.manifest.digest,
            "size": len(self.manifest.data),
            "annotations": {_NAME: name},
        }
        data = self._config(_descriptor(config, self.label))
        check_platform(data, self.label)
        self._small = {
            "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
            _blob_name(self.manifest.digest[7:]): self.manifest.data,
            _blob_name(_hex(data)): data,
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


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _descriptor(value: dict[str, Any], label: str) -> Descriptor:
    """Digest and size of a descriptor. Only sha256: others are nowhere in use."""
    text, size = value.get("digest"), value.get("size")
    algorithm, _, digest = text.partition(":") if isinstance(text, str) else ("", "", "")
    if algorithm and algorithm != "sha256":
        raise RegistryError(f"{label}: digest algorithm {algorithm} is not supported")
    if not is_hex_digest(digest) or not isinstance(size, int) or size < 0:
        raise RegistryError(f"{label}: a descriptor that makes no sense")
    return Descriptor(digest, size)
