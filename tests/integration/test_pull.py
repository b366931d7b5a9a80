"""`lpmx pull` from a real registry, over a line on which everything goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support import mkimage
from support.lpmx import Lpmx, clean_environment
from support.registry import FaultProxy, Rule, json_body, lone_user, proxied_registry, push
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZE = 3 << 20  # of each of the three layers
BLOBS = "GET .*/blobs/"


@pytest.fixture(scope="module")
def spec() -> mkimage.Spec:
    """Three layers that do not compress, so that cuts fall into them."""
    layers = [
        mkimage.layer(mkimage.file(f"f{n}", os.urandom(SIZE)), mkimage.file(f"g{n}", b"small\n"))
        for n in range(3)
    ]
    return mkimage.Spec("x:1", layers, {"Cmd": ["/f0"]})


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, spec: mkimage.Spec) -> Iterator[FaultProxy]:
    folder = tmp_path_factory.mktemp("registry")
    archive = folder / "x.tar"
    mkimage.docker_archive(archive, [spec])
    with proxied_registry(folder, archive, "lab/x:1") as proxy:
        yield proxy


@pytest.fixture
def name(proxy: FaultProxy) -> str:
    proxy.begin()
    return f"{proxy.address}/lab/x:1"


@pytest.fixture
def lpmx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    """With an empty store, and a home without anybody's credentials."""
    lone_user(tmp_path / "home", monkeypatch)
    return Lpmx(tmp_path / "store")


def assert_whole(lpmx: Lpmx, spec: mkimage.Spec, name: str) -> None:
    """The image is here, every file of it, and nothing is left over."""
    (row,) = json.loads(lpmx("--json", "images").stdout)
    assert (row["id"], row["names"]) == (spec.id, [name])
    for layer in spec.diff_ids:
        folder = lpmx.home / "layers" / layer / "fs"
        assert sorted(path.stat().st_size for path in folder.iterdir()) == [6, SIZE]
    assert list((lpmx.home / "downloads").iterdir()) == []
    assert list((lpmx.home / "tmp").iterdir()) == []


def test_an_image_comes_whole(lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec) -> None:
    done = lpmx("pull", name)
    assert done.stdout.startswith(f"pulled {name} ({spec.id[:12]}): 3 layers, 3 new")
    assert [line.startswith("layer ") for line in done.stderr.splitlines()] == [True] * 3
    assert_whole(lpmx, spec, name)


def test_an_image_of_the_oci_s_types_comes_as_well(
    lpmx: Lpmx, proxy: FaultProxy, spec: mkimage.Spec, tmp_path: Path
) -> None:
    archive = tmp_path / "x.tar"
    mkimage.docker_archive(archive, [spec])
    proxy.begin()
    name = f"{proxy.address}/lab/oci:1"
    push(archive, f"{proxy.upstream}/lab/oci:1", "--format", "oci")
    assert lpmx("pull", name).stdout.startswith(f"pulled {name} ")
    (row,) = json.loads(lpmx("--json", "images").stdout)
    assert row["names"] == [name]


@pytest.mark.parametrize("sign", ["", "prettyjws"])
def test_an_image_of_schema_1_is_refused(
    lpmx: Lpmx, proxy: FaultProxy, name: str, sign: str
) -> None:
    kind = f"application/vnd.docker.distribution.manifest.v1+{sign or 'json'}"
    body = json.dumps({"schemaVersion": 1 if sign else 2, "fsLayers": []}).encode()
    proxy.begin(Rule("manifests", "status", code=200, headers={"Content-Type": kind}, body=body))
    done = lpmx("pull", name, check=False)
    assert (done.returncode, "an image of schema 1 (before 2017)" in done.stderr) == (1, True)


