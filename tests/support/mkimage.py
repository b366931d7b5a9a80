"""Images of a few bytes, also such as no honest tool would write: tar members, layers, archives.

layer(file("a", b"x"), symlink("b", "a"))          the bytes of a layer's tar
docker_archive(path, [Spec("demo:1", [layer(...)])], style="v1")
oci_folder(path, Spec("1", [layer(...)]), compression=["gzip"], index=True)
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import zstandard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BLOCK = 512
STYLES = ("v1", "flat", "oci")
OCI = "application/vnd.oci.image"


# ---------------------------------------------------------------- members
def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def _padding(data: bytes) -> bytes:
    return bytes(-len(data) % BLOCK)


def header(
    name: str | bytes,
    kind: bytes = b"0",
    *,
    size: int = 0,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 1_600_000_000,
    link: str | bytes = b"",
    major: int = 0,
    minor: int = 0,
) -> bytes:
    """One ustar header as it stands on tape, whatever nonsense it says."""
    raw = bytearray(BLOCK)
    raw[0:100] = _bytes(name)[:100].ljust(100, b"\0")
    raw[100:108] = b"%07o\0" % mode
    raw[108:116] = b"%07o\0" % uid
    raw[116:124] = b"%07o\0" % gid
    raw[124:136] = b"%011o\0" % size
    raw[136:148] = b"%011o\0" % mtime
    raw[148:156] = b" " * 8
    raw[156:157] = kind
    raw[157:257] = _bytes(link)[:100].ljust(100, b"\0")
    raw[257:265] = b"ustar\x0000"
    raw[329:337] = b"%07o\0" % major
    raw[337:345] = b"%07o\0" % minor
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def special(kind: bytes, data: bytes) -> bytes:
    """A pax header (b"x", b"g") or a GNU long name (b"L", b"K")."""
    return header("././@LongLink", kind, size=len(data)) + data + _padding(data)


def pax(**records: str | bytes) -> bytes:
    """A pax header for the member behind it; `__` in a key stands for a dot."""
    return special(b"x", b"".join(pax_record(k.replace("__", "."), v) for k, v in records.items()))


def pax_record(key: str, value: str | bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`, the length counting itself."""
    body = b" " + key.encode() + b"=" + _bytes(value) + b"\n"
    length = len(body)
    while length != len(b"%d" % length) + len(body):
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def file(name: str | bytes, data: bytes = b"", **fields: Any) -> bytes:
    """A regular file."""
    return header(name, size=len(data), **fields) + data + _padding(data)


def folder(name: str | bytes, *, mode: int = 0o755, **fields: Any) -> bytes:
    """A directory."""
    return header(name, b"5", mode=mode, **fields)


def symlink(name: str | bytes, target: str | bytes, **fields: Any) -> bytes:
    """A symbolic link."""
    return header(name, b"2", link=target, mode=0o777, **fields)


def hardlink(name: str | bytes, target: str | bytes, **fields: Any) -> bytes:
    """A hard link."""
    return header(name, b"1", link=target, **fields)


def device(name: str | bytes, kind: bytes = b"3", *, major: int = 1, minor: int = 3) -> bytes:
    """A device node: b"3" character, b"4" block."""
    return header(name, kind, major=major, minor=minor, mode=0o666)


def fifo(name: str | bytes) -> bytes:
    """A named pipe."""
    return header(name, b"6")


def layer(*members: bytes, end: bool = True) -> bytes:
    """A layer's tar."""
    return b"".join(members) + (bytes(2 * BLOCK) if end else b"")


# ---------------------------------------------------------------- images
@dataclass(frozen=True)
class Spec:
    """An image to be written."""

    name: str | None
    layers: Sequence[bytes]
    config: dict[str, Any] = field(default_factory=dict)
    architecture: str = "amd64"
    os: str = "linux"

    @property
    def diff_ids(self) -> list[str]:
        """The digests of the layers' tars."""
        return [sha256(one) for one in self.layers]

    @property
    def raw_config(self) -> bytes:
        """The image configuration."""
        return _json(
            {
                "architecture": self.architecture,
                "os": self.os,
                "config": self.config,
                "rootfs": {
                    "type": "layers",
                    "diff_ids": [f"sha256:{one}" for one in self.diff_ids],
                },
            }
        )

    @property
    def id(self) -> str:
        """The image id."""
        return sha256(self.raw_config)


