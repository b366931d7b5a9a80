"""What an image may be called."""

from __future__ import annotations

import pytest

from lpmx_runtime.errors import UsageError
from lpmx_runtime.reference import parse_reference

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("debian", "debian:latest"),
        ("debian:12", "debian:12"),
        ("library/debian:12", "debian:12"),
        ("docker.io/library/debian:12", "debian:12"),
        ("index.docker.io/library/debian:12", "debian:12"),
        ("biocontainers/bwa:v0.7.17_cv1", "biocontainers/bwa:v0.7.17_cv1"),
        (
            "quay.io/biocontainers/bwa:0.7.17--h5bf99c6_8",
            "quay.io/biocontainers/bwa:0.7.17--h5bf99c6_8",
        ),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x", "localhost:5000/x:latest"),
        ("[::1]:5000/x:1", "[::1]:5000/x:1"),
        (f"debian@{DIGEST}", f"debian@{DIGEST}"),
        (f"debian:12@{DIGEST}", f"debian:12@{DIGEST}"),
    ],
)
def test_a_name_has_one_canonical_spelling(text: str, canonical: str) -> None:
    assert str(parse_reference(text)) == canonical
    assert str(parse_reference(canonical)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "Debian",
        "a b",
        "a/../b",
        "/a",
        "a//b",
        "a:b:c/d",
        "a:",
        "a@sha256:12",
        "-a",
        "a\n",
        "a:é",
    ],
)
def test_what_is_no_name_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert caught.value.hint
    assert "\n" not in caught.value.message
