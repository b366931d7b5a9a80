"""The tags of a repository, page by page (distribution-spec, "Listing Tags")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime.text import parse_json

from .wire.answers import next_query
from .wire.errors import DeniedError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .wire.client import Repository

__all__ = ["list_tags"]

PAGE = 1000  # tags an answer: some registries refuse to be asked for more
PAGES_MAX = 200
ANSWER_MAX = 4 << 20


def list_tags(places: Sequence[Repository]) -> list[str]:
    """All tags of the repository, from the first of @places that lists some; [] if none does.

    Raises RegistryError when none of them answers.
    """
    refused: RegistryError | None = None
    answered = False
    for place in places:
        try:
            found = _tags_at(place)
        except RegistryError as error:
            refused = error
            continue
        answered = True
        if found:
            return found
    if refused is not None and not answered:
        raise refused
    return []


def _tags_at(place: Repository) -> list[str]:
    found: dict[str, None] = {}
    path = f"tags/list?n={PAGE}"
    for _ in range(PAGES_MAX):
        try:
            answer = place.get(path, {})
        except DeniedError as error:
            if error.status == 404:  # no repository of that name
                return list(found)
            raise
        with answer:
            data = place.read_small(answer, ANSWER_MAX, what="the list of tags")
        before = len(found)
        found.update(dict.fromkeys(_read(place, data)))
        query = next_query(answer)
        if not query or len(found) == before:
            break
        path = f"tags/list?{query}"
    return list(found)


def _read(place: Repository, data: bytes) -> list[str]:
    try:
        value = parse_json(data)
    except ValueError as error:
        raise RegistryError(f"{place.endpoint.host}: a list of tags that is no JSON") from error
    listed = value.get("tags") if isinstance(value, dict) else None
    return [tag for tag in listed if isinstance(tag, str)] if isinstance(listed, list) else []
