"""The places of an image: its mirrors and its registry, opened for who asks, and its manifest."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lpmx_runtime.reference import parse_reference

from .wire.client import Manifest, Repository
from .wire.credentials import find_credentials
from .wire.errors import RegistryError
from .wire.settings import endpoints
from .wire.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from lpmx_runtime.reference import Reference

    from .wire.credentials import Credentials
    from .wire.settings import Endpoint

__all__ = [
    "Access",
    "first_manifest",
    "image_reference",
    "open_image",
    "open_places",
    "open_target",
]

_SCHEMES = ("docker://", "oci://", "oras://")


@dataclass(frozen=True)
class Access:
    """How to come to a registry."""

    authfile: str = ""
    plain_http: bool = False
    verify: bool = True  # certificates
    by_variables: bool = True  # LPMX_REGISTRY_USER and _PASSWORD are meant for it


def image_reference(name: str) -> Reference:
    """What `[docker://]NAME[:TAG][@DIGEST]` refers to. UsageError for what is no name."""
    for scheme in _SCHEMES:
        name = name.removeprefix(scheme)
    return parse_reference(name)


def open_places(
    reference: Reference, access: Access, *, warn: Callable[[str], None] | None = None
) -> list[Repository]:
    """The repositories that may have @reference, in order; nothing is asked of them so far."""
    transport = Transport(verify=access.verify, warn=warn or (lambda _line: None))
    return [_open(transport, endpoint, access) for endpoint in endpoints(reference)]


def open_target(
    reference: Reference,
    access: Access,
    *,
    also_read: tuple[str, ...] = (),
    warn: Callable[[str], None] | None = None,
) -> Repository:
    """The registry of @reference itself, no mirror, to write there; nothing is asked so far.

    @also_read: other repositories there, whose blobs may be mounted.
    """
    transport = Transport(verify=access.verify, warn=warn or (lambda _line: None))
    place = _open(transport, endpoints(reference)[-1], access)
    return replace(place, actions="pull,push", also_read=also_read)


def _open(transport: Transport, endpoint: Endpoint, access: Access) -> Repository:
    def who() -> Credentials | None:
        environ = dict(os.environ)
        if not access.by_variables:
            environ.pop("LPMX_REGISTRY_USER", None)
        return find_credentials(
            endpoint.registry, endpoint.repository, authfile=access.authfile, environ=environ
        )

    return Repository(transport, endpoint, who, plain_http=access.plain_http)


def first_manifest(places: list[Repository], asked: str) -> tuple[list[Repository], Manifest]:
    """The manifest from the first place that has it, and the places from there on."""
    for number, place in enumerate(places):
        try:
            return places[number:], place.manifest(asked)
        except RegistryError as error:
            if place is places[-1]:
                raise
            place.transport.warn(f"{error.message}: another place is asked")
    raise AssertionError("unreachable")


def open_image(
    reference: Reference, access: Access, *, warn: Callable[[str], None] | None = None
) -> tuple[list[Repository], Manifest]:
    """The manifest or index that @reference refers to, and the places from the one that had it."""
    places = open_places(reference, access, warn=warn)
    return first_manifest(places, reference.digest or reference.tag or "latest")
