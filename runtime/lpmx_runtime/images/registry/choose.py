"""Which image of an index is meant: this machine's platform, or the one that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lpmx_runtime.errors import UsageError
from lpmx_runtime.images.platforms import host_platform, platform_of
from lpmx_runtime.text import parse_json

from .wire.client import INDEX_TYPES, MANIFEST_TYPES
from .wire.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .wire.client import Manifest

__all__ = ["Platform", "check_image", "check_platform", "choose_manifest", "parse_platform"]

DEPTH = 4
_ATTESTATION = "vnd.docker.reference.type"
_HELM = "application/vnd.cncf.helm.config.v1+json"
_LEVELS = (  # what a processor has for amd64's variants v4, v3, v2: x86-64 psABI
    ("v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
    ("v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ("v2", {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}),
)


@dataclass(frozen=True)
class Platform:
    """`os/architecture[/variant]`."""

    system: str
    machine: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.system, self.machine, self.variant)))


def parse_platform(text: str) -> Platform:
    """The platform that `--platform` names; "": this machine's."""
    parts = (text or host_platform()).lower().split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise UsageError(f"--platform {text}: not of the form OS/ARCH[/VARIANT]")
    return Platform(*parts)


class Manifests(Protocol):
    """Who has manifests by their digests."""

    def manifest(self, reference: str, /) -> Manifest:
        """The manifest `sha256:HEX`."""


def choose_manifest(repository: Manifests, top: Manifest, wanted: Platform, name: str) -> Manifest:
    """The manifest of an image: @top itself, or that of its indexes which fits @wanted best."""
    found = top
    for _ in range(DEPTH + 1):
        if not found.is_index:
            return found
        digest = _pick(_json(found), wanted, name)
        found = repository.manifest(digest)
    raise RegistryError(f"{name}: indexes within indexes, too deep")


def check_image(manifest: Manifest, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The descriptors of an image's configuration and layers. RegistryError: it is no image."""
    value = _json(manifest)
    config, layers = value.get("config"), value.get("layers")
    kind = str(value.get("artifactType") or (config or {}).get("mediaType") or "")
    if kind == _HELM:
        raise RegistryError(f"{name}: a Helm chart ({kind}), not an image")
    if value.get("artifactType") or (
        kind and not kind.endswith(("image.config.v1+json", "image.v1+json"))
    ):
        raise RegistryError(f"{name}: an artifact of type {kind}, not an image")
    if not isinstance(config, dict) or not isinstance(layers, list):
        raise RegistryError(f"{name}: a manifest without configuration and layers")
    for layer in layers:
        if not isinstance(layer, dict):
            raise RegistryError(f"{name}: a manifest that makes no sense")
        if str(layer.get("mediaType", "")).endswith("+encrypted"):
            raise RegistryError(f"{name}: an encrypted layer, which is not supported")
    return config, layers


def check_platform(config: bytes, name: str, wanted: Platform | None = None) -> None:
    """RegistryError for a configuration that names another platform than @wanted.

    None: this machine's. What the configuration leaves open is taken for this machine's: single
    manifests come without a choice.
    """
    try:
        value = parse_json(config)
    except ValueError as error:
        raise RegistryError(f"{name}: a configuration that is no JSON") from error
    own = platform_of(value if isinstance(value, dict) else {})
    sought = f"{wanted.system}/{wanted.machine}" if wanted else host_platform()
    if own != sought:
        raise RegistryError(f"{name}: no image for {sought}, only {own}")


def _json(manifest: Manifest) -> dict[str, Any]:
    value = parse_json(manifest.data)
    return value if isinstance(value, dict) else {}


def _pick(index: dict[str, Any], wanted: Platform, name: str) -> str:
    listed = index.get("manifests")
    if not isinstance(listed, list):
        raise RegistryError(f"{name}: an index that lists no manifests")
    images = [entry for entry in listed if isinstance(entry, dict) and _is_image(entry)]
    fit = [entry for entry in images if _fits(_platform(entry), wanted)]
    if not fit:
        others = sorted({str(platform) for entry in images if (platform := _platform(entry))})
        raise RegistryError(
            f"{name}: no image for {wanted}, only {', '.join(others) or 'artifacts'}"
        )
    best = max(fit, key=lambda entry: _rank(_platform(entry), wanted))
    return str(best.get("digest", ""))


def _is_image(entry: dict[str, Any]) -> bool:
    annotations = entry.get("annotations")
    if isinstance(annotations, dict) and _ATTESTATION in annotations:
        return False
    platform = entry.get("platform")
    if isinstance(platform, dict) and platform.get("os") == "unknown":
        return False
    known = entry.get("mediaType") in (*INDEX_TYPES, *MANIFEST_TYPES, None)
    return known and not entry.get("artifactType")


def _platform(entry: dict[str, Any]) -> Platform | None:
    value = entry.get("platform")
    if not isinstance(value, dict) or not value.get("architecture"):
        return None
    return Platform(
        str(value.get("os") or "linux").lower(),
        str(value["architecture"]).lower(),
        str(value.get("variant") or "").lower(),
    )


def _fits(platform: Platform | None, wanted: Platform) -> bool:
    if platform is None:
        return True  # the configuration will tell
    if (platform.system, platform.machine) != (wanted.system, wanted.machine):
        return False
    if wanted.variant:
        own = platform.variant or ("v8" if platform.machine == "arm64" else "")
        return own == wanted.variant
    return platform.machine != "amd64" or platform.variant in {"", "v1", *_levels()}


def _rank(platform: Platform | None, wanted: Platform) -> tuple[int, str]:
    """Of those that fit: one that says its platform, the highest variant that the processor has."""
    if platform is None:
        return 0, ""
    if wanted.machine == "amd64" and not wanted.variant:
        return 1, platform.variant or "v1"
    return (2 if not platform.variant else 1), platform.variant


def _levels() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            lines: Iterable[str] = [line for line in file if line.startswith("flags")][:1]
    except OSError:
        return set()
    flags = {word for line in lines for word in line.partition(":")[2].split()}
    found: set[str] = set()
    for level, needed in reversed(_LEVELS):
        if not needed <= flags:
            break
        found.add(level)
    return found
