"""What a copy reads from and writes to: a repository of a registry, or an OCI layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lpmx_runtime.errors import UsageError
from lpmx_runtime.images.layerfile import compact_json
from lpmx_runtime.images.registry.places import (
    Access,
    image_reference,
    open_image,
    open_target,
)
from lpmx_runtime.images.registry.referrers import (
    list_referrers,
    referrers_tag,
    tagged_referrers,
)
from lpmx_runtime.images.registry.wire.client import INDEX_TYPES, Manifest, digest_of
from lpmx_runtime.text import parse_json

from .content import RemoteContent
from .target import put_manifest, send_blobs, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lpmx_runtime.images.registry.download import Descriptor, Meter
    from lpmx_runtime.images.registry.wire.client import Repository
    from lpmx_runtime.reference import Reference

    from .content import Content
    from .target import Outgoing

__all__ = ["RegistrySource", "RegistryTarget", "Source", "Target", "entry_of"]


class Source(Protocol):
    """Where a copy comes from."""

    label: str
    repositories: tuple[str, ...]  # `REGISTRY/NAME` that have its blobs

    def top(self) -> Manifest:
        """What its name refers to."""

    def manifest(self, reference: str) -> Manifest:
        """The manifest of a digest, or of another tag. DeniedError: there is none."""

    def has_blob(self, digest: str) -> bool:
        """Is the blob there?"""

    def content(self, blob: Descriptor) -> Content:
        """Its bytes."""

    def referrers(self, digest: str) -> list[str]:
        """The digests of the manifests whose subject is @digest."""


class Target(Protocol):
    """Where a copy goes to."""

    label: str

    def put_blobs(
        self, blobs: Sequence[Outgoing], jobs: int, meter: Callable[[Sequence[Descriptor]], Meter]
    ) -> int:
        """Have all of them there; how many bytes came."""

    def put(self, manifest: Manifest) -> None:
        """A manifest without a name."""

    def put_named(self, manifest: Manifest) -> None:
        """The one that the target's name refers to from now on."""

    def put_tagged(self, manifest: Manifest, tag: str) -> None:
        """One that belongs to it, by a tag of its own."""

    def put_referrers(self, subject: str, manifests: Sequence[Manifest]) -> None:
        """Those that have @subject as theirs."""

    def neighbours(self, source: Source) -> tuple[str, ...]:
        """Repositories of @source that may lend their blobs."""


def entry_of(manifest: Manifest) -> dict[str, Any]:
    """The descriptor of a manifest in an index."""
    value = parse_json(manifest.data)
    entry = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.data),
    }
    config = value.get("config")
    kind = value.get("artifactType") or (
        config.get("mediaType") if isinstance(config, dict) and value.get("subject") else None
    )
    if kind:
        entry["artifactType"] = kind
    if value.get("annotations") and value.get("subject"):
        entry["annotations"] = value["annotations"]
    return entry


class RegistrySource:
    """An image of a registry, by its mirrors too."""

    def __init__(self, name: str, access: Access, warn: Callable[[str], None]) -> None:
        reference = image_reference(name)
        self.label = str(reference)
        self.repositories: tuple[str, ...] = (f"{reference.registry}/{reference.repository}",)
        self._places, self._top = open_image(reference, access, warn=warn)

    def top(self) -> Manifest:
        """What the reference refers to."""
        return self._top

    def manifest(self, reference: str) -> Manifest:
        """From the place that had the image."""
        return self._places[0].manifest(reference)

    def has_blob(self, digest: str) -> bool:
        """At any of the places."""
        return any(place.has_blob(digest) for place in self._places)

    def content(self, blob: Descriptor) -> Content:
        """As it comes over the line."""
        return RemoteContent(self._places, blob)

    def referrers(self, digest: str) -> list[str]:
        """By the API, else by the tag."""
        return [str(one.get("digest")) for one in list_referrers(self._places[0], digest)]


@dataclass
class RegistryTarget:
    """A tag of a repository, or a digest there."""

    reference: Reference
    access: Access
    warn: Callable[[str], None]
    source: Source
    label: str = ""
    _place: Repository = field(init=False)

    def __post_init__(self) -> None:
        self.label = str(self.reference)
        self._place = open_target(
            self.reference,
            self.access,
            also_read=self.neighbours(self.source),
            warn=self.warn,
        )

    def neighbours(self, source: Source) -> tuple[str, ...]:
        """Repositories of the same registry."""
        here = f"{self.reference.registry}/"
        names = [name.removeprefix(here) for name in source.repositories if name.startswith(here)]
        return tuple(name for name in names if name != self.reference.repository)

    def put_blobs(
        self, blobs: Sequence[Outgoing], jobs: int, meter: Callable[[Sequence[Descriptor]], Meter]
    ) -> int:
        """Send those that are neither there nor with a neighbour."""
        how = settle(self._place, blobs, jobs=jobs)
        missing = [one for one, state in zip(blobs, how, strict=True) if not state]
        return send_blobs(self._place, missing, jobs=jobs, meter=meter)

    def put(self, manifest: Manifest) -> None:
        """By its digest."""
        put_manifest(self._place, manifest)

    def put_named(self, manifest: Manifest) -> None:
        """As the tag; UsageError when the target is another digest."""
        if self.reference.digest and self.reference.digest != manifest.digest:
            raise UsageError(f"{self.label}: {self.source.label} has the digest {manifest.digest}")
        put_manifest(self._place, manifest, self.reference.tag or "")

    def put_tagged(self, manifest: Manifest, tag: str) -> None:
        """As @tag."""
        put_manifest(self._place, manifest, tag)

    def put_referrers(self, subject: str, manifests: Sequence[Manifest]) -> None:
        """By digest; a registry that does not know of subjects gets the list by its tag, too."""
        unknown = [one for one in manifests if not put_manifest(self._place, one)]
        if not unknown:
            return
        listed = tagged_referrers(self._place, subject)
        known = {one.get("digest") for one in listed}
        listed += [entry_of(one) for one in unknown if one.digest not in known]
        put_manifest(self._place, _index(listed), referrers_tag(subject))


def _index(listed: Sequence[dict[str, Any]]) -> Manifest:
    value = {"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": list(listed)}
    data = compact_json(value)
    return Manifest(data, INDEX_TYPES[0], digest_of(data))
