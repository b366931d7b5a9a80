"""`lpmx-docker manifest inspect`: a manifest or index as a registry has it, nothing pulled."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from lpmx_galaxy.frontend.goflags import Flag, parse, table
from lpmx_runtime.errors import LpmxError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.images.registry.places import Access
    from lpmx_runtime.images.registry.wire.client import Manifest, Repository
    from lpmx_runtime.reference import Reference

__all__ = ["manifest_command"]

NAME = "lpmx-docker manifest inspect"
_FLAGS = table([
    Flag("verbose", ("-v", "--verbose"), takes_value=False),
    Flag("insecure", ("--insecure",), takes_value=False),
    Flag("tls-verify", ("--tls-verify",), takes_value=False),
    Flag("authfile", ("--authfile",)),
])  # fmt: skip


def manifest_command(words: Sequence[str]) -> int:
    """Print it: @words without the `manifest` before them."""
    if not words or words[0] != "inspect":
        raise UsageError(
            f"manifest {' '.join(words[:1])}: there is no such command here",
            hint="`lpmx-docker manifest` has inspect",
        )
    parsed = parse(words[1:], _FLAGS, command=NAME, interspersed=True)
    if len(parsed.rest) != 1:
        raise UsageError(f"{NAME}: name one image")
    from lpmx_runtime.images.registry.places import Access, image_reference

    insecure = parsed.is_on("insecure") or parsed.last("tls-verify") == "false"
    reference = image_reference(parsed.rest[0])
    place, top = _fetch(reference, Access(parsed.last("authfile"), verify=not insecure))
    value: Any = json.loads(top.data)
    if parsed.is_on("verbose"):
        value = _described(reference, place, top, value)
    print(json.dumps(value, indent="\t", ensure_ascii=False))
    return 0


def _fetch(reference: Reference, access: Access) -> tuple[Repository, Manifest]:
    from lpmx_runtime.images.registry.places import open_image
    from lpmx_runtime.images.registry.wire.errors import DeniedError

    try:
        places, top = open_image(reference, access)
    except DeniedError as error:
        raise LpmxError(f"no such manifest: {error.message}", hint=error.hint) from error
    return places[0], top


def _described(reference: Reference, place: Repository, top: Manifest, value: Any) -> Any:
    """As docker's --verbose: an object for a manifest, a list of them for an index."""
    if not top.is_index:
        return _entry(reference, top, {})
    listed = value.get("manifests")
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    return [_entry(reference, place.manifest(str(row.get("digest"))), row) for row in rows]


def _entry(reference: Reference, manifest: Manifest, row: dict[str, Any]) -> dict[str, Any]:
    docker = manifest.media_type.startswith("application/vnd.docker.")
    sign = f"@{manifest.digest}" if row else ""
    full = f"{reference.registry}/{reference.repository}"
    asked = f":{reference.tag}" if reference.tag else ""
    descriptor: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.data),
    }
    if "platform" in row:
        descriptor["platform"] = row["platform"]
    return {
        "Ref": f"{full}{asked}{sign or (f'@{reference.digest}' if reference.digest else '')}",
        "Descriptor": descriptor,
        "Raw": base64.b64encode(manifest.data).decode("ascii"),
        "SchemaV2Manifest" if docker else "OCIManifest": json.loads(manifest.data),
    }
