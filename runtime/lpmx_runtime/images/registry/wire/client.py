"""Manifests and blobs of one repository, with the tokens that they need.

Requests are those of the distribution specification, tokens those of docker's token service
(distribution/distribution, docs/content/spec/auth). A token is good for one repository and a time:
it is asked for when an answer says so, and once more when it has run out.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from lpmx_runtime.images.web.certificates import speaks_tls
from lpmx_runtime.text import parse_json

from .answers import read_small
from .challenge import Challenge, parse_challenges
from .errors import (
    DeniedError,
    RegistryError,
    TransferCutError,
    UnreachableError,
    WrongDataError,
)
from .refusals import read_refused, write_refused
from .tokens import TOKEN_SECONDS, TokenService

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from urllib3.response import BaseHTTPResponse

    from .credentials import Credentials
    from .settings import Endpoint
    from .transport import Body, Transport

__all__ = ["INDEX_TYPES", "MANIFEST_TYPES", "Manifest", "Repository", "digest_of", "is_digest"]

OCI = "application/vnd.oci.image"
DOCKER = "application/vnd.docker.distribution"
INDEX_TYPES = (f"{OCI}.index.v1+json", f"{DOCKER}.manifest.list.v2+json")
MANIFEST_TYPES = (f"{OCI}.manifest.v1+json", f"{DOCKER}.manifest.v2+json")
ACCEPT = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))  # one header: some registries read only one
MANIFEST_MAX, INDEX_MAX = 4 << 20, 16 << 20
CUTS_MAX, WRONG_MAX = 4, 2  # times that a small body may break off, or be wrong
EARLY = 10.0  # seconds before its end at which a token is renewed
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_T = TypeVar("_T")
_LOCAL = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")


def is_digest(text: object) -> bool:
    """Is it `sha256:HEX`?"""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def digest_of(data: bytes) -> str:
    """`sha256:HEX` of @data."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Manifest:
    """The bytes of a manifest or index as the registry has them, checked against @digest."""

    data: bytes = field(repr=False)
    media_type: str
    digest: str  # sha256:HEX

    @property
    def is_index(self) -> bool:
        """Does it list other manifests?"""
        return self.media_type in INDEX_TYPES


