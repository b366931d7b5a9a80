"""A tiny image for tests of running: a static busybox in two layers, made in milliseconds."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PASSWD = "root:x:0:0:root:/root:/bin/sh\nworker:x:4000:4001::/srv/worker:/bin/sh\n"
GROUP = "root:x:0:\nworkers:x:4001:\nextra:x:4002:worker\n"
DEFAULT_CONFIG = {"Env": ["PATH=/bin", "FROM_IMAGE=yes"], "Cmd": ["sh"]}


def available() -> str | None:
    """The static busybox of this machine, None where there is none."""
    path = shutil.which("busybox")
    if path is None:
        return None
    with open(path, "rb") as file:
        return path if b"ld-linux" not in file.read(4096) else None


def write_archive(
    path: Path, *, name: str = "busybox:test", config: Mapping[str, object] | None = None
) -> Path:
    """Write the archive to @path."""
    layers = base_layers()
    diff_ids = [hashlib.sha256(layer).hexdigest() for layer in layers]
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": {**DEFAULT_CONFIG, **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}" for diff_id in diff_ids]},
    }
    text = json.dumps(image).encode()
    config_name = f"{hashlib.sha256(text).hexdigest()}.json"
    names = [f"{diff_id}/layer.tar" for diff_id in diff_ids]
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": names}]
    with tarfile.open(path, "w") as archive:
        for member, data in zip(names, layers, strict=True):
            _add(archive, member, data)
        _add(archive, config_name, text)
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return path


def base_layers() -> list[bytes]:
    """The layers of the image, for tests that put others on top."""
    busybox = available()
    assert busybox
    return [_lower(busybox), _upper()]


def _lower(busybox: str) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as layer:
        for folder in ("bin", "etc", "root", "srv", "srv/worker", "tmp", "var"):
            _folder(layer, folder)
        with open(busybox, "rb") as file:
            _add(layer, "bin/busybox", file.read(), mode=0o755)
        applets = subprocess.run([busybox, "--list"], capture_output=True, check=True, text=True)
        for applet in applets.stdout.split():
            if applet != "busybox":
                link = tarfile.TarInfo(f"bin/{applet}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                layer.addfile(link)
        link = tarfile.TarInfo("sbin")
        link.type, link.linkname = tarfile.SYMTYPE, "bin"
        layer.addfile(link)
        _add(layer, "etc/passwd", PASSWD.encode())
        _add(layer, "etc/marker", b"lower\n")
        _add(layer, "etc/deleted", b"")
    return output.getvalue()


def _upper() -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as layer:
        _folder(layer, "etc")
        _add(layer, "etc/group", GROUP.encode())
        _add(layer, "etc/marker", b"upper\n")
        _add(layer, "etc/.wh.deleted", b"")
    return output.getvalue()


def _folder(layer: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    layer.addfile(member)


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    archive.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    import sys
    from pathlib import Path as _Path

    write_archive(_Path(sys.argv[1]))
    print(os.path.getsize(sys.argv[1]))
