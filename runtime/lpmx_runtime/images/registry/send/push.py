"""An image of the store into a registry.

One that was pulled keeps its manifest, and so its digest, as long as its blobs can be had as they
were: they are in the target already, or a neighbour there lends them, or the registry that they
came from has them. Else its layers are compressed again, in the one way that `lpmx save` has, under
a manifest of OCI's form.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lpmx_runtime.config.values import jobs
from lpmx_runtime.errors import LpmxError, UsageError, storage_errors
from lpmx_runtime.images.layerfile import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    config_of,
    image_manifest,
    write_layer,
)
from lpmx_runtime.images.registry.blobnotes import blob_notes, note_blob
from lpmx_runtime.images.registry.choose import check_image
from lpmx_runtime.images.registry.download import Descriptor, descriptor
from lpmx_runtime.images.registry.places import (
    Access,
    image_reference,
    open_places,
    open_target,
)
from lpmx_runtime.images.registry.sources import remember_source, sources
from lpmx_runtime.images.registry.wire.client import Manifest, digest_of
from lpmx_runtime.images.registry.wire.errors import RegistryError
from lpmx_runtime.reference import parse_reference

from .content import FileContent, RemoteContent, SmallContent
from .target import Outgoing, in_parallel, put_manifest, send_blobs, settle

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from lpmx_runtime.images.registry.download import Meter
    from lpmx_runtime.images.registry.wire.client import Repository
    from lpmx_runtime.reference import Reference
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .content import Content

__all__ = ["Options", "Pushed", "push"]

_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


@dataclass(frozen=True)
class Options:
    """How to push."""

    jobs: int = 0  # blobs at a time; 0: as many as is configured
    authfile: str = ""
    plain_http: bool = False
    verify: bool = True  # certificates


@dataclass(frozen=True)
class Pushed:
    """An image that is now in a registry."""

    image: Image
    name: str
    digest: str  # of its manifest: sha256:HEX
    keeps_manifest: bool  # it is the one that it was pulled with
    blobs: Counter[str]  # how many were there, mounted, sent
    size: int  # bytes that were sent
    manifest_size: int  # bytes


def push(
    store: Store,
    name: str,
    target: str = "",
    options: Options | None = None,
    *,
    meter: Callable[[Sequence[Descriptor]], Meter],
    report: Callable[[str], None] | None = None,
) -> Pushed:
    """Put the image called @name into a registry as @target (`[docker://]NAME[:TAG]`), else @name.

    @meter is given the blobs that are to be sent; @report gets a line for each thing that the user
    should know. Raises RegistryError when the registry does not take it, StorageError when the
    image is damaged or the disk full.
    """
    image = store.resolve(name)
    reference = _target(image, target)
    with store.adding(), store.workspace() as workspace:
        work = _Push(
            store, image, reference, options or Options(), workspace, meter, report or _ignore
        )
        return work.run()


def _ignore(_line: str) -> None:
    pass


def _target(image: Image, target: str) -> Reference:
    if not target and not image.called:
        raise UsageError(
            f"{image.short_id}: an id, not a name to push it as",
            hint=f"lpmx push {image.short_id} REGISTRY/NAME:TAG",
        )
    reference = image_reference(target or image.called)
    if reference.digest:
        raise UsageError(
            f"{reference}: a digest is what a push results in", hint="name a tag, or nothing"
        )
    return reference


class _Push:
    def __init__(
        self,
        store: Store,
        image: Image,
        reference: Reference,
        options: Options,
        workspace: Path,
        meter: Callable[[Sequence[Descriptor]], Meter],
        report: Callable[[str], None],
    ) -> None:
        self._store, self._image, self._reference = store, image, reference
        self._options, self._workspace = options, workspace
        self._meter, self._report = meter, report
        self._jobs = jobs(options.jobs)
        self._config = config_of(store, image)
        self._known = {diff_id: blob_notes(store, diff_id) for diff_id in image.diff_ids}
        self._neighbours = tuple(self._mountable())
        access = Access(options.authfile, options.plain_http, options.verify)
        self._place = open_target(reference, access, also_read=self._neighbours, warn=report)

    def run(self) -> Pushed:
        original = _original(self._store, self._image)
        found = self._as_it_came(original) if original is not None else None
        keeps = found is not None
        manifest, outgoing, how = found or self._made()
        missing = [one for one, state in zip(outgoing, how, strict=True) if not state]
        size = send_blobs(self._place, missing, jobs=self._jobs, meter=self._meter)
        put_manifest(self._place, manifest, self._reference.tag or "")
        self._remember(manifest, original is None or manifest.digest == original.digest)
        states = Counter(state or "sent" for state in how)
        name = str(self._reference)
        return Pushed(self._image, name, manifest.digest, keeps, states, size, len(manifest.data))

    # ---- with the manifest that it has
    def _as_it_came(self, original: Manifest) -> tuple[Manifest, list[Outgoing], list[str]] | None:
        """Its own manifest and blobs, and how each is there; None: some cannot be had any more."""
        _, layers = check_image(original, self._image.name)
        origin = self._origin(original.digest)
        outgoing = [self._config_blob()]
        for layer in layers:
            blob = descriptor(layer, self._image.name)
            outgoing.append(Outgoing(blob, _reader(origin, blob), self._neighbours))
        outgoing = list({one.blob.digest: one for one in outgoing}.values())
        how = settle(self._place, outgoing, jobs=self._jobs)
        missing = [one for one, state in zip(outgoing, how, strict=True) if not state]
        why = _why_not(origin, [one.blob for one in missing if one.blob.digest != self._image.id])
        if not why:
            return original, outgoing, how
        self._report(
            f"{self._image.name}: cannot be had as it was pulled ({why}): its layers are"
            " compressed again"
        )
        return None

    def _origin(self, digest: str) -> list[Repository]:
        """The places from which the image came as manifest @digest, the latest first."""
        places: list[Repository] = []
        for one in reversed(sources(self._store, self._image.id)):
            if one.get("manifest") != digest or not one.get("name"):
                continue
            reference = parse_reference(f"{one['name']}@{digest}")
            same = reference.registry == self._reference.registry
            access = Access(
                self._options.authfile,
                self._options.plain_http and same,
                self._options.verify,
                by_variables=same,
            )
            places += open_places(reference, access, warn=self._report)
        return places

    def _mountable(self) -> list[str]:
        """Repositories of the target's registry that have, or had, layers of the image."""
        named = [str(one.get("name", "")) for one in sources(self._store, self._image.id)]
        named += [name for notes in self._known.values() for one in notes
                  for name in one.repositories]  # fmt: skip
        here = f"{self._reference.registry}/"
        found = [name.removeprefix(here) for name in reversed(named) if name.startswith(here)]
        return [name for name in dict.fromkeys(found) if name != self._reference.repository][:4]

    # ---- with a new one
    def _made(self) -> tuple[Manifest, list[Outgoing], list[str]]:
        """A manifest of layers that the registry has, and of others as they are compressed here."""
        found = in_parallel(self._layer, self._image.diff_ids, self._jobs)
        config = self._config_blob()
        data = image_manifest(
            _as_dict(config.blob, CONFIG_TYPE), [_as_dict(one.blob, kind) for one, kind, _ in found]
        )
        each = {one.blob.digest: (one, state) for one, _, state in found}
        each[config.blob.digest] = config, settle(self._place, [config], jobs=1)[0]
        outgoing, how = zip(*each.values(), strict=True)
        return Manifest(data, MANIFEST_TYPE, digest_of(data)), list(outgoing), list(how)

    def _layer(self, diff_id: str, _stopped: threading.Event) -> tuple[Outgoing, str, str]:
        """A layer as a blob, its type, and how the registry has it."""
        for note in self._known[diff_id]:
            one = Outgoing(note.descriptor, _nowhere, self._neighbours)
            state = settle(self._place, [one], jobs=1)[0]
            if state:
                return one, _oci_type(note.media_type), state
        path = self._workspace / f"{diff_id}.blob"
        with storage_errors(f"layer {diff_id[:12]}"):
            digest = write_layer(self._store, diff_id, path, compress=True)
            blob = Descriptor(digest, path.stat().st_size)
        one = Outgoing(blob, lambda: _file(path), self._neighbours)
        return one, f"{LAYER_TYPE}+gzip", settle(self._place, [one], jobs=1)[0]

    def _config_blob(self) -> Outgoing:
        blob = Descriptor(self._image.id, len(self._config))
        return Outgoing(blob, lambda: SmallContent(self._config), self._neighbours)

    # ---- afterwards
    def _remember(self, manifest: Manifest, keep_manifest: bool) -> None:
        reference, image = self._reference, self._image
        remember_source(
            self._store, image.id, reference, manifest, manifest, keep_manifest=keep_manifest
        )
        repository = f"{reference.registry}/{reference.repository}"
        _, layers = check_image(manifest, image.name)
        for layer, diff_id in zip(layers, image.diff_ids, strict=True):
            blob = descriptor(layer, image.name)
            note_blob(self._store, diff_id, blob, str(layer.get("mediaType") or ""), repository)


