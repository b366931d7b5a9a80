"""An image of a registry into the store: decided by manifests, then loaded as from an archive."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lpmx_runtime.config.values import jobs
from lpmx_runtime.errors import ArchiveError, ImageNotFoundError, LpmxError, UsageError
from lpmx_runtime.images.platforms import host_platform
from lpmx_runtime.images.trust.policy import requirements

from .blobnotes import note_blob
from .choose import check_image, choose_manifest, parse_platform
from .download import descriptor
from .places import Access, first_manifest, image_reference, open_places
from .signatures import is_met, require_signatures
from .sources import find_source, remember_source, signers_of, sources

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lpmx_runtime.images.load import Loaded
    from lpmx_runtime.reference import Reference
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .archive import RegistryArchive
    from .download import Descriptor, Meter
    from .wire.client import Manifest, Repository

__all__ = ["Options", "Pulled", "pull"]


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
    from .archive import RegistryArchive  # loading is not needed for what is here

    archive = partial(RegistryArchive, store, places, chosen, reference, jobs(options.jobs))
    loaded = _load(store, lambda: archive(meter or _no_meter), report)
    remember_source(store, loaded.image.id, reference, top, chosen, signers)
    _note_blobs(store, reference, chosen, loaded.image)
    return Pulled(loaded.image, top.digest, loaded.new_layers, False)


def _load(
    store: Store, open_archive: Callable[[], RegistryArchive], report: Callable[[str], None] | None
) -> Loaded:
    from lpmx_runtime.images.load import load_archive

    with (
        store.adding(),  # from before the first byte: gc leaves downloads alone meanwhile
        store.workspace() as workspace,
        contextlib.closing(open_archive()) as archive,
    ):
        try:
            (loaded,) = load_archive(store, archive, workspace, report=report)
        except ArchiveError:
            archive.is_spoiled = True
            raise
    return loaded


def _note_blobs(store: Store, reference: Reference, chosen: Manifest, image: Image) -> None:
    """Remember as which blobs the layers came."""
    repository = f"{reference.registry}/{reference.repository}"
    _, layers = check_image(chosen, str(reference))
    for layer, diff_id in zip(layers, image.diff_ids, strict=False):
        blob = descriptor(layer, str(reference))
        note_blob(store, diff_id, blob, str(layer.get("mediaType") or ""), repository)


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
