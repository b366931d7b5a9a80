"""Public keys in PEM files, and the signatures that they check: ECDSA, RSA, Ed25519.

As sigstore's libraries with a key and SHA-256: ECDSA signatures in DER, RSA by PKCS #1 v1.5,
Ed25519 over the message itself. `cryptography` does the mathematics; it is an extra, `[verify]`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from lpmx_runtime.errors import LpmxError

__all__ = ["Key", "SignatureError", "read_key"]

SIZE_MAX = 1 << 16
RSA_LEAST = 2048  # bits


class SignatureError(LpmxError):
    """An image is not signed as it has to be, or its signature cannot be looked at."""


@dataclass(frozen=True)
class Key:
    """A public key; @fingerprint is the SHA-256 of its DER in hex."""

    path: str
    fingerprint: str
    _public: Any = field(repr=False, compare=False)

    def fits(self, signature: bytes, message: bytes) -> bool:
        """Was @signature made over @message by the owner of the key?"""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            if isinstance(self._public, ec.EllipticCurvePublicKey):
                self._public.verify(signature, message, ec.ECDSA(SHA256()))
            elif isinstance(self._public, rsa.RSAPublicKey):
                self._public.verify(signature, message, padding.PKCS1v15(), SHA256())
            else:
                self._public.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def read_key(path: str, why: str) -> Key:
    """The public key in PEM file @path; @why names what asks for it, for messages.

    Raises SignatureError when it cannot be read or is no key of a kind that is known here.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            PublicFormat,
            load_pem_public_key,
        )
    except ImportError as error:
        raise SignatureError(
            f"{why}: signatures need the package cryptography, which is not installed",
            hint="`pip install 'lpmx-kernels[verify]'`",
        ) from error
    data = _read(path, why)
    try:
        public = load_pem_public_key(data)
    except Exception as error:  # several kinds, by the version of cryptography
        raise SignatureError(
            f"{why}: {path}: no public key in PEM", hint="`cosign public-key` writes one"
        ) from error
    if isinstance(public, rsa.RSAPublicKey) and public.key_size < RSA_LEAST:
        raise SignatureError(f"{why}: {path}: an RSA key of {public.key_size} bits is too short")
    known = (ec.EllipticCurvePublicKey, rsa.RSAPublicKey, ed25519.Ed25519PublicKey)
    if not isinstance(public, known):
        raise SignatureError(f"{why}: {path}: neither an ECDSA, an RSA nor an Ed25519 key")
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Key(path, hashlib.sha256(der).hexdigest(), public)


def _read(path: str, why: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise SignatureError(f"{why}: {path}: {(error.strerror or '').lower()}") from error
    if len(data) > SIZE_MAX:
        raise SignatureError(f"{why}: {path}: too large for a key")
    return data
