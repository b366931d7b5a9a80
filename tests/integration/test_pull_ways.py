"""Ways to a registry: certificates of a site's CA, certificates of clients, web proxies."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from support import mkimage
from support.lpmx import Lpmx
from support.registry import docker_registry, free_port, issue, make_ca, push
from support.webproxy import WebProxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "registry.lab.test"  # a name that no name service has


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a registry, with its CA."""
    folder = tmp_path_factory.mktemp("ways") / "registry"
    folder.mkdir()
    make_ca(folder, HOST)
    spec = mkimage.Spec("x:1", [mkimage.layer(mkimage.file("f", b"x" * 9000))], {"Cmd": ["/f"]})
    mkimage.docker_archive(folder / "x.tar", [spec])
    return folder


@pytest.fixture(scope="module")
def secure(folder: Path) -> Iterator[str]:
    with docker_registry(folder, tls=True) as address:
        push(folder / "x.tar", f"{address}/lab/x:1")
        yield address


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("plain") / "registry") as address:
        push(folder / "x.tar", f"{address}/lab/x:1")
        yield address


@pytest.fixture
def lpmx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "REGISTRY_AUTH_FILE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return Lpmx(tmp_path / "store")


def certificates(tmp_path: Path, host: str) -> Path:
    """The user's folder of certificates for @host."""
    folder = tmp_path / "home/.config/containers/certs.d" / host
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# ---- certificates


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_ca_of_the_site_in_a_variable(
    variable: str, lpmx: Lpmx, secure: str, folder: Path
) -> None:
    name = f"{secure}/lab/x:1"
    assert "certificate not trusted" in lpmx("pull", name, check=False).stderr
    lpmx("pull", name, env={variable: str(folder / "ca.crt")})


def test_a_registry_that_wants_a_certificate_of_its_clients(
    lpmx: Lpmx, folder: Path, tmp_path: Path
) -> None:
    issue(folder, "client", "ada")
    with docker_registry(folder, clients=True) as address:
        name = f"{address}/lab/x:1"
        place = certificates(tmp_path, address)
        shutil.copy(folder / "ca.crt", place / "ca.crt")
        refused = lpmx("pull", name, check=False)
        message, hint = refused.stderr.splitlines()
        assert message.startswith(f"lpmx: {address}: wants a certificate of its clients: ")
        assert f"certs.d/{address}/client.cert" in hint
        shutil.copy(folder / "client.crt", place / "client.cert")
        alone = lpmx("pull", name, check=False)
        assert f"{place}/client.cert: no certificate with its key: " in alone.stderr
        shutil.copy(folder / "client.key", place / "client.key")
        lpmx("pull", name)
        (place / "client.cert").unlink()
        lone = lpmx("pull", name, check=False)
        assert f"{place}/client.key: a key without its certificate" in lone.stderr


def test_a_file_of_certificates_that_is_none_is_named(
    lpmx: Lpmx, secure: str, tmp_path: Path
) -> None:
    place = certificates(tmp_path, secure)
    (place / "ca.crt").write_text("no certificate\n")
    done = lpmx("pull", f"{secure}/lab/x:1", check=False)
    assert (done.returncode, f"{place}/ca.crt: no certificates: " in done.stderr) == (1, True)


# ---- proxies


def test_https_goes_through_the_proxy(
    lpmx: Lpmx, secure: str, folder: Path, tmp_path: Path
) -> None:
    """The registry's name is resolved by the proxy alone; its certificate counts."""
    with WebProxy(secure) as proxy:
        env = {"https_proxy": f"http://{proxy.address}"}
        refused = lpmx("pull", f"{HOST}/lab/x:1", env=env, check=False)
        assert f"lpmx: {HOST}: certificate not trusted: " in refused.stderr
        assert f"certs.d/{HOST}/ca.crt" in refused.stderr
        shutil.copy(folder / "ca.crt", certificates(tmp_path, HOST) / "ca.crt")
        lpmx("pull", f"{HOST}/lab/x:1", env=env)
        assert set(proxy.asked) == {f"{HOST}:443"}


def test_a_proxy_that_wants_a_password_gets_the_one_in_its_address(
    lpmx: Lpmx, secure: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "ca.crt", certificates(tmp_path, f"{HOST}:5000") / "ca.crt")
    name = f"{HOST}:5000/lab/x:1"
    with WebProxy(secure, user="site:p@ss") as proxy:
        env = {"HTTPS_PROXY": f"http://site:p%40ss@{proxy.address}"}
        lpmx("pull", name, env=env)
        assert set(proxy.asked) == {f"{HOST}:5000"}
        other = Lpmx(tmp_path / "other")
        env = {"HTTPS_PROXY": f"http://site:wrong-secret@{proxy.address}"}
        done = other("pull", name, env=env, check=False)
    assert (done.returncode, "407" in done.stderr) == (1, True), done.stderr
    assert "wrong-secret" not in done.stderr


def test_plain_http_goes_through_the_proxy_where_it_is_asked_for(lpmx: Lpmx, plain: str) -> None:
    with WebProxy(plain) as proxy:
        env = {"http_proxy": f"http://{proxy.address}"}
        lpmx("pull", "--plain-http", f"{HOST}:5000/lab/x:1", env=env)
        assert set(proxy.asked) == {f"{HOST}:5000"}


@pytest.mark.parametrize("no_proxy", [HOST, ".lab.test", "lab.test,other.test", "*"])
def test_no_proxy_names_what_is_reached_without_one(no_proxy: str, lpmx: Lpmx, secure: str) -> None:
    with WebProxy(secure) as proxy:
        env = {"https_proxy": f"http://{proxy.address}", "no_proxy": no_proxy}
        done = lpmx("pull", f"{HOST}/lab/x:1", env=env, check=False)
        assert (done.returncode, f"{HOST}: cannot be reached" in done.stderr) == (1, True)
        assert proxy.asked == []


def test_this_machine_is_reached_without_a_proxy(lpmx: Lpmx, plain: str) -> None:
    env = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    lpmx("pull", f"{plain}/lab/x:1", env=env)


def test_a_proxy_that_is_not_there_is_named(lpmx: Lpmx) -> None:
    address = f"127.0.0.1:{free_port()}"
    env = {"https_proxy": f"http://{address}"}
    done = lpmx("pull", f"{HOST}/lab/x:1", env=env, check=False)
    assert done.returncode == 1
    assert f"{HOST}: cannot be reached through the proxy http://{address}: " in done.stderr