def sha256(data: bytes) -> str:
    """In hex."""
    return hashlib.sha256(data).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def compress(data: bytes, how: str) -> bytes:
    """`none`, `gzip` or `zstd`."""
    if how == "gzip":
        return gzip.compress(data, 1, mtime=0)
    return zstandard.compress(data, 1) if how == "zstd" else data


def docker_files(specs: Sequence[Spec], style: str) -> dict[str, bytes]:
    """The members of a docker-save archive."""
    files: dict[str, bytes] = {}
    manifest = []
    for spec in specs:
        place = {"v1": "{}x/layer.tar", "flat": "{}.tar", "oci": "blobs/sha256/{}"}[style]
        names = [place.format(diff_id) for diff_id in spec.diff_ids]
        files.update(zip(names, spec.layers, strict=True))
        config = f"blobs/sha256/{spec.id}" if style == "oci" else f"{spec.id}.json"
        files[config] = spec.raw_config
        tags = [spec.name] if spec.name else None
        manifest.append({"Config": config, "RepoTags": tags, "Layers": names})
    if style == "oci":
        files["index.json"] = _json({"schemaVersion": 2, "manifests": []})
        files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    files["manifest.json"] = _json(manifest)
    return files


def oci_files(
    spec: Spec, *, compression: Sequence[str] = ("gzip",), index: bool = False
) -> dict[str, bytes]:
    """The files of an OCI layout. @index: with another platform's image and an attestation."""
    files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def put(data: bytes, media: str, **more: Any) -> dict[str, Any]:
        digest = sha256(data)
        files[f"blobs/sha256/{digest}"] = data
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data), **more}

    def image(one: Spec, **more: Any) -> dict[str, Any]:
        hows = [compression[min(i, len(compression) - 1)] for i in range(len(one.layers))]
        layers = [
            put(compress(data, how), f"{OCI}.layer.v1.tar+{how}")
            for data, how in zip(one.layers, hows, strict=True)
        ]
        config = put(one.raw_config, f"{OCI}.config.v1+json")
        manifest = _json({"schemaVersion": 2, "config": config, "layers": layers})
        return put(manifest, f"{OCI}.manifest.v1+json", **more)

    def platform(architecture: str, os_name: str = "linux") -> dict[str, str]:
        return {"architecture": architecture, "os": os_name}

    top = image(spec)
    if index:
        other = Spec(spec.name, [layer(file("arm", b"arm"))], architecture="arm64")
        note = put(_json({"config": {}, "layers": []}), f"{OCI}.manifest.v1+json")
        note["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
        note["platform"] = platform("unknown", "unknown")
        listed = [
            image(other, platform=platform("arm64")),
            {**top, "platform": platform("amd64")},
            note,
        ]
        top = put(_json({"schemaVersion": 2, "manifests": listed}), f"{OCI}.index.v1+json")
    if spec.name:
        top["annotations"] = {"org.opencontainers.image.ref.name": spec.name}
    files["index.json"] = _json({"schemaVersion": 2, "manifests": [top]})
    return files


def artifact(
    kind: str = "application/vnd.example.sbom.v1+json",
    *,
    stated: str | None = None,
    config: str = "application/vnd.oci.empty.v1+json",
) -> dict[str, Any]:
    """The manifest of something that is no image; its blobs need not be there.

    @kind is the type of its one layer, @stated its artifactType, @config its configuration's type.
    """

    def blob(data: bytes, media: str) -> dict[str, Any]:
        return {"mediaType": media, "digest": f"sha256:{sha256(data)}", "size": len(data)}

    said = {"artifactType": stated} if stated else {}
    return {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        **said,
        "config": blob(b"{}", config),
        "layers": [blob(b"what it is", kind)],
    }


def add_manifests(
    files: dict[str, bytes], manifests: Sequence[dict[str, Any]], **more: Any
) -> None:
    """List @manifests in the index.json of OCI layout @files; @more goes into each descriptor."""
    index = json.loads(files["index.json"])
    for manifest in manifests:
        data = _json(manifest)
        files[f"blobs/sha256/{sha256(data)}"] = data
        media = manifest.get("mediaType", f"{OCI}.manifest.v1+json")
        descriptor = {"mediaType": media, "digest": f"sha256:{sha256(data)}", "size": len(data)}
        index["manifests"].append({**descriptor, **more})
    files["index.json"] = _json(index)


def write_tar(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    """An archive of @files, and symlinks @links, written by tarfile: an outer archive is honest."""
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    """@files as a folder."""
    for name, data in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return path


def docker_archive(path: Path, specs: Sequence[Spec], style: str = "v1") -> Path:
    """A docker-save archive."""
    return write_tar(path, docker_files(specs, style))