@dataclass
class Repository:
    """A repository at @endpoint.

    @find_credentials is asked when the registry wants to know who is there. May be used by several
    threads.
    """

    transport: Transport
    endpoint: Endpoint
    find_credentials: Callable[[], Credentials | None]
    plain_http: bool = False
    actions: str = "pull"
    scope: str = ""  # what tokens are for, where it is no repository
    also_read: tuple[str, ...] = ()  # other repositories of the registry, for mounts
    _scheme: str = ""
    _authorization: str = field(default="", repr=False)
    _good_until: float = 0.0
    _who: Credentials | None = None
    _asked: bool = False
    _anonymous: bool = False  # the stored credentials are refused
    _wants_identity: bool = False  # a token that stands for the password, to be kept
    _identity: str = field(default="", repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # ---- requests
    def manifest(self, reference: str) -> Manifest:
        """The manifest of a tag or `sha256:HEX`; asked for again when it breaks off or is wrong.

        Raises DeniedError when it is not there or not for this user, RegistryError when it is not
        what was asked for.
        """
        return self._until_right(lambda: self._manifest(reference))

    def _manifest(self, reference: str) -> Manifest:
        answer = self.get(f"manifests/{reference}", {"Accept": ACCEPT})
        with answer:
            media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            limit = INDEX_MAX if media_type in INDEX_TYPES else MANIFEST_MAX
            data = self.read_small(answer, limit, what=f"the manifest of {self.label(reference)}")
            stated = answer.headers.get("Docker-Content-Digest", "")
        digest = digest_of(data)
        wanted = reference if is_digest(reference) else stated
        if is_digest(wanted) and wanted != digest:
            raise self._wrong(f"{self.label(reference)}: checksum of the manifest differs")
        return Manifest(data, self._kind(data, media_type, reference), digest)

    def small_blob(self, digest: str, limit: int, *, name: str, what: str) -> bytes:
        """The blob `sha256:HEX`, in memory; @what of @name it is, for messages.

        Raises RegistryError when it is larger than @limit, or not what was asked for.
        """

        def fetch() -> bytes:
            with self.get(f"blobs/{digest}", {}) as answer:
                data = self.read_small(answer, limit, what=f"{what} of {name}")
            if digest_of(data) != digest:
                raise self._wrong(f"{name}: checksum of {what} differs")
            return data

        return self._until_right(fetch)

    def _wrong(self, message: str) -> WrongDataError:
        return WrongDataError(
            f"{message}, twice",
            hint=f"{self.endpoint.host}, or a proxy on the way, serves wrong data",
        )

    def _until_right(self, fetch: Callable[[], _T]) -> _T:
        """What @fetch gets; it is called again after breaks, and once after wrong data."""
        cuts = wrong = 0
        while True:
            try:
                return fetch()
            except TransferCutError:
                cuts += 1
                if cuts >= CUTS_MAX:
                    raise
            except WrongDataError:
                wrong += 1
                if wrong >= WRONG_MAX:
                    raise
            self.transport.sleep(min(2.0**cuts - 1, 8.0))

    def head(self, reference: str) -> str:
        """The digest of a tag, `sha256:HEX`; "" when the registry does not tell."""
        answer = self.get(f"manifests/{reference}", {"Accept": ACCEPT}, method="HEAD")
        answer.drain_conn()
        digest = answer.headers.get("Docker-Content-Digest", "")
        return digest if is_digest(digest) else ""

    def blob(self, digest: str, start: int = 0) -> BaseHTTPResponse:
        """The body of blob `sha256:HEX` from byte @start on: status 200 (all of it), 206 or 416."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        return self.get(f"blobs/{digest}", headers, good=(200, 206, 416))

    def get(
        self,
        path: str,
        headers: Mapping[str, str],
        *,
        method: str = "GET",
        good: tuple[int, ...] = (200,),
    ) -> BaseHTTPResponse:
        """A request below the repository's name; the answer has one of the statuses @good."""
        answer = self._try(method, path, headers)
        if answer.status in good:
            return answer
        try:
            raise read_refused(answer, self.endpoint, self._who, self._what(path))
        finally:
            answer.drain_conn()

    def has_blob(self, digest: str) -> bool:
        """Has the repository blob `sha256:HEX`? DeniedError: it may not be asked."""
        answer = self.get(f"blobs/{digest}", {}, method="HEAD", good=(200, 404))
        answer.drain_conn()
        return answer.status == 200

    def ask(self, path: str, *, scope: str) -> BaseHTTPResponse:
        """The answer, of any status, to a GET of @path, which is the registry's, no repository's.

        @scope is what a token has to be good for.
        """
        self.scope = scope
        return self._own(path)

    def _own(self, path: str) -> BaseHTTPResponse:
        """The answer to a GET of a path of the registry, with the token that it asks for."""
        answer = self._request("GET", path, self._known())
        if answer.status == 401 and self._renew(answer):
            answer.drain_conn()
            answer = self._request("GET", path, self._known())
        return answer

    def _known(self) -> dict[str, str]:
        return {"Authorization": self._authorization} if self._authorization else {}

    def send(
        self,
        method: str,
        where: str,
        headers: Mapping[str, str],
        body: Callable[[], Body] | bytes | None = None,
    ) -> BaseHTTPResponse:
        """The answer to a request that changes something, whatever its status.

        @where: a path below the repository's name, or the whole address that the registry named:
        credentials go to the registry alone. @body is called again where a token has run out.
        """
        return self._try(method, where, headers, body)

    def refused(self, answer: BaseHTTPResponse, what: str) -> RegistryError:
        """The error that @answer, of a status that does not fit, is for @what was to be written."""
        return write_refused(answer, self.endpoint, self._who, what)

    def check(self, who: Credentials) -> str:
        """See whether the registry takes @who; no repository plays a part.

        Returns the identity token that a token service gives in exchange, "" where there is none.
        Raises DeniedError when @who is refused.
        """
        self._who, self._asked, self._wants_identity = who, True, True
        self._authorization = ""  # of nobody else
        answer = self._own("/v2/")
        answer.drain_conn()
        if answer.status in {401, 403}:
            raise DeniedError(
                f"{self.endpoint.registry}: refuses this user and password", status=answer.status
            )
        if answer.status != 200:
            raise RegistryError(
                f"{self.endpoint.host}: no registry answers here: status {answer.status}",
                status=answer.status,
            )
        return self._identity

    def label(self, reference: str) -> str:
        """What to call an image of it in messages."""
        sign = "@" if reference.startswith("sha256:") else ":"
        return f"{self.endpoint.registry}/{self.endpoint.repository}{sign}{reference}"

    def _try(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Callable[[], Body] | bytes | None = None,
    ) -> BaseHTTPResponse:
        """With who we are; once more after a new token, and, to read, once without a name."""
        answer, used = self._send(method, path, headers, body)
        if answer.status not in {401, 403}:
            return answer
        if self._renew(answer, used):
            answer.drain_conn()
            answer, _ = self._send(method, path, headers, body)
        named = self._who is not None and not self._anonymous and method in {"GET", "HEAD"}
        if answer.status in {401, 403} and named and self.actions == "pull":
            again = self._without_name(method, path, headers, answer)
            if again is not None:
                return again
        return answer

    def _without_name(
        self, method: str, path: str, headers: Mapping[str, str], answer: BaseHTTPResponse
    ) -> BaseHTTPResponse | None:
        """Credentials that have run out make some registries refuse what all may have."""
        refused, self._anonymous = self._who, True
        self._who, self._authorization = None, ""
        if not self._renew(answer):
            self._who, self._anonymous = refused, False
            return None
        again, _ = self._send(method, path, headers)
        if again.status in {401, 403}:
            again.drain_conn()
            self._who, self._anonymous = refused, False
            return None
        answer.drain_conn()
        where = refused.source if refused else ""
        host = self.endpoint.registry
        self.transport.warn(f"{host} refuses the credentials of {where} (`lpmx logout {host}`)")
        return again

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Callable[[], Body] | bytes | None = None,
    ) -> tuple[BaseHTTPResponse, str]:
        """The answer, and the Authorization that was sent for it."""
        url = path if "://" in path else f"/v2/{self.endpoint.repository}/{path}"
        if self._authorization and time.monotonic() > self._good_until:
            self._authorization = ""  # the registry's answer says how to get another
        sent, used = dict(headers), self._authorization
        if used and (url.startswith("/") or self._is_own(url)):
            sent["Authorization"] = used
        return self._request(method, url, sent, body), used

    def _is_own(self, url: str) -> bool:
        """Is it an address of the registry itself?"""
        parts = urlsplit(url)
        return (parts.scheme, parts.netloc) == (self._scheme, self.endpoint.host)

    def address_of(self, location: str, base: str) -> str:
        """Where @location is, the header of an answer to a request for @base."""
        own = f"{self._scheme}://{self.endpoint.host}/v2/{self.endpoint.repository}/"
        return urljoin(urljoin(own, base), location)

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Callable[[], Body] | bytes | None = None,
    ) -> BaseHTTPResponse:
        """To the registry, by https or, where that is allowed, by http."""
        insecure = self.endpoint.insecure
        schemes = [self._scheme] if self._scheme else self._schemes()
        streamed = callable(body)
        for scheme in schemes:
            url = path if "://" in path else f"{scheme}://{self.endpoint.host}{path}"
            maybe = scheme != schemes[-1]
            try:
                answer = self.transport.request(
                    method,
                    url,
                    headers,
                    body=body() if callable(body) else body,
                    insecure=insecure,
                    again=not maybe and not streamed,
                )
            except UnreachableError as error:
                if maybe and error.status:  # not where a certificate is not to be trusted
                    continue
                raise
            self._scheme = scheme
            return answer
        raise AssertionError("unreachable")

    def _schemes(self) -> list[str]:
        """What may be spoken here, https before http."""
        host = self.endpoint.host
        if self.plain_http:
            return ["http"]
        if self.endpoint.insecure:
            return ["https", "http"]
        if _LOCAL.fullmatch(host):
            return ["https"] if speaks_tls(host) else ["http"]
        return ["https"]

    # ---- tokens
    def _renew(self, answer: BaseHTTPResponse, used: str = "") -> bool:
        """Get what @answer, a refusal, asks for. False when there is nothing to be had.

        @used: the Authorization that is refused, "" if there was none; where another thread has got
        a new one since, that serves.
        """
        with self._lock:
            if self._authorization not in {"", used}:
                return True
            challenges = parse_challenges(answer.headers.getlist("WWW-Authenticate"))
            if not challenges and answer.status == 401:  # some tell it only here
                ping = self._request("GET", "/v2/", {})
                challenges = parse_challenges(ping.headers.getlist("WWW-Authenticate"))
                ping.drain_conn()
            if not self._asked:
                self._asked = True
                self._who = self.find_credentials()
            for challenge in challenges:
                if challenge.scheme == "bearer" and challenge.parameters.get("realm"):
                    return self._take_token(challenge)
                if challenge.scheme == "basic" and self._who is not None and self._who.user:
                    fresh = self._who.basic
                    if fresh == self._authorization:
                        return False
                    self._authorization, self._good_until = fresh, float("inf")
                    return True
            return False

    def _take_token(self, challenge: Challenge) -> bool:
        who = self._who
        if who is not None and who.registry_token:
            self._authorization = f"Bearer {who.registry_token}"
            self._good_until = float("inf")
            return True
        scopes = [f"repository:{self.endpoint.repository}:{self.actions}"]
        scopes += [f"repository:{other}:pull" for other in self.also_read]
        service = TokenService(
            self.transport,
            challenge.parameters["realm"],
            challenge.parameters.get("service", ""),
            insecure=self.endpoint.insecure,
        )
        if self._scheme == "https":
            service.require_encryption(self.endpoint.host, who)
        if not self.endpoint.repository:
            scopes = [self.scope] if self.scope else []
        token = service.ask(scopes, who, offline=self._wants_identity)
        if token is None:
            return False
        self._identity = token.identity
        self._authorization = f"Bearer {token.text}"
        self._good_until = time.monotonic() + max(token.seconds, TOKEN_SECONDS) - EARLY
        return True

    # ---- answers
    def read_small(self, answer: BaseHTTPResponse, limit: int, *, what: str) -> bytes:
        """The whole body of an answer. RegistryError: @what is larger than @limit, or cut off."""
        return read_small(answer, limit, host=self.endpoint.host, what=what)

    def _kind(self, data: bytes, media_type: str, reference: str) -> str:
        """The type of a manifest; some registries' header says nothing of it."""
        try:
            value = parse_json(data)
        except ValueError as error:
            raise RegistryError(
                f"{self.label(reference)}: the registry answers with no manifest",
                hint=f"is {self.endpoint.host} a registry, or does a proxy answer in its place",
            ) from error
        if not isinstance(value, dict):
            raise RegistryError(f"{self.label(reference)}: the manifest is no JSON object")
        stated = str(value.get("mediaType") or "")
        if value.get("schemaVersion") == 1 or media_type.startswith(f"{DOCKER}.manifest.v1+"):
            raise RegistryError(
                f"{self.label(reference)}: an image of schema 1 (before 2017),"
                " which is not supported",
                hint="have it pushed again, or convert it with skopeo",
            )
        known = (*INDEX_TYPES, *MANIFEST_TYPES)
        for kind in (media_type, stated):
            if kind in known:
                return kind
        return INDEX_TYPES[0] if "manifests" in value else MANIFEST_TYPES[0]

    def _what(self, path: str) -> str:
        """What is asked for at @path, for messages."""
        kind, _, rest = path.partition("/")
        if kind == "manifests":
            return self.label(rest)
        name = f"{self.endpoint.registry}/{self.endpoint.repository}"
        return f"blob {rest[7:19]} of {name}" if kind == "blobs" else name
