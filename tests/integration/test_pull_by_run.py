"""An image that is missing comes by itself: run, create, expose and environments, real registry."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.lpmx import Lpmx, clean_environment
from support.registry import FaultProxy, Rule, lone_user, push
from support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

BLOBS = "GET .*/blobs/"
LAYERS, CONFIG = 2, 1  # of the image


@pytest.fixture
def proxy(box_registry: FaultProxy) -> FaultProxy:
    box_registry.begin()
    return box_registry


@pytest.fixture
def lpmx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    """With an empty store, and a home without anybody's credentials."""
    lone_user(tmp_path / "home", monkeypatch)
    (tmp_path / "home").mkdir()
    monkeypatch.delenv("LPMX_PULL")
    return Lpmx(tmp_path / "store")


@pytest.fixture
def name(proxy: FaultProxy, lpmx: Lpmx) -> str:
    assert lpmx.home
    return f"{proxy.address}/lab/box:1"


def images(lpmx: Lpmx) -> list[str]:
    return [one for row in json.loads(lpmx("--json", "images").stdout) for one in row["names"]]


def assert_clean(lpmx: Lpmx) -> None:
    """Nothing of a fetch is left over."""
    for folder in ("downloads", "tmp"):
        place = lpmx.home / folder
        assert not place.exists() or list(place.iterdir()) == []


# ---- run


def test_run_fetches_what_is_missing_and_prints_only_what_the_program_prints(
    lpmx: Lpmx, proxy: FaultProxy, name: str
) -> None:
    done = lpmx("run", name, "echo", "here")
    assert done.stdout == "here\n"
    lines = done.stderr.splitlines()
    assert lines[0] == f"lpmx: {name}: not here, pulling it"
    assert [line.startswith("layer ") for line in lines[1:]] == [True] * LAYERS
    assert_clean(lpmx)
    proxy.begin()
    assert lpmx("run", name, "echo", "again").stderr == ""
    assert proxy.requests == []


def test_run_by_digest_fetches_just_that_image(lpmx: Lpmx, proxy: FaultProxy, name: str) -> None:
    row = json.loads(lpmx("--json", "pull", name).stdout.splitlines()[-1])
    by_digest = f"{proxy.address}/lab/box@{row['digest']}"
    proxy.begin()
    assert lpmx("run", by_digest, "echo", "known").stdout == "known\n"
    assert proxy.requests == []
    lpmx("rmi", "-f", row["id"])
    assert lpmx("run", by_digest, "echo", "fetched").stdout == "fetched\n"
    assert proxy.blobs() != []
    assert images(lpmx) == [by_digest]


@pytest.mark.parametrize("how", ["option", "variable", "file"])
def test_never_fetches_nothing_and_says_what_would(
    lpmx: Lpmx, proxy: FaultProxy, name: str, how: str, tmp_path: Path
) -> None:
    option = ["--pull", "never"] if how == "option" else []
    env = {"LPMX_PULL": "never"} if how == "variable" else {}
    if how == "file":
        (tmp_path / "config.yaml").write_text("pull: never\n")
        env = {"LPMX_CONFIG": str(tmp_path / "config.yaml")}
    done = lpmx("run", *option, name, "true", env=env, check=False)
    assert (done.returncode, done.stdout, proxy.requests) == (125, "", [])
    assert done.stderr.splitlines() == [
        f"lpmx: {name}: no such image",
        "  (`lpmx images` lists what is here, `lpmx pull NAME` or `lpmx load FILE` brings one in)",
    ]


def test_always_sees_a_tag_that_has_moved(lpmx: Lpmx, proxy: FaultProxy, tmp_path: Path) -> None:
    moving = f"{proxy.address}/lab/moving:1"
    show = ("sh", "-c", "echo $WHICH")
    assert lpmx("run", moving, *show).stdout == "\n"
    config = {"Env": ["PATH=/bin", "WHICH=second"]}
    second = busybox.write_archive(tmp_path / "second.tar", name="moving:1", config=config)
    push(second, f"{proxy.upstream}/lab/moving:1")
    proxy.begin()
    assert lpmx("run", moving, *show).stdout == "\n"
    assert proxy.requests == []
    done = lpmx("run", "--pull", "always", moving, *show)
    assert done.stdout == "second\n"
    assert f"lpmx: {moving}: moved from image " in done.stderr
    proxy.begin()
    lpmx("run", "--pull", "always", moving, "true")
    assert [one.method for one in proxy.requests] == ["HEAD"]


