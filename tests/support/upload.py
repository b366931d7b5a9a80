"""Blobs and manifests put into a registry as they are, also such as no honest tool would write."""

from __future__ import annotations

import hashlib
import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker.distribution"
MANIFEST, INDEX = f"{OCI}.manifest.v1+json", f"{OCI}.index.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def put_blob(place: str, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    """A blob in repository @place (`HOST:PORT/NAME`); its descriptor."""
    host, _, repository = place.partition("/")
    location = _ask(host, "POST", f"/v2/{repository}/blobs/uploads/", b"", {})
    at = urlsplit(location)
    _ask(host, "PUT", f"{at.path}?{at.query}&digest={digest_of(data)}", data, {})
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def put_manifest(
    place: str, value: dict[str, Any] | bytes, tag: str = "", media_type: str = MANIFEST
) -> dict[str, Any]:
    """A manifest as @tag, or by its digest alone; its descriptor."""
    host, _, repository = place.partition("/")
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    path = f"/v2/{repository}/manifests/{tag or digest_of(data)}"
    _ask(host, "PUT", path, data, {"Content-Type": media_type})
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def image_manifest(
    config: dict[str, Any], layers: Sequence[dict[str, Any]], **more: Any
) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": list(layers),
        **more,
    }


def push_artifact(place: str, config_type: str, layers: Sequence[tuple[str, bytes]]) -> str:
    """An artifact as tag 1, of a configuration without content; the digest of its manifest.

    @layers: the media type and the bytes of each.
    """
    config = put_blob(place, b"{}", config_type)
    described = [put_blob(place, data, kind) for kind, data in layers]
    value = {"schemaVersion": 2, "config": config, "layers": described}
    return str(put_manifest(place, value, "1")["digest"])


def index(manifests: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests), **more}


def manifest_of(place: str, tag: str) -> bytes:
    """What @tag stands for."""
    host, _, repository = place.partition("/")
    connection = http.client.HTTPConnection(host, timeout=60)
    accept = f"{MANIFEST}, {INDEX}, {DOCKER}.manifest.v2+json, {DOCKER}.manifest.list.v2+json"
    connection.request("GET", f"/v2/{repository}/manifests/{tag}", headers={"Accept": accept})
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    return answer.read()


def manifest_digest(place: str, tag: str) -> str:
    """The digest of what @tag stands for."""
    return digest_of(manifest_of(place, tag))


def _ask(host: str, method: str, path: str, body: bytes, headers: dict[str, str]) -> str:
    """The Location of the answer to a request that is granted."""
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    said = answer.read()
    assert answer.status in {201, 202}, (answer.status, said)
    return answer.getheader("Location") or ""
