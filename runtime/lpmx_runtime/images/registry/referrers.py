"""The manifests that name another as their `subject`: signatures, lists of software.

A registry lists them by an API or, where it has none, in an index with the tag `sha256-HEX`
(distribution-spec, "Listing Referrers").
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lpmx_runtime.text import parse_json

from .wire.answers import next_query
from .wire.errors import DeniedError

if TYPE_CHECKING:
    from .wire.client import Repository

__all__ = ["list_referrers", "referrers_tag", "tagged_referrers"]

LIST_MAX = 4 << 20  # bytes of a page
PAGES_MAX = 200
_NO_API = (400, 404, 405, 406, 501)


def referrers_tag(digest: str) -> str:
    """The tag that lists the referrers of @digest where a registry has no API for it."""
    return digest.replace(":", "-")


def list_referrers(place: Repository, digest: str) -> list[dict[str, Any]]:
    """The descriptors of what refers to @digest (`sha256:HEX`): by the API, else by the tag.

    Raises RegistryError when @place answers neither.
    """
    found: list[dict[str, Any]] = []
    query = ""
    for _ in range(PAGES_MAX):
        path = f"referrers/{digest}?{query}" if query else f"referrers/{digest}"
        with place.get(path, {}, good=(200, *_NO_API)) as answer:
            if answer.status == 200:
                data = place.read_small(answer, LIST_MAX, what="the list of referrers")
            else:
                answer.drain_conn()
                data = b""
            query = next_query(answer)
        if not data:
            return found or tagged_referrers(place, digest)
        page = _entries(data)
        found += page
        if not query or not page:
            break
    return found


def tagged_referrers(place: Repository, digest: str) -> list[dict[str, Any]]:
    """Those that the tag lists; none where there is no such tag."""
    with suppress(DeniedError):
        return _entries(place.manifest(referrers_tag(digest)).data)
    return []


def _entries(data: bytes) -> list[dict[str, Any]]:
    with suppress(ValueError):
        value = parse_json(data)
        listed = value.get("manifests") if isinstance(value, dict) else None
        entries = listed if isinstance(listed, list) else []
        return [one for one in entries if isinstance(one, dict)]
    return []
