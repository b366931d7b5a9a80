"""Which variables are kept out of a kernel.json that all may read."""

from __future__ import annotations

import pytest

from lpmx_kernels.spec.secrets import looks_secret


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_TOKEN", "x"), ("PGPASSWORD", "x"), ("DB_PASS", "x"), ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_ACCESS_KEY_ID", "x"), ("OPENAI_API_KEY", "x"), ("client_secret", "x"), ("KEY", "x"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "x"), ("HTTP_PROXY", "http://me:word@proxy:3128"),
        ("X", "ghp_0123456789abcdef"), ("X", "-----BEGIN RSA PRIVATE KEY-----"),
    ],
)  # fmt: skip
def test_secrets_are_seen(name: str, value: str) -> None:
    assert looks_secret(name, value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OMP_NUM_THREADS", "4"), ("PATH", "/usr/bin:/bin"), ("HTTP_PROXY", "http://proxy:3128"),
        ("KEYBOARD", "us"), ("MONKEY", "1"), ("COMPASS", "n"), ("R_PROFILE_USER", ".Rprofile"),
        ("AUTHOR", "me"), ("DATA", "https://example.org/a:b@c"),
    ],
)  # fmt: skip
def test_others_are_not(name: str, value: str) -> None:
    assert not looks_secret(name, value)
