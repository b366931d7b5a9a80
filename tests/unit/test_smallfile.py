"""Files that users and strangers write: what is none is refused, not waited for."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from lpmx_kernels.errors import KernelSpecError
from lpmx_kernels.spec import settings
from lpmx_kernels.spec.settings import KernelSettings
from lpmx_kernels.start import notebook
from lpmx_runtime.cli.main import main
from lpmx_runtime.compose.envfile import read_environment
from lpmx_runtime.compose.lock import LockError, lock_file, read_lock
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.smallfile import read_small, read_small_text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def refusal(path: str | Path, **limits: int) -> str:
    with pytest.raises(OSError) as caught:
        read_small(path, **limits)
    return str(caught.value.strerror)


def test_what_is_no_file_is_refused(tmp_path: Path, fifo: Path) -> None:
    assert refusal(fifo) == "is a FIFO, not a file"
    assert refusal(tmp_path) == "is a directory"
    assert refusal("/dev/zero") == "is a device, not a file"
    assert refusal(tmp_path / "none") == "No such file or directory"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert refusal(tmp_path / "s") == "is a socket, not a file"
    (tmp_path / "large").write_bytes(b"x" * 11)
    assert refusal(tmp_path / "large", limit=10) == "is larger than 10 bytes"


def test_files_and_own_inputs_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("é")
    (tmp_path / "link").symlink_to("file")
    assert read_small_text(tmp_path / "link") == "é"
    assert read_small("/dev/null") == b""
    read, write = os.pipe()
    os.write(write, b"from a pipe")
    os.close(write)
    assert read_small(f"/dev/fd/{read}") == b"from a pipe"
    os.close(read)


def test_every_reader_of_settings_refuses_a_fifo(
    fifo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LPMX_HOME", str(tmp_path / "store"))
    with pytest.raises(LpmxError, match="fifo: is a FIFO, not a file"):
        read_environment(fifo)
    (tmp_path / "env.yaml").write_text("image: a\ninclude:\n  - fifo\n")
    with pytest.raises(LpmxError, match=r"env.yaml:3:5: include: fifo: not a regular file"):
        read_environment(tmp_path / "env.yaml")
    os.mkfifo(lock_file(str(tmp_path / "env.yaml")))
    with pytest.raises(LockError, match="is a FIFO, not a file"):
        read_lock(str(tmp_path / "env.yaml"))
    os.mkfifo(tmp_path / "kernel.json")
    with pytest.raises(KernelSpecError, match="is a FIFO, not a file"):
        settings.read_json(tmp_path / "kernel.json")
    os.mkfifo(tmp_path / "a.ipynb")
    environ = {notebook.VARIABLE: str(tmp_path / "a.ipynb")}
    kept = KernelSettings(image="a", command=("python3",))
    assert notebook.apply(None, kept, environ) == kept  # type: ignore[arg-type]
    assert main(["run", "--env-file", str(fifo), "a", "b"]) == 125
    assert f"--env-file {fifo}: is a FIFO, not a file" in capsys.readouterr().err
    assert main(["unexpose", str(fifo)]) == 2
