"""Environment files: what they say, what they include and call, what is found wrong, their lock."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from support import mkimage as mk

from lpmx_runtime.cli.main import main
from lpmx_runtime.compose import lock as locks
from lpmx_runtime.compose.envfile import (
    EnvironmentTarget,
    HostTarget,
    ImageTarget,
    read_environment,
)
from lpmx_runtime.compose.resolve import compose, compose_all
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.store.store import Store
from lpmx_runtime.yamlfile.source import EnvFileError

Capture = pytest.CaptureFixture[str]


def program(name: str) -> bytes:
    return mk.file(name, b"#!/bin/sh\n", mode=0o755)


BASE = mk.Spec("base:1", [mk.layer(program("bin/sh"))], {"Cmd": ["sh"]})
BWA = mk.Spec(
    "lab/bwa:2",
    [
        mk.layer(
            program("opt/bwa"), mk.symlink("usr/bin/bwa", "/opt/bwa"), mk.file("opt/data", b"x")
        )
    ],
    {"Env": ["PATH=/nowhere:/usr/bin"]},
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with two images, in a folder that is the working directory's neighbour."""
    monkeypatch.setenv("LPMX_HOME", str(tmp_path / "store"))
    monkeypatch.delenv("LPMX_DEBUG", raising=False)
    archive = mk.docker_archive(tmp_path / "images.tar", [BASE, BWA])
    assert main(["load", "-q", str(archive)]) == 0
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return Store.open()


def write(name: str, text: str) -> str:
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return name


# ---- reading


def test_a_file_says_what_the_design_says(store: Store) -> None:
    os.makedirs("reads")
    write(
        "sub/v.yaml",
        "name: variants\nimage: base:1\nbinds: ['../reads:/data:ro', '.']\n"
        "env: {LC_ALL: C.UTF-8, N: 1.10, HOSTS: }\n"
        "commands:\n  bwa: {image: lab/bwa:2, path: /opt/bwa}\n"
        "  samtools: {environment: ./s.yaml}\n  hostname: host\n  q: host:/bin/q\n"
        "  m: {host: make, pass: [CC], paths: true}\n"
        "batch: auto\ngpus: [0, GPU-1]\nkernel: {language: python, argv: [a, 1]}\n",
    )
    here = os.getcwd()
    found = read_environment("sub/v.yaml")
    assert [volume.text for volume in found.binds] == [f"{here}/reads:/data:ro", f"{here}/sub"]
    assert found.env == {"LC_ALL": "C.UTF-8", "N": "1.10", "HOSTS": None}
    assert found.commands == {
        "bwa": ImageTarget("lab/bwa:2", "/opt/bwa"),
        "samtools": EnvironmentTarget(f"{here}/sub/s.yaml"),
        "hostname": HostTarget(),
        "q": HostTarget("/bin/q"),
        "m": HostTarget("make", passes=("CC",), paths=True),
    }
    assert (found.name, found.batch, found.gpus) == ("variants", "auto", ("0", "GPU-1"))
    assert found.kernel
    assert found.kernel.argv == ("a", "1")


def test_what_a_file_says_wins_over_what_it_includes(store: Store) -> None:
    write("common/base.yaml", "image: base:1\nenv: {A: 1, B: 1}\nbinds: ['.']\ncwd: /tmp\n")
    write("common/more.yaml", "env: {B: 2}\ncommands: {ls: host, id: host}\n")
    write("e.yaml", "include: [common/base.yaml, common/more.yaml]\nenv: {C: 3}\n"
          "commands: {ls: {image: lab/bwa:2}}\n")  # fmt: skip
    found = read_environment("e.yaml")
    assert found.name == "e"
    assert (found.image, found.cwd) == ("base:1", "/tmp")
    assert found.env == {"A": "1", "B": "2", "C": "3"}
    assert found.commands == {"ls": ImageTarget("lab/bwa:2"), "id": HostTarget()}
    assert [volume.text for volume in found.binds] == [f"{os.getcwd()}/common"]
    assert [os.path.relpath(name) for name in found.files] == [
        "e.yaml", "common/base.yaml", "common/more.yaml",
    ]  # fmt: skip


def test_a_cycle_of_includes_is_named_in_full(store: Store) -> None:
    write("a.yaml", "include: b.yaml\n")
    write("b.yaml", "image: base:1\ninclude: c.yaml\n")
    write("c.yaml", "include: a.yaml\n")
    with pytest.raises(EnvFileError) as caught:
        read_environment("a.yaml")
    assert caught.value.message.endswith(
        "c.yaml:1:10: a cycle: a.yaml includes b.yaml includes c.yaml includes a.yaml"
    )


