"""`lpmx login` and `logout` at a real registry with TLS, a CA of its own and one user."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from support import mkimage
from support.lpmx import Lpmx
from support.registry import PASSWORD, USER, docker_registry, lone_user, push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("secured")
    archive = folder / "x.tar"
    spec = mkimage.Spec("x:1", [mkimage.layer(mkimage.file("f", b"x"))], {"Cmd": ["/f"]})
    mkimage.docker_archive(archive, [spec])
    with docker_registry(folder / "registry", secured=True) as address:
        push(archive, f"{address}/lab/x:1", "--dest-creds", f"{USER}:{PASSWORD}")
        yield address, folder / "registry" / "ca.crt"


@pytest.fixture
def lpmx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    lone_user(tmp_path / "home", monkeypatch)
    return Lpmx(tmp_path / "store")


def trust(tmp_path: Path, address: str, ca: Path) -> None:
    folder = tmp_path / "home" / ".config/containers/certs.d" / address
    folder.mkdir(parents=True)
    shutil.copy(ca, folder / "ca.crt")


def login(lpmx: Lpmx, address: str, password: str = PASSWORD, *more: str) -> tuple[int, str]:
    words = ("login", "-u", USER, "--password-stdin", *more, address)
    done = lpmx(*words, text=f"{password}\n", check=False)
    return done.returncode, done.stdout + done.stderr


def test_who_is_logged_in_pulls(lpmx: Lpmx, registry: tuple[str, Path], tmp_path: Path) -> None:
    address, ca = registry
    trust(tmp_path, address, ca)
    name = f"{address}/lab/x:1"
    refused = lpmx("pull", name, check=False)
    assert (refused.returncode, f"`lpmx login {address}`" in refused.stderr) == (1, True)
    file = tmp_path / "home" / ".docker/config.json"
    file.parent.mkdir()
    file.write_text('{"HttpHeaders": {"X": "kept"}}')
    status, said = login(lpmx, address)
    assert (status, str(file) in said) == (0, True), said
    assert PASSWORD not in said
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["HttpHeaders"] == {"X": "kept"}
    assert lpmx("login", "--show", address).stdout == f"{address}: {USER}, from {file}\n"
    assert lpmx("pull", name).stdout.startswith("pulled ")
    assert str(file) in lpmx("logout", address).stdout
    again = Lpmx(tmp_path / "other")("pull", name, check=False)
    assert again.returncode == 1
    assert lpmx("logout", address, check=False).returncode == 1


def test_a_wrong_password_is_kept_nowhere(
    lpmx: Lpmx, registry: tuple[str, Path], tmp_path: Path
) -> None:
    address, ca = registry
    trust(tmp_path, address, ca)
    status, said = login(lpmx, address, "wrong")
    assert (status, said) == (1, f"lpmx: {address}: refuses this user and password\n")
    assert not (tmp_path / "home" / ".docker").exists()


def test_a_certificate_of_an_unknown_ca_is_refused_and_where_to_put_it_told(
    lpmx: Lpmx, registry: tuple[str, Path]
) -> None:
    address, _ = registry
    status, said = login(lpmx, address)
    assert status == 1
    assert f"{address}: certificate not trusted" in said
    assert f"certs.d/{address}/ca.crt" in said
    assert login(lpmx, address, PASSWORD, "--tls-verify", "false")[0] == 0


@pytest.mark.parametrize("registry_name", ["https://reg.test", "a/b", ""])
def test_what_is_no_registry_is_said(lpmx: Lpmx, registry_name: str) -> None:
    done = lpmx("login", "-u", "x", "--password-stdin", registry_name, text="p\n", check=False)
    assert (done.returncode, "is not a registry" in done.stderr) == (2, True)


def test_without_a_terminal_nobody_is_asked(lpmx: Lpmx) -> None:
    done = lpmx("login", "reg.test", check=False)
    assert (done.returncode, "--password-stdin" in done.stderr) == (2, True)
