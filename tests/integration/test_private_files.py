"""What holds values of the user's variables is the user's alone, whatever umask and store say."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.jupyter import Jupyter, start_session
from support.lpmx import Lpmx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "sEcReT-vAlUe-4711"
OPEN = stat.S_IRGRP | stat.S_IROTH
WRITABLE = stat.S_IWGRP | stat.S_IWOTH


@pytest.fixture(params=[0o022, 0o002], ids=["umask 022", "umask 002"])
def lpmx(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Lpmx]:
    """A store in a folder that the user has made, and left open to others."""
    if not busybox.available():
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    before = os.umask(request.param)
    try:
        (tmp_path / "store").mkdir()
        (tmp_path / "work").mkdir()
        monkeypatch.chdir(tmp_path / "work")
        monkeypatch.setenv("SECRET", SECRET)
        found = Lpmx(tmp_path / "store")
        found("load", "-q", busybox.write_archive(tmp_path / "busybox.tar"))
        yield found
    finally:
        os.umask(before)


def told(folder: Path) -> list[str]:
    """Files that tell the secret to others: nothing on the way to them keeps them out."""
    found = []
    for top, folders, files in os.walk(folder):
        here = stat.S_IMODE(os.stat(top).st_mode)
        if not here & 0o011 and top != os.fspath(folder):
            folders.clear()
            continue
        for name in files:
            path = os.path.join(top, name)
            if os.path.isfile(path) and os.lstat(path).st_mode & OPEN:
                with open(path, "rb") as file:
                    if SECRET.encode() in file.read():
                        found.append(os.path.relpath(path, folder))
    return found


def lent(store: Path) -> list[str]:
    """What others could come to and change, in a store that is open to them."""
    found = []
    for top, folders, files in os.walk(store):
        if not os.stat(top).st_mode & 0o011 and top != os.fspath(store):
            folders.clear()
            continue
        paths = [os.path.join(top, name) for name in folders + files]
        found += [path for path in paths if os.lstat(path).st_mode & WRITABLE]
    return found


def test_containers_tell_no_variable_to_others(lpmx: Lpmx, tmp_path: Path) -> None:
    name = "busybox:test"
    lpmx("create", "-e", "SECRET", "--name", "made", name, "true")
    lpmx("start", "-a", "made")
    lpmx("run", "-e", "SECRET", "--name", "ran", "-m", "uname=host", name, "uname")
    lpmx("run", "-e", "SECRET", "--fakeroot", "-u", "4000", "--name", "other", name, "true")
    lpmx("exec", "-e", "SECRET", "made", "env")
    (tmp_path / "lab.yaml").write_text(
        f"image: {name}\nenv: {{SECRET: }}\ncommands:\n"
        f"  inner: {{image: {name}, path: /bin/true, env: {{SECRET: {SECRET}}}}}\n"
    )
    os.chmod(tmp_path / "lab.yaml", 0o600)  # the user's own affair
    lpmx("run", "--name", "env", tmp_path / "lab.yaml", "inner")
    lpmx("expose", "--to", tmp_path / "bin", tmp_path / "lab.yaml", "env")
    assert [path for path in lpmx.home.rglob("*") if _tells(path)]
    assert told(tmp_path) == []
    assert lent(lpmx.home) == []


def _tells(path: Path) -> bool:
    return path.is_file() and SECRET.encode() in path.read_bytes()


def test_kernels_tell_no_variable_to_others(
    lpmx: Lpmx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jupyter = Jupyter(tmp_path / "jupyter", lpmx)
    for name, value in jupyter.environment.items():
        monkeypatch.setenv(name, value)
    (jupyter.folder / "runtime").mkdir(parents=True)
    words = ("kernel", "install", "busybox:test", "--name", "demo", "-e", "SECRET", "--survive")
    assert "readable" not in jupyter.lpmx(*words).stdout
    spec = jupyter.kernels / "demo" / "kernel.json"
    assert SECRET in spec.read_text()
    assert stat.S_IMODE(spec.stat().st_mode) == 0o600
    session = start_session(jupyter, "demo")
    try:
        assert session.run("echo $SECRET").strip() == SECRET
        session.run("echo $SECRET >&2")
        assert told(tmp_path) == []
        assert lent(lpmx.home) == []
    finally:
        session.end()


def test_kernel_for_others_has_no_secret_in_it(lpmx: Lpmx, tmp_path: Path) -> None:
    place = ("--prefix", str(tmp_path / "shared"))
    install = ("kernel", "install", "busybox:test", "--name", "demo", *place)
    refused = lpmx(*install, "-e", "SECRET", check=False)
    assert refused.returncode == 2
    assert "variable SECRET: looks like a secret" in refused.stderr
    assert "--user" in refused.stderr
    assert not (tmp_path / "shared").exists()
    done = lpmx(*install, "-e", "OMP_NUM_THREADS=4")
    assert "readable   by all there: the values of OMP_NUM_THREADS" in done.stdout
    spec = tmp_path / "shared/share/jupyter/kernels/demo/kernel.json"
    assert json.loads(spec.read_text())["metadata"]
    assert spec.stat().st_mode & stat.S_IROTH
