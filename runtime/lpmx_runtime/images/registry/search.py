"""Repositories of a registry whose names contain a word, where the registry lets one ask.

Docker Hub has a search of its own (GET /v1/search, as `docker search` uses it); registries of
distribution's kind list all repositories at /v2/_catalog (distribution, docs/spec/api). Most public
ones have neither, and refuse by one status or another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from lpmx_runtime.reference import Reference
from lpmx_runtime.text import parse_json

from .places import Access, open_target
from .wire.answers import next_query, read_small
from .wire.errors import DeniedError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from urllib3.response import BaseHTTPResponse

    from .wire.client import Repository

__all__ = ["Found", "search"]

LIMIT = 25
PAGE, PAGES_MAX = 1000, 200
LIST_MAX = 16 << 20
HUB, HUB_SEARCH = "docker.io", "https://index.docker.io/v1/search"


@dataclass(frozen=True)
class Found:
    """A repository, and what its registry has about it."""

    name: str
    description: str = ""
    stars: int = 0
    is_official: bool = False


def search(
    registry: str,
    word: str,
    access: Access,
    *,
    limit: int = LIMIT,
    warn: Callable[[str], None] | None = None,
) -> list[Found]:
    """Repositories of @registry with @word in their names, @limit at most.

    Raises RegistryError where the registry offers no such list, or not to this user.
    """
    place = open_target(Reference(registry, "", "latest"), access, warn=warn)
    if registry == HUB:
        return _in_hub(place, word, limit)
    found: list[Found] = []
    for name in _catalog(place):
        if word.lower() in name.lower():
            found.append(Found(f"{registry}/{name}"))
            if len(found) >= limit:
                break
    return found


def _in_hub(place: Repository, word: str, limit: int) -> list[Found]:
    query = urlencode({"q": word, "n": min(limit, 100)})
    answer = place.transport.request("GET", f"{HUB_SEARCH}?{query}", {})
    rows = _read(answer, urlsplit(HUB_SEARCH).netloc, "results")
    return [
        Found(
            str(row.get("name")),
            str(row.get("description") or ""),
            int(row.get("star_count") or 0),
            bool(row.get("is_official")),
        )
        for row in rows
        if isinstance(row, dict) and row.get("name")
    ][:limit]


def _catalog(place: Repository) -> list[str]:
    found: dict[str, None] = {}
    query = f"n={PAGE}"
    for _ in range(PAGES_MAX):
        answer = place.ask(f"/v2/_catalog?{query}", scope="registry:catalog:*")
        before = len(found)
        rows = _read(answer, place.endpoint.host, "repositories")
        found.update(dict.fromkeys(str(row) for row in rows))
        query = next_query(answer)
        if not query or len(found) == before:
            break
    return list(found)


def _read(answer: BaseHTTPResponse, host: str, key: str) -> list[Any]:
    with answer:
        if answer.status in {401, 403}:
            answer.drain_conn()
            raise DeniedError(
                f"{host}: does not list its repositories for you", status=answer.status
            )
        if answer.status != 200:
            answer.drain_conn()
            raise RegistryError(
                f"{host}: offers no search (status {answer.status})",
                hint="its web page may; `lpmx pull` needs the whole name",
                status=answer.status,
            )
        data = read_small(answer, LIST_MAX, host=host, what="the list of repositories")
    try:
        value = parse_json(data)
        rows = value.get(key) or []
    except (ValueError, AttributeError) as error:
        raise RegistryError(f"{host}: an answer that is no list of repositories") from error
    return rows if isinstance(rows, list) else []
