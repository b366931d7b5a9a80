"""Signatures of an image, as cosign keeps them beside it in its repository.

Classic ones are the layers of tag `sha256-HEX.sig`; bundles are referrers of the manifest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lpmx_runtime.images.trust.cosign import (
    BUNDLE,
    PAYLOAD,
    SIGNATURE,
    signers_of_bundle,
    signers_of_payload,
)
from lpmx_runtime.images.trust.keys import SignatureError
from lpmx_runtime.text import parse_json

from .referrers import list_referrers, referrers_tag
from .wire.answers import ANSWER_MAX
from .wire.client import is_digest
from .wire.errors import DeniedError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lpmx_runtime.images.trust.keys import Key
    from lpmx_runtime.images.trust.policy import Requirement

    from .wire.client import Repository

__all__ = ["is_met", "require_signatures"]

SIGNATURES_MAX = 100  # that are looked at


def require_signatures(
    places: Sequence[Repository],
    digests: Sequence[str],
    wanted: Sequence[Requirement],
    name: str,
) -> list[str]:
    """The fingerprints of the keys that signed one of @digests (`sha256:HEX`), as @wanted asks.

    Raises SignatureError when one of @wanted is not met; @name is the image's, for messages.
    """
    if not wanted:
        return []
    keys = list({key.fingerprint: key for one in wanted for key in one.keys}.values())
    found: set[str] = set()
    seen = 0
    for signers in _all_signers(places, list(dict.fromkeys(digests)), keys):
        seen += 1
        found |= {key.fingerprint for key in signers}
        if all(is_met(one, found) for one in wanted):
            return sorted(found)
    missing = next(one for one in wanted if not is_met(one, found))
    files = " or ".join(key.path for key in missing.keys)
    what = f"none of its {seen} signatures is by" if seen > 1 else "its signature is not by"
    raise SignatureError(
        f"{name}: {what} {files}" if seen else f"{name}: not signed, wanted is {files}",
        hint=f"{missing.why} asks for it",
    )


def is_met(requirement: Requirement, fingerprints: set[str]) -> bool:
    """Is one of @fingerprints that of a key of @requirement?"""
    return any(key.fingerprint in fingerprints for key in requirement.keys)


def _all_signers(
    places: Sequence[Repository], digests: Sequence[str], keys: Sequence[Key]
) -> Iterator[set[Key]]:
    """Of each signature in @places, the keys that made it; the last place's errors count."""
    for place in places:
        try:
            for digest in digests:
                yield from _signers(place, digest, keys)
        except RegistryError as error:
            if place is places[-1]:
                raise
            place.transport.warn(f"{error.message}: another place is asked")


def _signers(place: Repository, digest: str, keys: Sequence[Key]) -> Iterator[set[Key]]:
    """Of each signature of @digest in a repository, the keys that made it."""
    for layer in _layers(place, f"{referrers_tag(digest)}.sig", PAYLOAD):
        annotations = layer.get("annotations")
        text = annotations.get(SIGNATURE) if isinstance(annotations, dict) else None
        if isinstance(text, str):
            yield signers_of_payload(_blob(place, layer), text, digest, keys)
    for referrer in _bundles(place, digest):
        for layer in _layers(place, referrer["digest"], BUNDLE):
            yield signers_of_bundle(_blob(place, layer), digest, keys)


def _layers(place: Repository, reference: str, kind: str) -> list[dict[str, Any]]:
    """The layers of type @kind of a manifest; none where it does not exist."""
    try:
        manifest = place.manifest(reference)
    except DeniedError:
        return []
    listed = parse_json(manifest.data).get("layers")
    return [one for one in _fit(listed) if one.get("mediaType") == kind]


def _bundles(place: Repository, digest: str) -> list[dict[str, Any]]:
    """The manifests of bundles that refer to @digest."""
    return [
        one
        for one in _fit(list_referrers(place, digest))
        if one.get("artifactType") in {BUNDLE, None, ""}  # not all that write the tag name it
    ]


def _fit(listed: object) -> list[dict[str, Any]]:
    """The descriptors in a list of a manifest, those of a digest that can be asked for."""
    fit = [
        one
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, dict) and is_digest(one.get("digest"))
    ]
    return fit[:SIGNATURES_MAX]


def _blob(place: Repository, descriptor: dict[str, Any]) -> bytes:
    name = f"{place.endpoint.registry}/{place.endpoint.repository}"
    return place.small_blob(descriptor["digest"], ANSWER_MAX, name=name, what="a signature")
