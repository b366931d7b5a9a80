"""`lpmx copy` to and from layouts that others have written to, and registries that mislead it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support import mkimage
from support.lpmx import Lpmx, clean_environment
from support.miniregistry import MiniRegistry
from support.registry import FaultProxy, Rule, lone_user
from support.upload import digest_of, image_manifest, put_blob, put_manifest

from lpmx_runtime.images.registry.download import Descriptor
from lpmx_runtime.images.registry.send.content import SmallContent
from lpmx_runtime.images.registry.send.upload import Upload
from lpmx_runtime.images.registry.wire.client import Repository
from lpmx_runtime.images.registry.wire.errors import TransferCutError
from lpmx_runtime.images.registry.wire.settings import Endpoint
from lpmx_runtime.images.registry.wire.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OCI = "application/vnd.oci.image"


@pytest.fixture
def lpmx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lpmx:
    lone_user(tmp_path / "home", monkeypatch)
    return Lpmx(tmp_path / "store")


class Origin:
    """A registry that has an image of one layer as `name`."""

    def __init__(self, registry: MiniRegistry) -> None:
        self.address, self.registry = registry.address, registry
        self.place = f"{registry.address}/lab/x"
        self.name = f"{self.place}:1"
        self.layer = mkimage.layer(mkimage.file("f", os.urandom(200_000)))
        spec = mkimage.Spec("x", [self.layer], {"Cmd": ["/f"]}, architecture="arm64")
        config = put_blob(self.place, spec.raw_config, f"{OCI}.config.v1+json")
        layer = put_blob(self.place, self.layer, f"{OCI}.layer.v1.tar")
        put_manifest(self.place, image_manifest(config, [layer]), "1")


@pytest.fixture
def origin() -> Iterator[Origin]:
    with MiniRegistry() as registry:
        yield Origin(registry)


@pytest.fixture
def layout(lpmx: Lpmx, origin: Origin, tmp_path: Path) -> Path:
    """One that has the image as `1`."""
    lpmx("copy", "-q", origin.name, f"oci:{tmp_path}/layout:1")
    return tmp_path / "layout"


def blob_in(layout: Path, origin: Origin) -> Path:
    return layout / "blobs/sha256" / digest_of(origin.layer).removeprefix("sha256:")


def index_of(layout: Path) -> list[dict[str, Any]]:
    listed = json.loads((layout / "index.json").read_text())["manifests"]
    assert isinstance(listed, list)
    return listed


def test_a_damaged_blob_of_a_layout_is_replaced(lpmx: Lpmx, origin: Origin, layout: Path) -> None:
    blob = blob_in(layout, origin)
    blob.write_bytes(bytes(len(origin.layer)))
    lpmx("copy", "-q", origin.name, f"oci:{layout}:1")
    assert blob.read_bytes() == origin.layer


def test_copies_at_the_same_time_keep_each_others_names(
    lpmx: Lpmx, origin: Origin, layout: Path
) -> None:
    env = clean_environment(lpmx.environment())
    copies = [
        subprocess.Popen(
            [*lpmx.command, "copy", "-q", origin.name, f"oci:{layout}:{number}"],
            env=env, stdout=subprocess.DEVNULL,
        )
        for number in range(2, 6)
    ]  # fmt: skip
    assert [one.wait(timeout=120) for one in copies] == [0] * 4
    names = [one["annotations"]["org.opencontainers.image.ref.name"] for one in index_of(layout)]
    assert sorted(names) == ["1", "2", "3", "4", "5"]


def test_an_image_of_two_names_is_the_only_one(lpmx: Lpmx, origin: Origin, layout: Path) -> None:
    lpmx("copy", "-q", origin.name, f"oci:{layout}:2")
    done = lpmx("copy", "-q", f"oci:{layout}", f"{origin.place}:again")
    assert done.stdout.endswith(f"@{index_of(layout)[0]['digest']}\n")


def test_a_fifo_in_place_of_a_blob_is_no_blob(lpmx: Lpmx, origin: Origin, layout: Path) -> None:
    blob = blob_in(layout, origin)
    blob.unlink()
    os.mkfifo(blob)
    target = f"{origin.address}/lab/elsewhere:1"
    done = lpmx("copy", "-q", f"oci:{layout}:1", target, check=False, timeout=60)
    assert (done.returncode, blob.name[:12] in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    "annotations", ["text", ["list"], {"org.opencontainers.image.ref.name": 7}]
)
def test_annotations_that_make_no_sense_name_nothing(
    annotations: Any, lpmx: Lpmx, origin: Origin, layout: Path
) -> None:
    listed = [{**index_of(layout)[0], "annotations": annotations}]
    (layout / "index.json").write_text(json.dumps({"manifests": listed}))
    done = lpmx("copy", "-q", f"oci:{layout}:1", f"{origin.place}:2", check=False)
    assert (done.returncode, "no such image in it" in done.stderr) == (1, True), done.stderr
    lpmx("copy", "-q", f"oci:{layout}", f"{origin.place}:2")


def test_a_lone_image_of_another_platform_than_asked_for(
    lpmx: Lpmx, origin: Origin, layout: Path
) -> None:
    for source in (origin.name, f"oci:{layout}:1"):
        words = ("copy", "-q", "--platform", "linux/amd64", source, f"{origin.place}:2")
        done = lpmx(*words, check=False)
        message = f"lpmx: {source}: no image for linux/amd64, only linux/arm64\n"
        assert (done.returncode, done.stderr) == (1, message)
        words = ("copy", "-q", "--platform", "linux/arm64", source, f"{origin.place}:2")
        assert lpmx(*words).stdout.startswith(f"{origin.place}:2@")


class Unseen:
    """A meter that nobody looks at."""

    def advance(self, blob: Descriptor, size: int) -> None:
        pass

    def done(self, blob: Descriptor) -> None:
        pass


def test_an_upload_of_which_nothing_is_kept_ends(origin: Origin) -> None:
    """The registry takes each piece, and says each time that it has only the first byte."""
    data = os.urandom(200_000)
    blob = Descriptor(digest_of(data).removeprefix("sha256:"), len(data))
    with FaultProxy(origin.address) as proxy:
        proxy.begin(
            Rule("PUT .*/uploads/", "drop", after=100_000),
            Rule("GET .*/uploads/", "status", code=204, headers={"Range": "0-99999"}),
            Rule("PATCH", "status", code=202, headers={"Range": "0-0"}),
        )
        transport = Transport(sleep=lambda _seconds: None)
        endpoint = Endpoint(proxy.address, "lab/elsewhere")
        place = Repository(transport, endpoint, lambda: None, plain_http=True)
        with pytest.raises(TransferCutError, match="keeps nothing of what is sent"):
            Upload(place, blob, SmallContent(data), Unseen()).run()
        assert 1 <= len([one for one in proxy.requests if one.method == "PATCH"]) <= 6
