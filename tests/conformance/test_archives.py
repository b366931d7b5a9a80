"""Strangers' archives: random images as other tools write them, loaded, looked at and saved again.

Their configurations may name no platform, their indexes lie within indexes, artifacts stand beside
them, and their layers have hard links to files of the layers below. What the store shows must be
what the layers add up to as plain files, applied one after the other as containerd does; what is
saved must be what came.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import stat
import tarfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.kit.case import Entry
from conformance.kit.generate import Taste, generate
from conformance.kit.render import complete, layer_tar, merged_tree
from support import mkimage as mk
from support.storecheck import check_collected, check_store

from lpmx_runtime import gc
from lpmx_runtime.images.load import load
from lpmx_runtime.images.save import save
from lpmx_runtime.store.store import Store
from lpmx_runtime.union.view import View

if TYPE_CHECKING:
    from pathlib import Path

    from lpmx_runtime.store.image import Image

SECONDS, LEAST, LEAST_LINKS = 12.0, 15, 20
CONFIG = f"{mk.OCI}.config.v1+json"
ARTIFACTS = (
    mk.artifact(stated="application/vnd.example.sbom"),
    mk.artifact("application/vnd.in-toto+json", config=CONFIG),
    mk.artifact("application/vnd.dev.cosign.simplesigning.v1+json", config=CONFIG),
    {"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": []},
)


def random_layers(rng: random.Random, tree: Path) -> tuple[list[tuple[Entry, ...]], int]:
    """A stack of layers, which is in @tree afterwards, and how many links lead to lower layers."""
    layers, links = [], 0
    for entries in generate(rng.randrange(1 << 30), operations=1, taste=Taste(root=False)).layers:
        layer = [*complete(entries)]
        below = [
            os.path.relpath(os.path.join(top, name), tree)
            for top, _, names in os.walk(tree)
            for name in names
        ]
        for number in range(rng.choice((0, 1, 2, 5)) if below else 0):
            target = os.fsencode(rng.choice(sorted(below)))
            folder = rng.choice([entry.path for entry in layer if entry.kind == "dir"])
            path = folder + b"/low%d" % number
            if path != target and is_still_there(target, layer):
                layer.append(Entry("hard", path, target=target))
                links += 1
        merged_tree([layer], tree, b"")
        layers.append(tuple(layer))
    return layers, links


def is_still_there(path: bytes, layer: list[Entry]) -> bool:
    """Does @layer leave @path of the layers below alone?"""
    for entry in layer:
        above = path.startswith(entry.path + b"/")
        if entry.path == path or (above and entry.kind != "dir"):
            return False
    return True


def oci_files(rng: random.Random, spec: mk.Spec) -> dict[str, bytes]:
    """A layout of the image, with what may stand beside it."""
    hows = [rng.choice(("none", "gzip", "zstd")) for _ in spec.layers]
    files = mk.oci_files(spec, compression=hows, index=rng.random() < 0.5)
    for _ in range(rng.randrange(3)):  # indexes within indexes
        index = json.loads(files["index.json"])
        names = index["manifests"][0].pop("annotations")
        files["index.json"] = b'{"manifests": []}'
        index["mediaType"] = f"{mk.OCI}.index.v1+json"
        mk.add_manifests(files, [index], annotations=names)
    mk.add_manifests(files, rng.sample(ARTIFACTS, rng.randrange(3)))
    return files


def random_archive(rng: random.Random, spec: mk.Spec, path: Path) -> Path:
    """The image as some tool would have written it."""
    form = rng.choice(("docker", "oci-tar", "oci-folder"))
    if form == "docker":
        return mk.docker_archive(path, [spec], rng.choice(mk.STYLES))
    files = oci_files(rng, spec)
    return mk.write_tar(path, files) if form == "oci-tar" else mk.write_folder(path, files)


def plain(tree: Path) -> dict[str, tuple[int, int, str]]:
    """Kind, permissions and contents of all in @tree, by path."""
    found = {}
    for top, folders, names in os.walk(tree):
        for path in (os.path.join(top, name) for name in folders + names):
            status = os.lstat(path)
            found[os.path.relpath(path, tree)] = describe(status.st_mode, path)
    return found


def describe(mode: int, path: str) -> tuple[int, int, str]:
    text = ""
    if stat.S_ISREG(mode):
        with open(path, "rb") as file:
            text = hashlib.sha256(file.read()).hexdigest()
    elif stat.S_ISLNK(mode):
        return stat.S_IFMT(mode), 0, os.readlink(path)
    return stat.S_IFMT(mode), stat.S_IMODE(mode), text


def shown(store: Store, image: Image) -> dict[str, tuple[int, int, str]]:
    """The same of what a container of the image is shown."""
    found = {}
    with View(store.view_path(image.chain_id)) as view:
        for path, node in view.walk():
            name = os.fsdecode(path)
            host = os.path.join(store.layer_fs(view.layers[node.layer][0]), name)
            if name:
                found[name] = describe(node.tar_mode, host)
    return found


def saved_layers(store: Store, path: Path) -> list[bytes]:
    save(store, ["x:1"], str(path))
    with tarfile.open(path) as tar:
        members = [tar.extractfile(name) for name in tar.getnames() if name.endswith(".tar")]
        return [member.read() for member in members if member is not None]


def try_one(seed: int, folder: Path) -> int:
    """Load, compare, save and forget one archive; how many links to lower layers it had."""
    rng = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tree").mkdir(parents=True)
    layers, links = random_layers(rng, folder / "tree")
    spec = mk.Spec("x:1", [layer_tar(entries) for entries in layers])
    if rng.random() < 0.5:
        spec = replace(spec, architecture="", os=rng.choice(("", "linux")))
    store = Store.open(folder / "store")
    (one,) = load(store, random_archive(rng, spec, folder / "x"))
    assert (one.image.id, one.image.names[:1]) == (spec.id, ("x:1",))
    assert shown(store, one.image) == plain(folder / "tree")
    assert saved_layers(store, folder / "saved.tar") == list(dict.fromkeys(spec.layers))
    check_store(store.root)
    gc.remove_image(store, spec.id, force=True)
    check_collected(store.root)
    assert store.layers() == []
    return links


def test_random_archives_of_strangers_are_shown_as_their_layers_add_up(tmp_path: Path) -> None:
    end = time.monotonic() + SECONDS
    seed = links = 0
    while time.monotonic() < end or seed < LEAST:
        try:
            links += try_one(seed, tmp_path / "one")
        except BaseException:
            print(f"archive of seed {seed}")
            raise
        seed += 1
    assert links >= LEAST_LINKS, "too few links to lower layers"