def _original(store: Store, image: Image) -> Manifest | None:
    """The manifest that the image was pulled with; None: there is none that fits."""
    try:
        data = (store.images_dir / image.id / "manifest.json").read_bytes()
        digest = digest_of(data)
        kinds = [
            str(one.get("media_type"))
            for one in sources(store, image.id)
            if one.get("manifest") == digest
        ]
        manifest = Manifest(data, kinds[0] if kinds else MANIFEST_TYPE, digest)
        config, layers = check_image(manifest, image.name)
    except (OSError, ValueError, LpmxError):
        return None
    fits = config.get("digest") == f"sha256:{image.id}" and len(layers) == len(image.diff_ids)
    return manifest if fits and kinds else None


def _why_not(origin: Sequence[Repository], blobs: Sequence[Descriptor]) -> str:
    """Why @blobs cannot be read from where they came; "": they can."""
    if not blobs:
        return ""
    why = "no registry is known for it"
    for place in origin:
        try:
            lacking = [one for one in blobs if not place.has_blob(f"sha256:{one.digest}")]
        except RegistryError as error:
            why = error.message
            continue
        if not lacking:
            return ""
        why = f"{place.endpoint.host} has blob {lacking[0].digest[:12]} no more"
    return why


def _reader(places: Sequence[Repository], blob: Descriptor) -> Callable[[], Content]:
    return lambda: RemoteContent(places, blob)


def _file(path: Path) -> Content:
    with storage_errors(f"layer {path.name[:12]}"):
        return FileContent(os.open(path, os.O_RDONLY | os.O_CLOEXEC), f"layer {path.name[:12]}")


def _oci_type(media_type: str) -> str:
    """The type of a layer under an OCI manifest, where it may be docker's."""
    return media_type.replace(f"{_DOCKER_LAYER}.", f"{LAYER_TYPE}+")


def _nowhere() -> Content:
    raise AssertionError("a blob that the registry has")


def _as_dict(blob: Descriptor, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{blob.digest}", "size": blob.size}
