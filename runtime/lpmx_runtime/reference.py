"""Image references: `[registry/]repository[:tag][@digest]`, with one canonical spelling each.

`debian`, `debian:latest` and `docker.io/library/debian:latest` name the same image; str() gives
`debian:latest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lpmx_runtime.errors import UsageError

__all__ = ["Reference", "check_name", "parse_reference", "registry_name"]

DEFAULT_REGISTRY = "docker.io"
_DEFAULT_PATH = "library/"
_OTHER_SPELLINGS = {"index.docker.io": DEFAULT_REGISTRY, "registry-1.docker.io": DEFAULT_REGISTRY}

_REGISTRY = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?"
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True)
class Reference:
    """A parsed reference, all parts filled in; @tag is None only beside a digest."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None = None

    @property
    def name(self) -> str:
        """The short name without tag and digest: what the user would type."""
        if self.registry != DEFAULT_REGISTRY:
            return f"{self.registry}/{self.repository}"
        return self.repository.removeprefix(_DEFAULT_PATH)

    def __str__(self) -> str:
        text = self.name
        if self.tag is not None:
            text += f":{self.tag}"
        if self.digest is not None:
            text += f"@{self.digest}"
        return text


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.startswith("[")):
        return _OTHER_SPELLINGS.get(first, first), rest
    return DEFAULT_REGISTRY, name


def parse_reference(text: str) -> Reference:
    """Parse what an image is called. No tag and no digest means the tag `latest`."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _bad(text, "the digest is not sha256: and 64 hex digits")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, ""
    elif _TAG.fullmatch(tag):
        name = head
    else:
        raise _bad(text, "the tag is not letters, digits and . _ -")
    registry, repository = _split_registry(name)
    if not _REGISTRY.fullmatch(registry):
        raise _bad(text, "the registry is not a host name")
    if not repository or len(name) > 255 or not _REPOSITORY.fullmatch(repository):
        raise _bad(text, "a name is lower-case letters, digits and . _ - between slashes")
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = _DEFAULT_PATH + repository
    return Reference(registry, repository, tag or (None if digest else "latest"), digest or None)


def registry_name(text: str) -> str:
    """What a registry is called in names of images: docker.io, whatever of its hosts @text is."""
    name = _OTHER_SPELLINGS.get(text, text)
    if not _REGISTRY.fullmatch(name):
        raise UsageError(f"{text!r} is not a registry", hint="HOST or HOST:PORT, without https://")
    return name


def check_name(text: str) -> str:
    """The canonical spelling of a name that an image is to get.

    UsageError for what would stand in the way of an image's id, for who looks one up by that.
    """
    reference = parse_reference(text)
    name = reference.name
    if name == "sha256" or _ID.fullmatch(name):
        raise UsageError(
            f"name {text!r} looks like an image's id",
            hint=f"for example local/{name}",
        )
    return str(reference)


def _bad(text: str, why: str) -> UsageError:
    return UsageError(
        f"{text!r} is not an image name: {why}",
        hint="for example debian:12 or quay.io/biocontainers/bwa:0.7.17",
    )