def test_a_cycle_of_commands_is_named_in_full(store: Store) -> None:
    write("a.yaml", "image: base:1\ncommands:\n  x: {environment: b.yaml}\n")
    write("b.yaml", "image: base:1\ncommands:\n  y: {environment: a.yaml, command: sh}\n")
    with pytest.raises(EnvFileError) as caught:
        compose(store, "a.yaml", os.environ)
    assert caught.value.message.endswith("b.yaml:3:3: a cycle: a.yaml calls b.yaml calls a.yaml")


def test_one_environment_called_twice_is_no_cycle(store: Store) -> None:
    write("leaf.yaml", "image: lab/bwa:2\n")
    write("mid.yaml", "image: base:1\ncommands: {bwa: {environment: leaf.yaml}}\n")
    write("top.yaml", "image: base:1\ncommands:\n  bwa: {environment: leaf.yaml}\n"
          "  b: {environment: mid.yaml, command: bwa}\n")  # fmt: skip
    commands = compose(store, "top.yaml", os.environ).top.commands
    assert {name: found.path for name, found in commands.items()} == {
        "bwa": "/usr/bin/bwa",
        "b": "/usr/bin/bwa",
    }


# ---- resolving


def errors_of(store: Store, text: str) -> list[tuple[str, str | None]]:
    write("e.yaml", text)
    composition, errors = compose_all(store, "e.yaml", {"PATH": "/usr/bin:/bin"})
    assert composition is None
    return [(error.message.rpartition("e.yaml:")[2], error.hint) for error in errors]


def test_programs_are_found_by_the_path_of_their_image(store: Store) -> None:
    write("e.yaml", "image: base:1\ncommands: {bwa: {image: lab/bwa:2}, sh: host}\n")
    composition = compose(store, "e.yaml", os.environ)
    assert composition.top.describe("bwa") == "lab/bwa:2 /usr/bin/bwa"
    assert composition.top.describe("sh").startswith("host /")


def test_missing_images_and_binds_are_all_found(store: Store) -> None:
    found = errors_of(
        store,
        "image: bse:1\nbinds: [nothing-here]\ncommands:\n  gone: {image: lab/gone:1}\n",
    )
    assert found == [
        ("1:8: bse:1: no such image", "did you mean 'base:1'?"),
        (
            "4:3: lab/gone:1: no such image",
            "`lpmx images` lists what is here, `lpmx pull NAME` or `lpmx load FILE` brings one in",
        ),
        (
            f"2:9: bind {os.getcwd()}/nothing-here does not exist on this host",
            "make it first, or give another path before the colon",
        ),
    ]


def test_programs_that_are_not_there_are_named(store: Store) -> None:
    write("o.yaml", "image: base:1\n")
    found = errors_of(
        store,
        "image: base:1\ncommands:\n"
        "  bwa: {image: lab/bwa:2, path: /usr/local/bin/bwa}\n"
        "  data: {image: lab/bwa:2, path: /opt/data}\n"
        "  nosuch-command: host\n  no2: host:/nosuch/file\n"
        "  other: {environment: o.yaml}\n",
    )
    assert found == [
        ("3:3: bwa: lab/bwa:2 has no program /usr/local/bin/bwa", "there is /usr/bin/bwa"),
        ("4:3: data: lab/bwa:2 has no program /opt/data", None),
        ("5:3: nosuch-command: host command nosuch-command: there is none on the PATH of this host",
         "give its absolute path as host:/path, or take the line out"),
        ("6:3: no2: host command /nosuch/file: there is none",
         "give its absolute path as host:/path, or take the line out"),
        ("7:3: other: o.yaml has no program other on its PATH", "say where it is with path: /..."),
    ]  # fmt: skip


def test_a_batch_system_that_is_not_here_is_said(store: Store, tmp_path: Path) -> None:
    write("e.yaml", "image: base:1\nbatch: lsf\n")
    with pytest.raises(EnvFileError, match=r"e\.yaml:2:8: batch: lsf: there is no bsub"):
        compose(store, "e.yaml", {"PATH": str(tmp_path)})


def test_an_environment_without_an_image_cannot_start(store: Store) -> None:
    write("e.yaml", "env: {A: b}\n")
    with pytest.raises(EnvFileError, match=r"^e\.yaml:1:1: it names no image$"):
        compose(store, "e.yaml", os.environ)


