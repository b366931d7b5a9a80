"""The two forms of signatures that cosign writes with a key.

Classic: a payload "simple signing" (containers-signature(5)) names the manifest's digest, and its
signature is beside it. Bundle (cosign 3): a Sigstore bundle whose DSSE envelope (protocol.md of
secure-systems-lab/dsse) holds an in-toto statement with the digest as its subject. What else a
bundle has, certificates and entries of a transparency log, is not looked at: the key counts.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from lpmx_runtime.text import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .keys import Key

__all__ = [
    "BUNDLE",
    "PAYLOAD",
    "SIGNATURE",
    "signers_of_bundle",
    "signers_of_payload",
]

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"  # annotation of a payload: base64
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_TYPE = "cosign container image signature"
_STATEMENT = "application/vnd.in-toto+json"
_PREDICATE = "https://sigstore.dev/cosign/sign/v1"  # others say something else about the image
_SIGNATURES_MAX = 100


def signers_of_payload(
    payload: bytes, signature: str, digest: str, keys: Sequence[Key]
) -> set[Key]:
    """Those of @keys by which a payload for manifest @digest (`sha256:HEX`) is signed."""
    critical = _get(_json(payload), "critical")
    if _get(critical, "type") != _TYPE:
        return set()
    if _get(critical, "image", "docker-manifest-digest") != digest:
        return set()
    return _signers([signature], payload, keys)


def signers_of_bundle(bundle: bytes, digest: str, keys: Sequence[Key]) -> set[Key]:
    """Those of @keys by which a bundle for manifest @digest (`sha256:HEX`) is signed."""
    envelope = _get(_json(bundle), "dsseEnvelope")
    payload = _decode(_get(envelope, "payload"))
    if payload is None or _get(envelope, "payloadType") != _STATEMENT:
        return set()
    statement = _json(payload)
    if _get(statement, "predicateType") != _PREDICATE:
        return set()
    subjects = _get(statement, "subject")
    if not isinstance(subjects, list):
        return set()
    if all(f"sha256:{_get(one, 'digest', 'sha256')}" != digest for one in subjects):
        return set()
    listed = _get(envelope, "signatures")
    signatures = [_get(one, "sig") for one in listed] if isinstance(listed, list) else []
    return _signers(signatures[:_SIGNATURES_MAX], _pae(_STATEMENT, payload), keys)


def _pae(kind: str, payload: bytes) -> bytes:
    """What is signed of an envelope: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def _signers(signatures: Iterable[Any], message: bytes, keys: Sequence[Key]) -> set[Key]:
    decoded = [data for text in signatures if (data := _decode(text))]
    return {key for key in keys if any(key.fits(data, message) for data in decoded)}


def _decode(text: Any) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def _json(data: bytes) -> Any:
    try:
        return parse_json(data)
    except ValueError:
        return None


def _get(value: Any, *names: str) -> Any:
    """The value at a path of keys; None where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
