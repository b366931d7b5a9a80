"""Pulls from a real registry that takes the tokens of a token service."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support import mkimage
from support.lpmx import Lpmx
from support.registry import FaultProxy, Rule, docker_registry, lone_user, push
from support.tokens import LEEWAY, TokenServer, User

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 1_500_000  # of a layer
ADA = User("s3cret", {"lab/*": "pull,push", "open/*": "pull,push"})
ALL = User("", {"open/*": "pull"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    with TokenServer(tmp_path_factory.mktemp("tokens") / "service") as server:
        server.begin(ada=ADA, anonymous=ALL)
        yield server


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, server: TokenServer) -> Iterator[FaultProxy]:
    """With lab/x:1 for ada alone, and open/x:1 for all."""
    folder = tmp_path_factory.mktemp("registry")
    layers = [mkimage.layer(mkimage.file(f"f{n}", os.urandom(SIZE))) for n in range(3)]
    archive = folder / "x.tar"
    mkimage.docker_archive(archive, [mkimage.Spec("x:1", layers, {"Cmd": ["/f0"]})])
    with (
        docker_registry(folder / "registry", tokens=server) as address,
        FaultProxy(address) as proxy,
    ):
        for name in ("lab", "open"):
            push(archive, f"{address}/{name}/x:1", "--dest-creds", f"ada:{ADA.password}")
        yield proxy


@pytest.fixture
def lpmx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: TokenServer, registry: FaultProxy
) -> Lpmx:
    """With an empty store and a home without credentials."""
    lone_user(tmp_path / "home", monkeypatch)
    server.begin(ada=ADA, anonymous=ALL)
    registry.begin()
    return Lpmx(tmp_path / "store")


def known(user: str = "ada", password: str = ADA.password) -> dict[str, str]:
    return {"LPMX_REGISTRY_USER": user, "LPMX_REGISTRY_PASSWORD": password}


def test_token_is_kept_by_scope(lpmx: Lpmx, server: TokenServer, registry: FaultProxy) -> None:
    """One for each repository, however many requests there are to it."""
    names = [f"{registry.address}/{part}/x:1" for part in ("lab", "open")]
    lpmx("pull", *names, env=known())
    assert server.scopes() == ["repository:lab/x:pull", "repository:open/x:pull"]
    assert {one.user for one in server.grants} == {"ada"}
    refused = [one for one in registry.requests if not one.authorization]
    assert len(refused) == 2, "the first request to each"


def test_expired_token_in_a_layer_is_renewed(
    lpmx: Lpmx, server: TokenServer, registry: FaultProxy
) -> None:
    """Tokens end while the first layer is on its way: the cut one goes on by Range with another."""
    server.begin(3 - LEEWAY, ada=ADA)
    registry.begin(
        Rule("GET .*/blobs/", "pass", times=1),  # the configuration
        Rule("GET .*/blobs/", "cut", times=1, rate=300_000, after=1_200_000),
    )
    lpmx("pull", "--jobs", "1", f"{registry.address}/lab/x:1", env=known())
    assert len(server.scopes()) >= 2
    assert set(server.scopes()) == {"repository:lab/x:pull"}
    again = [one for one in registry.requests if one.range]
    assert [one.range for one in again] == ["bytes=1200000-"] * 2, "refused, then granted"
    assert Counter(registry.blobs()).most_common(1)[0][1] == 3


def test_stale_credentials_do_not_break_a_public_pull(
    lpmx: Lpmx, server: TokenServer, registry: FaultProxy
) -> None:
    done = lpmx("pull", f"{registry.address}/open/x:1", env=known(password="of last year"))
    warnings = [line for line in done.stderr.splitlines() if not line.startswith("layer ")]
    host = registry.address
    assert warnings == [
        f"lpmx: {host} refuses the credentials of LPMX_REGISTRY_USER (`lpmx logout {host}`)"
    ]
    assert [(one.user, one.status) for one in server.grants] == [("ada", 401), ("", 200)]


@pytest.mark.parametrize(
    ("env", "message", "hint"),
    [
        ({}, "{host} wants credentials", "`lpmx login {host}`"),
        (
            known(password="wrong"),
            "{host} refuses the credentials of LPMX_REGISTRY_USER",
            "`lpmx login {host}` again",
        ),
        (
            known("bob", "b"),
            "{host} refuses the credentials of LPMX_REGISTRY_USER",
            "`lpmx login {host}` again",
        ),
    ],
)
def test_a_token_for_less_than_was_asked_for_is_a_refusal_in_one_line(
    env: dict[str, str],
    message: str,
    hint: str,
    lpmx: Lpmx,
    server: TokenServer,
    registry: FaultProxy,
) -> None:
    """The service grants bob and anonymous users nothing, without an error."""
    server.begin(ada=ADA, anonymous=ALL, bob=User("b"))
    host, name = registry.address, f"{registry.address}/lab/x:1"
    done = lpmx("pull", name, env=env, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        f"lpmx: {name}: not found, or not for you: {message.format(host=host)}",
        f"  ({hint.format(host=host)})",
    ]
    assert json.loads(lpmx("--json", "images").stdout) == []
    assert len(registry.requests) <= 6, "no loop"


def test_login_keeps_the_identity_token_and_pulls_use_it(
    lpmx: Lpmx, server: TokenServer, registry: FaultProxy, tmp_path: Path
) -> None:
    words = ("login", "-u", "ada", "--password-stdin", registry.address)
    lpmx(*words, text=f"{ADA.password}\n")
    kept = json.loads((tmp_path / "home/.docker/config.json").read_text())["auths"]
    entry = kept[registry.address]
    assert server.refresh[entry["identitytoken"]] == "ada"
    assert ADA.password not in json.dumps(kept)
    assert server.scopes() == []
    server.grants.clear()
    lpmx("pull", f"{registry.address}/lab/x:1")
    assert [(one.method, one.user, one.authorization) for one in server.grants] == [
        ("POST", "ada", "")
    ]
    lpmx("logout", registry.address)
    assert lpmx("pull", f"{registry.address}/lab/x:1", check=False).returncode == 1


def test_login_with_a_wrong_password_keeps_nothing(
    lpmx: Lpmx, registry: FaultProxy, tmp_path: Path
) -> None:
    words = ("login", "-u", "ada", "--password-stdin", registry.address)
    done = lpmx(*words, text="wrong\n", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        f"lpmx: {registry.address}: refuses this user and password\n",
    )
    assert not (tmp_path / "home/.docker").exists()


def test_no_password_goes_to_a_token_service_without_tls(
    lpmx: Lpmx, server: TokenServer, tmp_path: Path
) -> None:
    """A registry with TLS names a service without: nobody is asked there, with or without cause."""
    with docker_registry(tmp_path / "registry", tls=True, tokens=server) as address:
        words = ("--tls-verify", "false", f"{address}/lab/x:1")
        done = lpmx("pull", *words, env=known(), check=False)
    assert done.returncode == 1
    assert f"{address}: wants the password sent to {server.realm}" in done.stderr
    assert server.grants == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "an answer that is no token"),
        (b"[1]", "an answer that is no token"),
        (b'{"token": "x", "expires_in": "soon"}', "an answer that is no token"),
        (b" " * ((1 << 20) + 1), "the token is larger than 1048576 bytes"),
    ],
)
def test_what_is_no_token_service_is_refused(
    body: bytes, message: str, lpmx: Lpmx, registry: FaultProxy
) -> None:
    with FaultProxy(registry.upstream) as service:
        service.begin(Rule("", "status", code=200, body=body))
        challenge = f'Bearer realm="http://{service.address}/token",service="x"'
        headers = {"WWW-Authenticate": challenge}
        registry.begin(Rule("", "status", code=401, headers=headers))
        done = lpmx("pull", f"{registry.address}/lab/x:1", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"lpmx: {service.address}: {message}\n"