def test_events_are_objects_one_a_line(
    lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    proxy.begin(Rule(BLOBS, "pass", rate=4_000_000))
    done = lpmx("pull", "--json", name)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert {event["name"] for event in events} == {name}
    kinds = Counter(event["event"] for event in events)
    assert (kinds["start"], kinds["layer"], kinds["image"]) == (1, 3, 1)
    assert kinds["progress"] >= 1
    start, image = events[0], events[-1]
    assert (start["event"], image["event"]) == ("start", "image")
    whole = [event["digest"] for event in events if event["event"] == "layer"]
    assert {layer["digest"] for layer in start["layers"]} == set(whole)
    assert start["size"] == sum(layer["size"] for layer in start["layers"])
    assert (image["id"], image["new_layers"], image["was_here"]) == (spec.id, 3, False)


def test_an_error_is_an_event_too(lpmx: Lpmx, name: str) -> None:
    done = lpmx("pull", "--json", f"{name.removesuffix(':1')}:2", check=False)
    (event,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, event["event"]) == (1, "error")
    assert done.stderr.startswith(f"lpmx: {event['message']}\n")


def test_what_is_up_to_date_costs_one_request(lpmx: Lpmx, proxy: FaultProxy, name: str) -> None:
    lpmx("pull", name)
    proxy.begin()
    assert "is up to date" in lpmx("pull", name).stdout
    assert [one.method for one in proxy.requests] == ["HEAD"]


def test_an_image_asked_for_by_its_digest_needs_no_network_when_it_is_here(
    lpmx: Lpmx, proxy: FaultProxy, name: str
) -> None:
    row = json.loads(lpmx("--json", "pull", name).stdout.splitlines()[-1])
    proxy.begin()
    by_digest = f"{name.removesuffix(':1')}@{row['digest']}"
    assert "is up to date" in lpmx("pull", by_digest).stdout
    assert proxy.requests == []
    assert json.loads(lpmx("inspect", by_digest).stdout)


def test_layers_that_are_here_are_not_asked_for(
    lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec, tmp_path: Path
) -> None:
    mkimage.docker_archive(tmp_path / "y.tar", [mkimage.Spec("y:1", spec.layers[:2])])
    lpmx("load", tmp_path / "y.tar")
    proxy.begin()
    assert "3 layers, 1 new" in lpmx("pull", name).stdout
    assert len(proxy.blobs()) == 2  # the configuration, and one layer


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([Rule(BLOBS, "cut", times=6, after=1_500_000)], id="cuts"),
        pytest.param([Rule(BLOBS, "flip", times=1, at=4000)], id="flipped byte"),
        pytest.param([Rule(BLOBS, "short", times=2, after=100_000)], id="short bodies"),
        pytest.param(
            [Rule(BLOBS, "cut", times=3, after=1_500_000), Rule(BLOBS, "norange")], id="no Range"
        ),
        pytest.param([Rule("manifests", "status", times=1, code=503)], id="503"),
        pytest.param(
            [Rule(BLOBS, "status", times=1, code=429, headers={"Retry-After": "1"})], id="429"
        ),
    ],
)
def test_what_breaks_is_mended(
    rules: list[Rule], lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    proxy.begin(*rules)
    lpmx("pull", name)
    assert_whole(lpmx, spec, name)


def test_a_cut_blob_goes_on_where_it_was(
    lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    proxy.begin(Rule(BLOBS, "cut", times=9, after=1_200_000))
    lpmx("pull", "--jobs", "1", name)
    assert_whole(lpmx, spec, name)
    ranges = [one.range for one in proxy.requests if one.range]
    assert ranges[:2] == ["bytes=1200000-", "bytes=2400000-"]
    assert len(ranges) == 6


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([Rule(BLOBS, "flip", at=4000)], "checksum"),
        ([Rule("manifests", "flip", at=20)], "checksum of the manifest differs"),
        ([Rule("manifests", "status", code=200, body=b"<html>log in</html>")], "no manifest"),
        ([Rule("manifests", "status", code=404)], "not found, or not for you"),
        (
            [Rule("manifests", "status", code=401, body=json_body("UNAUTHORIZED", "who?"))],
            "wants credentials",
        ),
        (
            [Rule("manifests", "status", code=400, body=json_body("BAD", "\x1b[31mno"))],
            r"BAD: \x1b[31mno",
        ),
        (
            [Rule("manifests", "status", code=429, headers={"Retry-After": "3000"})],
            "too many requests",
        ),
        ([Rule(BLOBS, "redirect", to="http://127.0.0.1:9")], "sends layers from 127.0.0.1:9"),
    ],
)
def test_what_cannot_be_mended_is_one_line_and_leaves_nothing_loaded(
    rules: list[Rule], message: str, lpmx: Lpmx, proxy: FaultProxy, name: str
) -> None:
    proxy.begin(*rules)
    done = lpmx("pull", name, check=False)
    said = [line for line in done.stderr.splitlines() if not line.startswith(("layer ", "  ("))]
    assert (done.returncode, done.stdout, len(said)) == (1, "", 1), done.stderr
    assert message in said[0]
    assert json.loads(lpmx("--json", "images").stdout) == []


