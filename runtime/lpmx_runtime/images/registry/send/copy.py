"""An image from one place to another as it is: all of its platforms, each byte, every digest.

Manifests are moved as bytes, and what they name comes first. Nothing goes through the store.
"""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lpmx_runtime.config.values import jobs
from lpmx_runtime.errors import ArchiveError
from lpmx_runtime.images.registry.choose import (
    Platform,
    check_image,
    check_platform,
    choose_manifest,
    parse_platform,
)
from lpmx_runtime.images.registry.download import Descriptor, descriptor
from lpmx_runtime.images.registry.places import Access, image_reference
from lpmx_runtime.images.registry.referrers import referrers_tag
from lpmx_runtime.images.registry.wire.client import Manifest, is_digest
from lpmx_runtime.images.registry.wire.errors import DeniedError, RegistryError
from lpmx_runtime.text import parse_json

from .content import read_whole
from .ends import RegistrySource, RegistryTarget
from .layout import LayoutSource, LayoutTarget, is_layout
from .target import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lpmx_runtime.images.registry.download import Meter
    from lpmx_runtime.reference import Reference

    from .content import Content
    from .ends import Source, Target

__all__ = ["Copied", "Options", "copy"]

DEPTH, MANIFESTS_MAX = 4, 2000
CONFIG_MAX = 4 << 20
_COSIGN = ("sig", "att", "sbom")  # suffixes of tags beside an image
_FOREIGN = ("nondistributable", "foreign")  # layers that registries need not have


@dataclass(frozen=True)
class Options:
    """What to copy, and how."""

    platform: str = ""  # OS/ARCH[/VARIANT]; "": all, the index itself
    referrers: bool = False
    jobs: int = 0  # blobs at a time; 0: as many as is configured
    authfile: str = ""
    plain_http: bool = False
    verify: bool = True  # certificates


@dataclass(frozen=True)
class Copied:
    """What is at its place now."""

    name: str
    digest: str  # sha256:HEX
    manifests: int
    blobs: int
    referrers: int
    size: int  # bytes that crossed the line


def copy(
    source: str,
    target: str,
    options: Options | None = None,
    *,
    meter: Callable[[Sequence[Descriptor]], Meter],
    report: Callable[[str], None],
) -> Copied:
    """Copy @source to @target, each `[docker://]NAME[:TAG]` or `oci:DIRECTORY[:NAME]`.

    Raises RegistryError, ArchiveError or StorageError when any part of it cannot be had or put.
    """
    options = options or Options()
    access = Access(options.authfile, options.plain_http, options.verify)
    where = None if is_layout(target) else image_reference(target)
    origin: Source = (
        LayoutSource(source)
        if is_layout(source)
        else RegistrySource(source, _to_read(access, source, where), report)
    )
    top = origin.top()
    if options.platform:
        top = _of_platform(origin, top, parse_platform(options.platform))
    found = _Found(origin)
    found.add(top)
    if options.referrers:
        found.add_referrers()
    end: Target = (
        LayoutTarget(target) if where is None else RegistryTarget(where, access, report, origin)
    )
    size = end.put_blobs(found.outgoing(end.neighbours(origin)), jobs(options.jobs), meter)
    found.put_manifests(end, top)
    count = sum(map(len, found.referrers.values())) + len(found.tagged)
    return Copied(end.label, top.digest, len(found.manifests), len(found.blobs), count, size)


def _to_read(access: Access, source: str, where: Reference | None) -> Access:
    """For @source; a user in the environment is that of the registry which is written to."""
    other = where is not None and where.registry != image_reference(source).registry
    return replace(access, by_variables=not other)


def _of_platform(origin: Source, top: Manifest, wanted: Platform) -> Manifest:
    """The image for @wanted. A single one has to be it, by its configuration."""
    chosen = choose_manifest(origin, top, wanted, origin.label)
    if chosen is top:
        config, _ = check_image(top, origin.label)
        blob = descriptor(config, origin.label)
        with closing(origin.content(blob)) as content:
            check_platform(read_whole(content, blob, CONFIG_MAX), origin.label, wanted)
    return chosen


