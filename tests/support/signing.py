"""Signatures as cosign writes them with a key: the classic form and the bundle of cosign 3."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from support.upload import EMPTY, image_manifest, index, put_blob, put_manifest

if TYPE_CHECKING:
    from pathlib import Path

PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNED = "https://sigstore.dev/cosign/sign/v1"


class Signer:
    """One with a key; `public` is the file of its other half. @kind: ecdsa, rsa or ed25519."""

    def __init__(self, path: Path, kind: str = "ecdsa") -> None:
        pytest.importorskip("cryptography")
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        made: Any
        if kind == "ecdsa":
            made = ec.generate_private_key(ec.SECP256R1())
        elif kind == "rsa":
            made = rsa.generate_private_key(65537, 2048)
        else:
            made = ed25519.Ed25519PrivateKey.generate()
        self._key = made
        self.public = path
        pem = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        path.write_bytes(pem)

    def sign(self, message: bytes) -> str:
        """In base64."""
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
        from cryptography.hazmat.primitives.hashes import SHA256

        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            made = self._key.sign(message, ec.ECDSA(SHA256()))
        elif isinstance(self._key, rsa.RSAPrivateKey):
            made = self._key.sign(message, padding.PKCS1v15(), SHA256())
        else:
            made = self._key.sign(message)
        return base64.b64encode(made).decode()


def payload(digest: str, *, kind: str = "cosign container image signature") -> bytes:
    image = {"docker-manifest-digest": digest}
    identity = {"docker-reference": "reg.test/lab/x"}
    critical = {"identity": identity, "image": image, "type": kind}
    return json.dumps({"critical": critical, "optional": None}).encode()


def bundle(signer: Signer, digest: str, *, predicate: str = SIGNED) -> bytes:
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": predicate,
        "predicate": {},
    }
    kind, data = "application/vnd.in-toto+json", json.dumps(statement).encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(data), data)
    envelope = {
        "payload": base64.b64encode(data).decode(),
        "payloadType": kind,
        "signatures": [{"sig": signer.sign(signed)}],
    }
    material = {"publicKey": {"hint": "lab"}}
    value = {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope}
    return json.dumps(value).encode()


def sign_classic(place: str, digest: str, *signers: Signer, data: bytes | None = None) -> None:
    """Put the signatures of @digest into repository @place, as a tag."""
    data = payload(digest) if data is None else data
    layers = [
        put_blob(
            place, data, PAYLOAD, annotations={"dev.cosignproject.cosign/signature": one.sign(data)}
        )
        for one in signers
    ]
    config = put_blob(place, b"{}", "application/vnd.oci.image.config.v1+json")
    put_manifest(place, image_manifest(config, layers), f"{digest.replace(':', '-')}.sig")


def sign_bundle(place: str, digest: str, signer: Signer, *, predicate: str = SIGNED) -> None:
    """Put the bundle that signs @digest into repository @place, listed by a tag."""
    layer = put_blob(place, bundle(signer, digest, predicate=predicate), BUNDLE)
    config = put_blob(place, b"{}", EMPTY)
    subject = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest}
    value = image_manifest(config, [layer], artifactType=BUNDLE, subject={**subject, "size": 1})
    entry = put_manifest(place, value)
    listed = index([{**entry, "artifactType": BUNDLE}])
    put_manifest(place, listed, digest.replace(":", "-"), listed["mediaType"])
