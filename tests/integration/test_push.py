"""`lpmx push` to real registries: what arrives, what is kept, what breaks on the way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest
from support import mkimage
from support.lpmx import Lpmx, run
from support.registry import PASSWORD, USER, docker_registry, push
from support.uploads import BreakingLine, ParticularRegistry

from lpmx_runtime.images.load import load
from lpmx_runtime.images.registry import upload
from lpmx_runtime.images.registry.places import Access
from lpmx_runtime.images.registry.push import push as push_image
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 3 << 20


@pytest.fixture(scope="module")
def spec() -> mkimage.Spec:
    layers = [
        mkimage.layer(mkimage.file(f"f{n}", os.urandom(SIZE)), mkimage.file(f"g{n}", b"small\n"))
        for n in range(2)
    ]
    return mkimage.Spec("lab/x:1", layers, {"Cmd": ["/f0"]})


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, spec: mkimage.Spec) -> Path:
    return mkimage.docker_archive(tmp_path_factory.mktemp("archive") / "x.tar", [spec])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry") / "data") as address:
        yield address


@pytest.fixture
def lpmx(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for variable in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    opened = Lpmx(tmp_path / "store")
    opened("load", str(archive))
    return opened


def remote_digest(name: str) -> str:
    """The digest that the registry has for a name, by another client."""
    if not shutil.which("skopeo"):
        pytest.skip("no skopeo on this machine (Debian: skopeo)")
    shown = run(["skopeo", "inspect", "--tls-verify=false", "--raw", f"docker://{name}"]).stdout
    return f"sha256:{hashlib.sha256(shown.encode()).hexdigest()}"


def test_what_is_pushed_is_read_by_others(
    lpmx: Lpmx, registry: str, spec: mkimage.Spec, tmp_path: Path
) -> None:
    name = f"{registry}/lab/read:1"
    done = lpmx("push", "lab/x:1", name)
    assert done.stdout == f"{name}@{remote_digest(name)}\n"
    assert len(done.stderr.splitlines()) == 3  # two layers and the configuration
    run([
        "skopeo", "copy", "-q", "--insecure-policy", "--src-tls-verify=false",
        f"docker://{name}", f"oci-archive:{tmp_path}/read.tar:x:1",
    ])  # fmt: skip
    other = Lpmx(tmp_path / "other")
    other("load", str(tmp_path / "read.tar"))
    (row,) = json.loads(other("--json", "images").stdout)
    assert row["id"] == spec.id
    again = Lpmx(tmp_path / "again")
    again("pull", name)
    (row,) = json.loads(again("--json", "images").stdout)
    assert row["id"] == spec.id


@pytest.mark.parametrize("program", ["podman", "buildah"])
def test_podman_and_buildah_pull_it(
    lpmx: Lpmx, registry: str, spec: mkimage.Spec, tmp_path: Path, program: str
) -> None:
    if not shutil.which(program):
        pytest.skip(f"no {program} on this machine (Debian: {program})")
    name = f"{registry}/lab/{program}:1"
    lpmx("push", "lab/x:1", name)
    with tempfile.TemporaryDirectory(prefix="p") as short:  # a runroot has at most 50 characters
        places = ["--root", tmp_path / "root", "--runroot", short, "--storage-driver", "vfs"]
        done = run([program, *places, "pull", "-q", "--tls-verify=false", name], check=False)
    if done.returncode and "sub" in done.stderr:
        pytest.skip("no subordinate ids for this user")
    assert done.stdout.strip() == spec.id, done.stderr


def test_the_same_image_has_the_same_digest_everywhere(
    lpmx: Lpmx, registry: str, archive: Path, tmp_path: Path
) -> None:
    first = json.loads(lpmx("--json", "push", "lab/x:1", f"{registry}/lab/same:1").stdout)
    again = json.loads(lpmx("--json", "push", "lab/x:1", f"{registry}/lab/same:1").stdout)
    assert (first["sent"], again["sent"], again["present"]) == (3, 0, 3)
    other = Lpmx(tmp_path / "other")
    other("load", str(archive))
    third = json.loads(other("--json", "push", "lab/x:1", f"{registry}/lab/same:2").stdout)
    assert first["digest"] == again["digest"] == third["digest"]


def test_push_of_a_pulled_image_keeps_its_digest(
    lpmx: Lpmx, registry: str, archive: Path, tmp_path: Path
) -> None:
    source = f"{registry}/lab/source:1"
    push(archive, source)  # by skopeo, with docker's types
    digest = remote_digest(source)
    store = Lpmx(tmp_path / "pulled")
    store("pull", source)
    mounted = json.loads(store("--json", "push", source, f"{registry}/lab/target:1").stdout)
    assert (mounted["digest"], mounted["mounted"], mounted["sent"]) == (digest, 3, 0)
    with docker_registry(tmp_path / "second") as other:
        sent = json.loads(store("--json", "push", source, f"{other}/far/away:2").stdout)
        assert (sent["digest"], sent["sent"]) == (digest, 3)
        assert remote_digest(f"{other}/far/away:2") == digest
    assert list((store.home / "downloads").iterdir()) == []
    assert list((store.home / "tmp").iterdir()) == []


def test_a_source_that_has_gone_costs_the_digest_and_is_reported(
    registry: str, archive: Path, tmp_path: Path
) -> None:
    store = Lpmx(tmp_path / "pulled")
    with docker_registry(tmp_path / "gone") as gone:
        push(archive, f"{gone}/lab/x:1")
        digest = remote_digest(f"{gone}/lab/x:1")
        store("pull", f"{gone}/lab/x:1")
    done = store("push", f"{gone}/lab/x:1", f"{registry}/lab/later:1")
    assert "the layers are compressed again, so the digest changes" in done.stderr
    assert digest not in done.stdout
    assert done.stdout == f"{registry}/lab/later:1@{remote_digest(f'{registry}/lab/later:1')}\n"


def test_the_docker_front_end_pushes_in_docker_s_words(
    lpmx: Lpmx, registry: str, store: Lpmx
) -> None:
    script = os.fspath(store.command[0]) + "-docker"
    name = f"{registry}/lab/docker:7"
    lpmx("tag", "lab/x:1", name)
    done = run([script, "push", name], env=lpmx.environment())
    first, last = done.stdout.splitlines()
    assert first == f"The push refers to repository [{registry}/lab/docker]"
    assert last.startswith(f"7: digest: {remote_digest(name)} size: ")
    done = run([script, "push", f"{registry}/no/such:1"], env=lpmx.environment(), check=False)
    assert done.returncode == 1
    assert "An image does not exist locally with the tag" in done.stderr


@pytest.mark.parametrize("times", [1, 3])
def test_an_upload_survives_a_broken_line(
    lpmx: Lpmx, registry: str, spec: mkimage.Spec, tmp_path: Path, times: int
) -> None:
    with BreakingLine(registry, after=1 << 20, times=times) as line:
        name = f"{line.address}/lab/broken{times}:1"
        done = lpmx("push", "--jobs", "1", "lab/x:1", name)
        assert line.broken == times
    assert "@sha256:" in done.stdout
    other = Lpmx(tmp_path / "other")
    other("pull", f"{registry}/lab/broken{times}:1")
    (row,) = json.loads(other("--json", "images").stdout)
    assert row["id"] == spec.id


def test_a_line_that_always_breaks_is_one_error(lpmx: Lpmx, registry: str) -> None:
    with BreakingLine(registry, after=1 << 20, times=1000) as line:
        done = lpmx("push", "lab/x:1", f"{line.address}/lab/never:1", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("lpmx: ")
    assert "Traceback" not in done.stderr
    assert list((lpmx.home / "tmp").iterdir()) == []


def test_who_is_logged_in_pushes(lpmx: Lpmx, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "secured", secured=True) as address:
        host = address.replace("127.0.0.1", "localhost")
        folder = tmp_path / "home" / ".config" / "containers" / "certs.d" / host
        folder.mkdir(parents=True)
        shutil.copy(tmp_path / "secured" / "ca.crt", folder)
        refused = lpmx("push", "lab/x:1", f"{host}/lab/x:1", check=False)
        assert refused.returncode == 1
        assert f"`lpmx login {host}`" in refused.stderr
        lpmx("login", "-u", USER, "--password-stdin", host, text=PASSWORD)
        assert "@sha256:" in lpmx("push", "lab/x:1", f"{host}/lab/x:1").stdout


def test_a_registry_that_takes_no_large_bodies_gets_parts(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "CHUNKS", (2 << 20, 1 << 20))
    store = Store.open(tmp_path / "store")
    load(store, archive)
    with ParticularRegistry(largest=1 << 20) as registry:
        pushed = push_image(
            store, "lab/x:1", f"{registry.address}/lab/x:1", access=Access(plain_http=True)
        )
        kind, data = registry.manifests["1"]
        value = json.loads(data)
        listed = [value["config"], *value["layers"]]
        assert {one["digest"] for one in listed} == set(registry.blobs)
        assert [len(registry.blobs[one["digest"]]) for one in listed] == [
            one["size"] for one in listed
        ]
        assert registry.parts >= 8
        assert kind == value["mediaType"]
        assert pushed.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_refusal_is_one_line(tmp_path: Path, archive: Path) -> None:
    from lpmx_runtime.images.registry.wire.errors import RegistryError

    store = Store.open(tmp_path / "store")
    load(store, archive)
    with ParticularRegistry(largest=100) as registry, pytest.raises(RegistryError) as caught:
        push_image(store, "lab/x:1", f"{registry.address}/lab/x:1", access=Access(plain_http=True))
    assert "413" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("no/such:1",), "no/such"),
        (("lab/x:1", "lab/x@sha256:" + "0" * 64), "a digest cannot be chosen"),
        (("lab/x:1", "Bad Name"), "Bad Name"),
        (("--jobs", "0", "lab/x:1"), "--jobs 0"),
    ],
)
def test_what_makes_no_sense_is_refused(lpmx: Lpmx, words: tuple[str, ...], message: str) -> None:
    done = lpmx("push", *words, check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 2
