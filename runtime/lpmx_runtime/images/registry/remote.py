"""What a registry has under a name, without fetching layers: for `lpmx inspect --remote`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lpmx_runtime.text import parse_json

from .choose import check_image, choose_manifest, parse_platform
from .download import descriptor
from .places import Access, image_reference, open_image
from .wire.answers import ANSWER_MAX
from .wire.errors import RegistryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .wire.client import Manifest, Repository

__all__ = ["describe"]


def describe(
    name: str, access: Access, *, platform: str = "", warn: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """The manifest, configuration, platforms and size of image @name, as JSON has it.

    Of an index, `config`, `layers` and `size` are those of the image for @platform, else for this
    machine; null where it has none for this machine. Raises RegistryError.
    """
    reference = image_reference(name)
    places, top = open_image(reference, access, warn=warn)
    label = str(reference)
    row: dict[str, Any] = {
        "name": label,
        "digest": top.digest,
        "media_type": top.media_type,
        "platforms": _platforms(top),
        "image": None,
        "manifest": parse_json(top.data),
    }
    try:
        chosen = choose_manifest(places[0], top, parse_platform(platform), label)
    except RegistryError:
        if platform or not row["platforms"]:
            raise
        return row
    row["image"] = _image(places[0], chosen, label)
    if not top.is_index:
        config = row["image"]["config"]
        row["platforms"] = [_platform_text(config)] if config.get("architecture") else []
    return row


def _image(place: Repository, manifest: Manifest, label: str) -> dict[str, Any]:
    config, layers = check_image(manifest, label)
    blobs = [descriptor(layer, label) for layer in layers]
    own = descriptor(config, label)
    data = place.small_blob(
        f"sha256:{own.digest}", max(own.size, ANSWER_MAX), name=label, what="the configuration"
    )
    try:
        value = parse_json(data)
    except ValueError as error:
        raise RegistryError(f"{label}: a configuration that is not JSON") from error
    return {
        "digest": manifest.digest,
        "id": own.digest,
        "size": own.size + sum(blob.size for blob in blobs),
        "layers": [{"digest": f"sha256:{blob.digest}", "size": blob.size} for blob in blobs],
        "config": value if isinstance(value, dict) else {},
    }


def _platforms(top: Manifest) -> list[str]:
    """Those of an index, in its order; attestations are none."""
    value = parse_json(top.data)
    listed = value.get("manifests") if isinstance(value, dict) and top.is_index else None
    found = []
    for one in listed if isinstance(listed, list) else ():
        platform = one.get("platform") if isinstance(one, dict) else None
        if isinstance(platform, dict) and platform.get("os") != "unknown":
            found.append(_platform_text(platform))
    return list(dict.fromkeys(found))


def _platform_text(value: dict[str, Any]) -> str:
    words = (value.get("os"), value.get("architecture"), value.get("variant"))
    return "/".join(str(word) for word in words if word)