def test_a_registry_that_is_not_there(lpmx: Lpmx) -> None:
    done = lpmx("pull", "127.0.0.1:9/lab/x:1", check=False, timeout=120)
    assert done.returncode == 1
    assert "127.0.0.1:9: cannot be reached: connection refused" in done.stderr


def test_no_authorization_leaves_the_registry(
    lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    """The registry wants a password, its blobs lie elsewhere: what a CDN's signed links are."""
    challenge = {"WWW-Authenticate": 'Basic realm="lab"'}
    with FaultProxy(proxy.upstream) as cdn:
        proxy.begin(
            Rule("manifests", "status", times=1, code=401, headers=challenge),
            Rule(BLOBS, "redirect", to=f"http://{cdn.address}"),
        )
        env = {"LPMX_REGISTRY_USER": "ada", "LPMX_REGISTRY_PASSWORD": "secret"}
        lpmx("pull", name, env=env)
        assert {one.authorization for one in proxy.requests[1:]} == {"Basic"}
        assert {one.authorization for one in cdn.requests} == {""}
        assert len(cdn.requests) == 4
    assert_whole(lpmx, spec, name)


def test_a_mirror_is_asked_first_then_the_registry(
    lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    with FaultProxy(proxy.upstream) as mirror:
        mirror.begin(Rule(BLOBS, "status", code=404))
        env = {"LPMX_MIRROR": f"{proxy.address}={mirror.address}"}
        done = lpmx("pull", name, env=env)
        assert "another place is asked" in done.stderr
        assert [one.path for one in mirror.requests if "manifests" in one.path]
    assert_whole(lpmx, spec, name)


def start_pull(lpmx: Lpmx, name: str) -> subprocess.Popen[str]:
    words = [*lpmx.command, "pull", "-q", name]
    env = clean_environment(lpmx.environment())
    return subprocess.Popen(words, env=env, text=True, stdout=subprocess.PIPE)


def fetched(lpmx: Lpmx) -> int:
    return sum(path.stat().st_size for path in (lpmx.home / "downloads").glob("sha256-*"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_pull_is_gone_on_with_by_the_next(
    number: signal.Signals, lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    proxy.begin(Rule(BLOBS, "slow", rate=1_500_000))
    process = start_pull(lpmx, name)
    until(lambda: fetched(lpmx) > SIZE, what="a part is here")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    have = fetched(lpmx)
    proxy.begin()
    lpmx("pull", name)
    lpmx("gc")
    assert_whole(lpmx, spec, name)
    whole = sum(1 for one in proxy.requests if one.path.count("/blobs/") and not one.range)
    assert whole <= 2, "the configuration, and at most one layer anew"
    assert have > SIZE


def test_many_pulls_of_one_image_are_one_download(
    lpmx: Lpmx, proxy: FaultProxy, name: str, spec: mkimage.Spec
) -> None:
    processes = [start_pull(lpmx, name) for _ in range(12)]
    for process in processes:
        assert process.communicate(timeout=120)[0] == f"{spec.id}\n"
    times = Counter(proxy.blobs())
    times.pop(spec.id)  # the configuration, which each has to read
    assert sorted(times.values()) == [1, 1, 1]
    assert_whole(lpmx, spec, name)


def test_what_skopeo_put_there_is_what_docker_save_wrote(
    lpmx: Lpmx, name: str, spec: mkimage.Spec, tmp_path: Path, run_peer: Callable[..., str]
) -> None:
    """Saved again, a peer reads the same image."""
    lpmx("pull", name)
    lpmx("save", "-o", tmp_path / "again.tar", name)
    told = json.loads(run_peer("inspect", f"docker-archive:{tmp_path}/again.tar"))
    assert len(told["Layers"]) == 3


@pytest.fixture
def run_peer() -> Callable[..., str]:
    from support.lpmx import run

    return lambda *words: run(["skopeo", *words]).stdout
