"""A registry in memory with what Debian's docker-registry lacks.

Referrers and OCI-Subject, lists page by page, relative Locations with a query, sessions that
outlive a cut, pieces of a least size.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
_PATH = re.compile(r"/v2/(.+)/(manifests|blobs|referrers|tags)/(.*)")
_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/([^/]*)")


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class MiniRegistry:
    """Serves on loopback from `with` on; what it holds may be looked at and changed."""

    referrers: bool = True
    page: int = 1000  # tags, or referrers, an answer
    least: int = 0  # bytes of a piece that is not the last
    most: int = 1 << 40  # bytes of a body; larger ones are refused (413)
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    sessions: dict[str, bytearray] = field(default_factory=dict)
    requests: list[tuple[str, str, int]] = field(default_factory=list)  # method, path, body's size
    cuts: list[int] = field(default_factory=list)  # bodies that break off after so many bytes
    address: str = ""

    def __enter__(self) -> MiniRegistry:
        registry = self

        class Handler(_Handler):
            owner = registry

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  clients go
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def digest(self, repository: str, tag: str) -> str:
        return self.tags[repository][tag]

    def count(self, method: str, pattern: str = "") -> int:
        """How many requests came."""
        return sum(one[0] == method and bool(re.search(pattern, one[1])) for one in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: MiniRegistry

    def serve(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        self.owner.requests.append((self.command, self.path, size))
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if upload := _UPLOAD.fullmatch(url.path):
            self.upload(upload[1], upload[2], query, size)
            return
        data = self.rfile.read(size)
        if url.path == "/v2/":
            self.answer(200, {})
        elif found := _PATH.fullmatch(url.path):
            {
                "manifests": self.manifest,
                "blobs": self.blob,
                "referrers": self.referrer,
                "tags": self.list_tags,
            }[found[2]](found[1], found[3], query, data)
        else:
            self.refuse(404, "NAME_UNKNOWN")

    def answer(
        self, code: int, body: bytes | dict[str, Any] = b"", headers: dict[str, str] | None = None
    ) -> None:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        self.send_response(code)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def refuse(self, code: int, name: str) -> None:
        self.answer(code, {"errors": [{"code": name, "message": name.lower()}]})

    # ---- blobs
    def blob(self, repository: str, digest: str, _query: dict[str, str], _data: bytes) -> None:
        found = self.owner.blobs.get((repository, digest))
        if found is None:
            self.refuse(404, "BLOB_UNKNOWN")
        elif span := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start = int(span[1])
            where = {"Content-Range": f"bytes {start}-{len(found) - 1}/{len(found)}"}
            self.answer(206, found[start:], where)
        else:
            self.answer(200, found)

    def upload(self, repository: str, session: str, query: dict[str, str], size: int) -> None:
        owner = self.owner
        if self.command == "POST":
            self.begin(repository, query)
            return
        if session not in owner.sessions:
            self.rfile.read(size)
            self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
            return
        held = owner.sessions[session]
        if self.command in {"GET", "DELETE"}:
            self.answer(204, b"", self.where(repository, session))
            return
        if size > owner.most:
            self.rfile.read(size)
            self.refuse(413, "SIZE_INVALID")
            return
        span = self.headers.get("Content-Range")
        if span and int(span.split("-")[0]) != len(held):
            self.rfile.read(size)
            self.answer(416, b"", self.where(repository, session))
            return
        if size and owner.cuts:
            held += self.rfile.read(min(size, owner.cuts.pop(0)))
            self.close_connection = True
            self.connection.close()
            return
        held += self.rfile.read(size)
        if self.command == "PATCH":
            self.answer(202, b"", self.where(repository, session))
            return
        data = bytes(owner.sessions.pop(session))
        if _digest(data) != query.get("digest"):
            self.refuse(400, "DIGEST_INVALID")
            return
        owner.blobs[repository, _digest(data)] = data
        self.answer(201)

    def begin(self, repository: str, query: dict[str, str]) -> None:
        owner = self.owner
        lent = owner.blobs.get((query.get("from", ""), query.get("mount", "")))
        if lent is not None:
            owner.blobs[repository, query["mount"]] = lent
            self.answer(201)
            return
        session = uuid.uuid4().hex
        owner.sessions[session] = bytearray()
        least = {"OCI-Chunk-Min-Length": str(owner.least)} if owner.least else {}
        self.answer(202, b"", {**self.where(repository, session), **least})

    def where(self, repository: str, session: str) -> dict[str, str]:
        have = len(self.owner.sessions[session])
        location = f"/v2/{repository}/blobs/uploads/{session}?state=x%3D%26y"
        return {"Location": location, "Range": f"0-{max(0, have - 1)}"}

    # ---- manifests
    def manifest(
        self, repository: str, reference: str, _query: dict[str, str], data: bytes
    ) -> None:
        owner = self.owner
        if self.command == "PUT":
            self.keep(repository, reference, data)
            return
        digest = owner.tags.get(repository, {}).get(reference, reference)
        if (repository, digest) not in owner.manifests:
            self.refuse(404, "MANIFEST_UNKNOWN")
            return
        kind, held = owner.manifests[repository, digest]
        self.answer(200, held, {"Content-Type": kind, "Docker-Content-Digest": digest})

    def keep(self, repository: str, reference: str, data: bytes) -> None:
        owner, value, digest = self.owner, json.loads(data), _digest(data)
        blobs = [value["config"], *value["layers"]] if "config" in value else []
        known = [(repository, one["digest"]) in owner.blobs for one in blobs]
        known += [
            (repository, one["digest"]) in owner.manifests for one in value.get("manifests", [])
        ]
        if not all(known):
            self.refuse(400, "MANIFEST_BLOB_UNKNOWN")
            return
        owner.manifests[repository, digest] = (self.headers["Content-Type"], data)
        if not reference.startswith("sha256:"):
            owner.tags.setdefault(repository, {})[reference] = digest
        subject = value.get("subject", {}).get("digest")
        known_subject = {"OCI-Subject": subject} if subject and owner.referrers else {}
        self.answer(201, b"", {"Docker-Content-Digest": digest, **known_subject})

    def referrer(self, repository: str, digest: str, query: dict[str, str], _data: bytes) -> None:
        if not self.owner.referrers:
            self.refuse(404, "UNSUPPORTED")
            return
        found = []
        for (name, own), (kind, data) in self.owner.manifests.items():
            value = json.loads(data)
            if name == repository and value.get("subject", {}).get("digest") == digest:
                one = {"mediaType": kind, "digest": own, "size": len(data)}
                found.append({**one, "artifactType": value.get("artifactType", "")})
        start = int(query.get("start", "0"))
        end = start + self.owner.page
        headers = {"Content-Type": INDEX}
        if end < len(found):
            headers["Link"] = f'</v2/{repository}/referrers/{digest}?start={end}>; rel="next"'
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found[start:end]}
        self.answer(200, index, headers)

    def list_tags(self, repository: str, _what: str, query: dict[str, str], _data: bytes) -> None:
        names = [
            tag
            for tag in sorted(self.owner.tags.get(repository, {}))
            if tag > query.get("last", "")
        ]
        page = names[: min(int(query.get("n", "1000")), self.owner.page)]
        more = {}
        if len(page) < len(names):
            more["Link"] = f'</v2/{repository}/tags/list?n=2&last={page[-1]}>; rel="next"'
        self.answer(200, {"name": repository, "tags": page}, more)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve  # noqa: N815

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, *_: Any) -> None:
        pass