@dataclass
class _Found:
    """All that belongs to an image, what is named before what names it."""

    source: Source
    manifests: dict[str, Manifest] = field(default_factory=dict)
    blobs: dict[str, Descriptor] = field(default_factory=dict)
    referrers: dict[str, list[Manifest]] = field(default_factory=dict)  # by subjects
    tagged: dict[str, Manifest] = field(default_factory=dict)  # cosign's, by tags

    def add(self, manifest: Manifest, depth: int = 0) -> None:
        """@manifest and what it names."""
        if manifest.digest in self.manifests:
            return
        if depth > DEPTH or len(self.manifests) >= MANIFESTS_MAX:
            raise RegistryError(
                f"{self.source.label}: indexes within indexes, too deep or too many"
            )
        value = self._value(manifest)
        for one in _listed(value, "manifests"):
            digest = one.get("digest")
            if not is_digest(digest):
                raise RegistryError(f"{self.source.label}: an index that makes no sense")
            self.add(self.source.manifest(str(digest)), depth + 1)
        for one in _blobs(value):
            self._add_blob(one)
        self.manifests[manifest.digest] = manifest

    def _value(self, manifest: Manifest) -> dict[str, Any]:
        try:
            value = parse_json(manifest.data)
        except ValueError as error:
            raise ArchiveError(f"{self.source.label}: a manifest that is not JSON") from error
        return value if isinstance(value, dict) else {}

    def _add_blob(self, value: dict[str, Any]) -> None:
        blob = descriptor(value, self.source.label)
        foreign = any(word in str(value.get("mediaType")) for word in _FOREIGN)
        if foreign and not self.source.has_blob(f"sha256:{blob.digest}"):
            return
        self.blobs.setdefault(blob.digest, blob)

    def add_referrers(self) -> None:
        """What has one of the manifests as its subject, what has that, and cosign's tags."""
        waiting = list(self.manifests)
        seen = set(waiting)
        while waiting:
            subject = waiting.pop()
            for digest in self.source.referrers(subject):
                if digest in seen:
                    continue
                seen.add(digest)
                manifest = self.source.manifest(digest)
                self.add(manifest)
                self.referrers.setdefault(subject, []).append(manifest)
                waiting.append(digest)
            for suffix in _COSIGN:
                tag = f"{referrers_tag(subject)}.{suffix}"
                with suppress(DeniedError):
                    self.tagged[tag] = self.source.manifest(tag)
                    self.add(self.tagged[tag])

    def outgoing(self, neighbours: tuple[str, ...]) -> list[Outgoing]:
        """The blobs."""
        return [Outgoing(blob, self._opener(blob), neighbours) for blob in self.blobs.values()]

    def _opener(self, blob: Descriptor) -> Callable[[], Content]:
        return lambda: self.source.content(blob)

    def put_manifests(self, end: Target, top: Manifest) -> None:
        """The image's own, its name at last; then what refers to them."""
        later = {one.digest for some in self.referrers.values() for one in some}
        later |= {one.digest for one in self.tagged.values()} | {top.digest}
        for manifest in self.manifests.values():
            if manifest.digest not in later:
                end.put(manifest)
        end.put_named(top)
        for subject, manifests in self.referrers.items():
            end.put_referrers(subject, manifests)
        for tag, manifest in self.tagged.items():
            end.put_tagged(manifest, tag)


def _listed(value: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
    listed = value.get(key)
    yield from (one for one in listed if isinstance(one, dict)) if isinstance(listed, list) else ()


def _blobs(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The descriptors of a manifest's blobs; `blobs` is what OCI's artifact manifest had."""
    if isinstance(value.get("config"), dict):
        yield value["config"]
    yield from _listed(value, "layers")
    yield from _listed(value, "blobs")
