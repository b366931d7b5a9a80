"""trust.yaml and policy.json: whose signature an image needs."""

from __future__ import annotations

import json
import os

import pytest
from support.signing import Signer

from lpmx_runtime.errors import LpmxError
from lpmx_runtime.images.trust import policy
from lpmx_runtime.images.trust.keys import SignatureError, read_key
from lpmx_runtime.images.trust.policy import requirements
from lpmx_runtime.reference import parse_reference


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(policy, "SITE_FILE", str(tmp_path / "site.yaml"))
    monkeypatch.setattr(policy, "SYSTEM_POLICY", str(tmp_path / "policy.json"))
    (tmp_path / "home/.config/lpmx").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def files(home):
    """Keys a, b and c beside the user's file."""
    for name in "abc":
        Signer(home / f".config/lpmx/{name}.pub")
    return home / ".config/lpmx"


def needed(home, name, *verify):
    """The names of the keys of each requirement."""
    found = requirements(parse_reference(name), verify, {"HOME": str(home)})
    return [[os.path.basename(key.path) for key in one.keys] for one in found]


def test_without_files_nothing_is_needed(home):
    assert needed(home, "debian") == []


RULES = """\
quay.io/lab/: {keys: [a.pub]}
quay.io/lab/open/: accept
quay.io/lab/one: {keys: [b.pub, c.pub]}
docker.io/library/: accept
"reg.test:5000": {keys: [c.pub]}
"*": refuse
"""


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("quay.io/lab/tool:1", [["a.pub"]]),
        ("quay.io/lab/deep/tool", [["a.pub"]]),
        ("quay.io/lab/open/tool", []),
        ("quay.io/lab/one@sha256:" + "0" * 64, [["b.pub", "c.pub"]]),
        ("quay.io/lab/one-more", [["a.pub"]]),
        ("debian", []),
        ("docker.io/debian:12", []),
        ("reg.test:5000/x", [["c.pub"]]),
    ],
)
def test_the_longest_beginning_of_the_name_counts(name, keys, home, files):
    (files / "trust.yaml").write_text(RULES)
    assert needed(home, name) == keys


@pytest.mark.parametrize("name", ["quay.io/labor/x", "quay.io/x", "reg.test:5001/x", "user/x"])
def test_what_nothing_else_fits_is_refused_by_the_star(name, home, files):
    (files / "trust.yaml").write_text(RULES)
    with pytest.raises(SignatureError, match=r"refused by .*trust.yaml:6:6 \(\*\)"):
        needed(home, name)


def test_the_user_s_rule_counts_before_the_site_s_of_the_same_name(home, files, tmp_path):
    (tmp_path / "site.yaml").write_text(
        f"quay.io/: refuse\nquay.io/lab/: {{keys: [{files / 'c.pub'}]}}\n"
    )
    (files / "trust.yaml").write_text("quay.io/: {keys: [b.pub]}\n")
    assert needed(home, "quay.io/x") == [["b.pub"]]
    assert needed(home, "quay.io/lab/x") == [["c.pub"]], "the longer one, whoever says it"


def test_verify_is_needed_as_well(home, files):
    (files / "trust.yaml").write_text("quay.io/: {keys: [b.pub]}\n")
    verify = [str(files / "a.pub"), str(files / "c.pub")]
    assert needed(home, "quay.io/x", *verify) == [["a.pub", "c.pub"], ["b.pub"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is not a mapping"),
        ("quay.io/: {key: [a.pub]}", "trust.yaml:1:11: 'quay.io/' is neither accept, refuse nor"),
        ("quay.io/: {keys: []}", "is neither"),
        ("quay.io/: {keys: [a.pub], more: 1}", "is neither"),
        ("quay.io/: {keys: a.pub}", "is neither"),
        ("quay.io/: yes", "is neither"),
        ("lab/x: accept", "trust.yaml:1:1: 'lab/x' does not begin with a registry"),
        ("quay.io/: {keys: [none.pub]}", "none.pub: no such file"),
        ("quay.io/: {keys: [trust.yaml]}", "no public key in PEM"),
        ("a: b: c", "trust.yaml:1"),
    ],
)
def test_a_file_that_is_wrong_is_an_error_with_its_place(text, message, home, files):
    (files / "trust.yaml").write_text(text)
    with pytest.raises(LpmxError) as caught:
        needed(home, "quay.io/lab/x")
    assert message in caught.value.message


# ---- keys


def test_a_short_rsa_key_is_refused(tmp_path):
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = rsa.generate_private_key(65537, 1024).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "k").write_bytes(pem)
    with pytest.raises(SignatureError, match="RSA key of 1024 bits is too short"):
        read_key(str(tmp_path / "k"), "--verify")


def test_a_private_key_is_no_public_one(tmp_path):
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "k").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    with pytest.raises(SignatureError, match="no public key in PEM"):
        read_key(str(tmp_path / "k"), "--verify")


# ---- policy.json

REJECT, ACCEPT = [{"type": "reject"}], [{"type": "insecureAcceptAnything"}]


@pytest.mark.parametrize(
    ("value", "name", "rejected"),
    [
        ({"default": REJECT}, "debian", True),
        ({"default": ACCEPT}, "debian", False),
        ({"default": REJECT, "transports": {"docker": {"": ACCEPT}}}, "debian", False),
        ({"default": REJECT, "transports": {"docker": {"docker.io": ACCEPT}}}, "debian", False),
        ({"default": ACCEPT, "transports": {"docker": {"quay.io/a": REJECT}}}, "quay.io/a/b", True),
        (
            {"default": ACCEPT, "transports": {"docker": {"quay.io/a": REJECT}}},
            "quay.io/ab",
            False,
        ),
        (
            {
                "default": ACCEPT,
                "transports": {"docker": {"quay.io": REJECT, "quay.io/a/b": ACCEPT}},
            },
            "quay.io/a/b:1",
            False,
        ),
        (
            {"default": ACCEPT, "transports": {"docker": {"quay.io/a:1": REJECT}}},
            "quay.io/a:1",
            True,
        ),
        ({"default": ACCEPT, "transports": {"docker": {"*.test": REJECT}}}, "a.b.test:1/x", True),
        ({"default": ACCEPT, "transports": {"atomic": {"": REJECT}}}, "debian", False),
        ({"default": [{"type": "signedBy", "keyType": "GPGKeys"}]}, "debian", False),
    ],
)
def test_what_policy_json_rejects_is_refused(value, name, rejected, home, tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps(value))
    if rejected:
        with pytest.raises(SignatureError, match=r"rejected by .*policy\.json"):
            needed(home, name)
    else:
        assert needed(home, name) == []


def test_the_user_s_policy_json_is_the_only_one(home, tmp_path):
    (tmp_path / "policy.json").write_text(json.dumps({"default": REJECT}))
    own = home / ".config/containers"
    own.mkdir()
    (own / "policy.json").write_text(json.dumps({"default": ACCEPT}))
    assert needed(home, "debian") == []
    (own / "policy.json").write_text("{")
    with pytest.raises(LpmxError, match="not JSON"):
        needed(home, "debian")
