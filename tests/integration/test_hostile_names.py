"""Every command that shows what an image or a container holds: names that attack a terminal."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.lpmx import Lpmx

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "e\x1b]0;owned\x07\x9b2J\r\x7f\u202e"
LINE = f"{EVIL}\nlpmx: forged\n(v) forged"
NAMES = (f"/srv/{LINE}".encode(), b"/srv/\xff\xfe\x1b[31m", f"/srv/{EVIL}/{LINE}".encode())
# What a terminal may obey: controls but line end and tab, DEL, those of C1, and marks of direction
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
CONFIG = {
    "Env": ["PATH=/bin", f"A={LINE}\ud800", f"B{EVIL}=x"],
    "Labels": {f"k{LINE}": f"v{LINE}\ud800"},
    "Cmd": ["sh", "-c", f"true {LINE}"],
}
BAD = {"Entrypoint": [f"/bin/{LINE}"], "WorkingDir": f"/w{LINE}", "User": f"u{LINE}"}


@pytest.fixture
def lpmx(tmp_path: Path) -> Lpmx:
    """A store with hostile images, and a container `box` full of hostile names."""
    if not busybox.available():
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    found = Lpmx(tmp_path / "store")
    write = busybox.write_archive
    found("load", "-q", write(tmp_path / "h.tar", name="hostile:1", config=CONFIG))
    for key, value in BAD.items():
        name = f"bad:{key.lower()}"
        found("load", "-q", write(tmp_path / f"{key}.tar", name=name, config={key: value}))
    found("create", "--name", "box", "hostile:1")
    top = tmp_path / "names"
    for name in NAMES:
        path = os.fsencode(top) + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
    found("cp", f"{top}/srv", "box:/")
    found("commit", "box", "hostile:2")
    return found


def check(lpmx: Lpmx, *words: str | bytes | Path, program: str = "", script: bool = False) -> str:
    """What that command prints: nothing is obeyed, and outside a script no line is forged."""
    command = os.path.join(os.path.dirname(lpmx.command[0]), program) if program else ""
    caller = Lpmx(lpmx.home, lpmx.prefix, (command,)) if program else lpmx
    done = caller(*map(os.fsdecode, words), check=False)
    said = f"{done.stdout}{done.stderr}"
    assert said, words
    assert not OBEYED.search(said), (words, said)
    assert script or not re.search(r"^(lpmx: |\(v\) )forged", said, re.MULTILINE), (words, said)
    assert "internal error" not in said, words
    assert "Traceback" not in said, words
    return said


def test_lists_and_explanations(lpmx: Lpmx) -> None:
    for words in (("images",), ("ps", "-a"), ("diff", "box"), ("gc",), ("doctor",)):
        check(lpmx, *words)
    assert "\\x1b]0;owned\\x07" in check(lpmx, "diff", "box")
    for name in NAMES:
        for place in ("box", "hostile:2"):
            assert "\\x1b" in check(lpmx, "why", "-c", place, name)
    check(lpmx, "why", "-c", "box", "--exec", f"x{LINE}")
    check(lpmx, "run", "--print-plan", "hostile:1")


def test_json_is_escaped_and_whole(lpmx: Lpmx) -> None:
    for words in (("inspect", "hostile:1"), ("--json", "ps", "-a"), ("--json", "diff", "box")):
        json.loads(check(lpmx, *words))
    config = json.loads(check(lpmx, "inspect", "hostile:1"))[0]["config"]["config"]
    assert config["Env"][1] == f"A={LINE}\ufffd"
    assert config["Labels"] == {f"k{LINE}": f"v{LINE}\ufffd"}


def test_errors_with_names_of_images_and_users(lpmx: Lpmx, tmp_path: Path) -> None:
    for key in BAD:
        check(lpmx, "run", f"bad:{key.lower()}", "true" if key != "Entrypoint" else "x")
    for name in (LINE, f"/{LINE}", EVIL):
        check(lpmx, "run", "hostile:1", name)
        check(lpmx, "run", "-w", f"/{name}", "hostile:1", "true")
        check(lpmx, "run", "-v", f"{name}:/x", "hostile:1", "true")
        check(lpmx, "run", "-e", f"{name} =1", "hostile:1", "true")
        check(lpmx, "run", "-m", f"{name}=image:gone", "hostile:1", "true")
        check(lpmx, "run", "-m", f"x=host:{name}", "hostile:1", "true")
        check(lpmx, "exec", "box", name)
        check(lpmx, "cp", f"box:/srv/none{name}", tmp_path)
        for words in (("run", name), ("rm", name), ("rmi", name), ("tag", "hostile:1", name)):
            check(lpmx, *words)
        check(lpmx, "load", tmp_path / f"none{name.replace('/', '')}")
        check(lpmx, name)
        check(lpmx, f"--{name}")


def test_archives_and_environment_files(lpmx: Lpmx, tmp_path: Path) -> None:
    from support import mkimage as mk

    layer = mk.layer(mk.file(LINE.encode()), mk.file(f"../{LINE}".encode()))
    for number, files in enumerate((
        {"manifest.json": json.dumps([{"Config": LINE, "Layers": [LINE]}]).encode()},
        {"manifest.json": json.dumps([{"Config": "\ud800", "Layers": ["\udfff"]}]).encode()},
        {"index.json": json.dumps({"manifests": [{"mediaType": LINE, "digest": LINE}]}).encode(),
         "oci-layout": b"{}"},
        mk.docker_files([mk.Spec(LINE, [layer])], "v1"),
        mk.docker_files([mk.Spec("x:1", [layer])], "v1"),
        mk.docker_files([mk.Spec("x:1", [layer], architecture=LINE)], "v1"),
    )):  # fmt: skip
        archive = mk.write_tar(tmp_path / f"{number}{EVIL}.tar", files)
        check(lpmx, "load", archive)
        check(lpmx, "load", "-t", LINE, archive)
    for number, text in enumerate((
        f'image: hostile:1\n"{json.dumps(LINE)[1:-1]}": x\n',
        f"image: {json.dumps(LINE)}\n",
        f"image: hostile:1\ncommands: {{{json.dumps(LINE)}: host}}\n",
        f"image: hostile:1\nenv: {{A: {json.dumps(LINE)}}}\nname: {json.dumps(LINE)}\n",
    )):  # fmt: skip
        file = tmp_path / f"{number}{EVIL}.yaml"
        file.write_text(text)
        for action in ("check", "show", "lock"):
            check(lpmx, "env", action, file)


def test_docker_and_singularity(lpmx: Lpmx) -> None:
    for words in (
        ("images",), ("ps", "-a"), ("inspect", "hostile:1"), ("inspect", LINE), ("run", LINE),
        ("run", "hostile:1", LINE), ("run", f"--{LINE}", "hostile:1"), ("rmi", LINE), (LINE,),
        ("inspect", "--format", "{{json .Config}}", "hostile:1"), ("kill", LINE), ("pull", LINE),
        ("ps", "-a", "--format", "{{.Command}}"),
    ):  # fmt: skip
        check(lpmx, *words, program="lpmx-docker")
    for words in (
        ("inspect", "docker://hostile:1"),
        ("exec", LINE, "true"), ("exec", "docker://hostile:1", LINE), (LINE,),
    ):  # fmt: skip
        check(lpmx, *words, program="lpmx-singularity")
    words = ("inspect", "-e", "docker://hostile:1")
    said = check(lpmx, *words, program="lpmx-singularity", script=True)
    assert f"B{EVIL[:1]}" not in said  # no name for a shell