def test_a_file_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(LpmxError, match=r"nothing\.yaml: No such file"):
        compose(store, "nothing.yaml", os.environ)


# ---- lock


def test_a_lock_holds_when_the_name_moves(store: Store) -> None:
    write("e.yaml", "image: base:1\ncommands: {bwa: {image: lab/bwa:2}}\n")
    assert main(["env", "lock", "e.yaml"]) == 0
    pinned = json.loads(Path("e.lock.json").read_text())
    assert pinned["images"]["base:1"]["config"] == f"sha256:{BASE.id}"
    assert pinned["images"]["base:1"]["layers"] == [f"sha256:{d}" for d in BASE.diff_ids]
    assert main(["tag", BWA.id, "base:1"]) == 0
    composition = compose(store, "e.yaml", os.environ)
    assert composition.locked
    assert composition.top.image.id == BASE.id


def test_a_lock_that_no_longer_matches_is_an_error(store: Store) -> None:
    write("e.yaml", "image: base:1\n")
    main(["env", "lock", "e.yaml"])
    write("e.yaml", "image: base:1\ncommands:\n  bwa: {image: lab/bwa:2}\n")
    with pytest.raises(locks.LockError) as caught:
        compose(store, "e.yaml", os.environ)
    assert "e.lock.json: stale: " in caught.value.message
    assert "e.yaml:3:3 names the image lab/bwa:2" in caught.value.message
    assert caught.value.hint == "`lpmx env lock e.yaml` brings it up to date"
    write("e.yaml", "image: lab/bwa:2\n")
    with pytest.raises(locks.LockError, match="stale"):
        compose(store, "e.yaml", os.environ)


def test_a_locked_image_that_is_not_here_is_an_error(store: Store) -> None:
    write("e.yaml", "image: base:1\n")
    main(["env", "lock", "e.yaml"])
    assert main(["rmi", "base:1"]) == 0
    assert main(["tag", BWA.id, "base:1"]) == 0
    with pytest.raises(locks.LockError, match=f"base:1: the locked image {BASE.id[:12]} is not"):
        compose(store, "e.yaml", os.environ)


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1, "images": {"a": {}}}', "{}"])
def test_a_damaged_lock_is_an_error(store: Store, text: str) -> None:
    write("e.yaml", "image: base:1\n")
    write("e.lock.json", text)
    with pytest.raises(locks.LockError, match="not a lock file, or damaged"):
        compose(store, "e.yaml", os.environ)


# ---- the command


def test_check_lists_all_that_is_wrong(store: Store, capsys: Capture) -> None:
    write("e.yaml", "image: nothing:1\ncommands: {x: {image: nothing:2}}\n")
    assert main(["env", "check", "e.yaml"]) == 2
    err = capsys.readouterr().err
    assert "e.yaml:1:8: nothing:1: no such image" in err
    assert "e.yaml:2:12: nothing:2: no such image" in err
    assert main(["env", "check", "--json", "e.yaml"]) == 2
    errors = json.loads(capsys.readouterr().out)["errors"]
    assert [(error["line"], error["column"]) for error in errors] == [(1, 8), (2, 12)]


def test_check_show_build_of_a_good_file(store: Store, capsys: Capture) -> None:
    write("e.yaml", "image: base:1\nenv: {A: b}\ncommands: {bwa: {image: lab/bwa:2}}\n")
    assert main(["env", "check", "e.yaml"]) == 0
    assert capsys.readouterr().out == "e.yaml: fine: 2 images, 1 mapped command, not locked\n"
    assert main(["env", "show", "e.yaml"]) == 0
    out = capsys.readouterr().out
    assert "command    bwa -> lab/bwa:2 /usr/bin/bwa\n" in out
    assert "env        A=b\n" in out
    assert main(["env", "build", "e.yaml"]) == 0
    assert os.path.exists("e.lock.json")
    capsys.readouterr()
    assert main(["env", "show", "e.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["locked"] is True


def test_the_schema_can_be_found(store: Store, capsys: Capture) -> None:
    assert main(["env", "schema", "--path"]) == 0
    path = capsys.readouterr().out.strip()
    assert main(["env", "schema"]) == 0
    with open(path, encoding="utf-8") as file:
        assert capsys.readouterr().out == file.read()


def test_yaml_is_not_imported_without_an_environment() -> None:
    import subprocess

    code = "import sys, lpmx_runtime.cli.run\n"
    code += "import lpmx_runtime.launch.start\n"
    code += "print('yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