def test_what_cannot_be_reached_names_image_directories_and_host(
    lpmx: Lpmx, tmp_path: Path
) -> None:
    (tmp_path / "archives").mkdir()
    env = {"LPMX_SUPPLY": str(tmp_path / "archives")}
    done = lpmx("run", "127.0.0.1:9/lab/x:1", "true", env=env, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.splitlines()[1] == (
        f"lpmx: 127.0.0.1:9/lab/x:1: no such image here, no archive of it in {tmp_path}/archives,"
        " and 127.0.0.1:9 cannot be reached: connection refused"
    )


def test_an_archive_that_is_supplied_comes_before_the_registry(
    lpmx: Lpmx, proxy: FaultProxy, name: str, tmp_path: Path
) -> None:
    (tmp_path / "archives").mkdir()
    archive = busybox.write_archive(tmp_path / "archives" / "any.tar", name=name)
    (tmp_path / "config.yaml").write_text(f"supply: [{tmp_path}/archives]\n")
    env = {"LPMX_CONFIG": str(tmp_path / "config.yaml")}
    done = lpmx("run", name, "echo", "supplied", env=env)
    assert (done.stdout, done.stderr) == ("supplied\n", f"lpmx: {name}: loading {archive}\n")
    assert proxy.requests == []


def test_sixteen_runs_of_a_missing_image_fetch_it_once(
    lpmx: Lpmx, proxy: FaultProxy, name: str
) -> None:
    words = [*lpmx.command, "run", name, "echo", "one"]
    environment = clean_environment(lpmx.environment())
    running = [
        subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(16)
    ]
    ended = [process.communicate(timeout=300) for process in running]
    assert [
        (out, process.returncode) for process, (out, _) in zip(running, ended, strict=True)
    ] == [("one\n", 0)] * 16, ended
    assert sorted(Counter(proxy.blobs()).values()) == [1] * (LAYERS + CONFIG)
    assert len([one for one in proxy.requests if "/manifests/" in one.path]) == 1
    assert_clean(lpmx)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ended_run_starts_nothing_and_the_next_goes_on(
    lpmx: Lpmx, proxy: FaultProxy, name: str, number: signal.Signals
) -> None:
    proxy.begin(Rule(BLOBS, "slow", rate=200_000))
    process = subprocess.Popen(
        [*lpmx.command, "run", name, "echo", "no"],
        env=clean_environment(lpmx.environment()),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    downloads = lpmx.home / "downloads"
    until(
        lambda: any(path.stat().st_size for path in downloads.glob("*.partial")),
        what="some of a layer has come",
    )
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (128 + number, "")
    assert "Traceback" not in err
    assert images(lpmx) == []
    assert [list((lpmx.home / one).iterdir()) for one in ("containers", "tmp")] == [[], []]
    proxy.begin()
    assert lpmx("run", name, "echo", "yes").stdout == "yes\n"
    assert any(one.range for one in proxy.requests)
    assert_clean(lpmx)


def test_print_plan_fetches_nothing(lpmx: Lpmx, proxy: FaultProxy, name: str) -> None:
    done = lpmx("run", "--print-plan", name, "true", check=False)
    assert (done.returncode, proxy.requests) == (125, [])
    assert f"{name}: no such image" in done.stderr


# ---- other commands


def test_create_and_expose_fetch(lpmx: Lpmx, proxy: FaultProxy, name: str, tmp_path: Path) -> None:
    container = lpmx("create", name, "true").stdout.strip()
    assert (lpmx.home / "containers" / container).is_dir()
    other = f"{proxy.address}/lab/other:1"
    lpmx("expose", other, "echo", "--to", str(tmp_path / "bin"))
    assert sorted(images(lpmx)) == [name, other]
    refused = lpmx("expose", "--pull", "never", f"{other[:-1]}2", "echo", "--to", str(tmp_path),
                   check=False)  # fmt: skip
    assert "no such image" in refused.stderr


def test_images_of_mapped_commands_come_too(lpmx: Lpmx, proxy: FaultProxy, name: str) -> None:
    other = f"{proxy.address}/lab/other:1"
    done = lpmx("run", "-m", f"there=image:{other}:/bin/busybox", name, "there", "echo", "mapped")
    assert done.stdout == "mapped\n"
    gone = f"{proxy.address}/lab/none:1"
    done = lpmx("run", "-m", f"x=image:{gone}", name, "true", check=False)
    assert f"command x: {gone}: not found" in done.stderr


def test_an_environment_brings_all_its_images(
    lpmx: Lpmx, proxy: FaultProxy, name: str, tmp_path: Path
) -> None:
    other = f"{proxy.address}/lab/other:1"
    file = tmp_path / "e.yaml"
    file.write_text(
        f"image: {name}\ncommands: {{there: {{image: '{other}', path: /bin/busybox}}}}\n"
    )
    refused = lpmx("run", "--pull", "never", file, "true", check=False)
    assert f"{file}:1:8: {name}: no such image" in refused.stderr
    assert proxy.requests == []
    assert lpmx("run", file, "there", "echo", "composed").stdout == "composed\n"
    assert sorted(images(lpmx)) == [name, other]


def test_a_mistake_in_an_environment_is_found_before_anything_is_fetched(
    lpmx: Lpmx, proxy: FaultProxy, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(f"image: {name}\nbinds: ['/tmp:relative']\n")
    done = lpmx("run", file, "true", check=False)
    assert done.returncode == 125
    assert f"{file}:2:" in done.stderr
    assert proxy.requests == []


def test_a_locked_environment_fetches_the_very_image_by_its_manifest(
    lpmx: Lpmx, proxy: FaultProxy, tmp_path: Path
) -> None:
    """Though the tag has moved on since."""
    config = {"Env": ["PATH=/bin", "WHICH=locked"]}
    first = busybox.write_archive(tmp_path / "first.tar", name="x:1", config=config)
    push(first, f"{proxy.upstream}/lab/locked:1")
    locked = f"{proxy.address}/lab/locked:1"
    file = tmp_path / "e.yaml"
    file.write_text(f"image: {locked}\n")
    done = lpmx("env", "lock", file)
    assert locked in done.stdout
    pin = json.loads((tmp_path / "e.lock.json").read_text())["images"][locked]
    assert pin["manifest"].startswith("sha256:")
    later = busybox.write_archive(tmp_path / "later.tar", name="x:1")
    push(later, f"{proxy.upstream}/lab/locked:1")

    fresh = Lpmx(tmp_path / "fresh")
    refused = fresh("run", "--pull", "never", file, "true", check=False)
    assert "the locked image" in refused.stderr
    assert f"{locked[:-2]}@{pin['manifest']}" in refused.stderr
    proxy.begin()
    assert fresh("run", file, "sh", "-c", "echo $WHICH").stdout == "locked\n"
    assert [one.path.rpartition("/")[2] for one in proxy.requests if "/manifests/" in one.path] == [
        pin["manifest"]
    ]
    proxy.begin()
    assert fresh("run", file, "sh", "-c", "echo $WHICH").stdout == "locked\n"
    assert proxy.requests == []


def test_a_lock_whose_manifest_is_another_image_is_refused(
    lpmx: Lpmx, proxy: FaultProxy, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(f"image: {name}\n")
    lpmx("env", "lock", file)
    lock = tmp_path / "e.lock.json"
    text = json.loads(lock.read_text())
    text["images"][name]["config"] = f"sha256:{'1' * 64}"
    lock.write_text(json.dumps(text))
    done = Lpmx(tmp_path / "fresh")("run", file, "true", check=False)
    assert done.returncode == 125
    assert "e.lock.json: damaged" in done.stderr


def test_env_build_fetches_and_check_does_not(
    lpmx: Lpmx, proxy: FaultProxy, name: str, tmp_path: Path
) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(f"image: {name}\n")
    checked = lpmx("env", "check", file, check=False)
    assert (checked.returncode, proxy.requests) == (2, [])
    lpmx("env", "build", file)
    assert images(lpmx) == [name]
    assert lpmx("env", "check", file).returncode == 0


def test_a_mistake_in_the_config_file_stops_every_command(lpmx: Lpmx, tmp_path: Path) -> None:
    file = tmp_path / "home" / ".config" / "lpmx" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# mine\npul: never\n")
    environment = {"LPMX_CONFIG": "", "XDG_CONFIG_HOME": "", "HOME": os.environ["HOME"]}
    done = lpmx("run", "x:1", "true", env=environment, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.splitlines() == [
        f"lpmx: {file}:2:1: unknown key 'pul'",
        "  (did you mean 'pull'?)",
    ]
