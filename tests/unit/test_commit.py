"""Pieces of commit and save that need no container: Dockerfile instructions, layers put together
again byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support import mkimage as mk

from lpmx_runtime.container.commit import change_config
from lpmx_runtime.errors import StorageError, UsageError
from lpmx_runtime.images.extract import extract_layer
from lpmx_runtime.tar.split import SplitWriter, archive_blocks

if TYPE_CHECKING:
    from pathlib import Path

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ('CMD ["a", "b"]', {}, {"Cmd": ["a", "b"]}),
    ("cmd a b", {}, {"Cmd": ["/bin/sh", "-c", "a b"]}),
    ('ENTRYPOINT ["e"]', {"Cmd": ["old"]}, {"Entrypoint": ["e"]}),
    ("ENV A=1 B='two words'", {"Env": ["A=0", "C=3"]}, {"Env": ["A=1", "C=3", "B=two words"]}),
    ("ENV A one two", {}, {"Env": ["A=one two"]}),
    ("LABEL a=b", {"Labels": {"c": "d"}}, {"Labels": {"a": "b", "c": "d"}}),
    ("USER 5:6", {}, {"User": "5:6"}),
    ("WORKDIR sub", {"WorkingDir": "/opt"}, {"WorkingDir": "/opt/sub"}),
    ("EXPOSE 80 53/udp", {}, {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}),
    ('VOLUME ["/data"]', {}, {"Volumes": {"/data": {}}}),
    ("STOPSIGNAL SIGINT", {}, {"StopSignal": "SIGINT"}),
]


@pytest.mark.parametrize(("line", "before", "after"), CASES)
def test_change_config(line: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert change_config(before, line) == after


@pytest.mark.parametrize("line", ["RUN true", "CMD", "ENV A", "ENV A=1 B", "EXPOSE x", "COPY a b"])
def test_other_instructions_are_refused(line: str) -> None:
    with pytest.raises(UsageError, match="--change"):
        change_config({}, line)


LAYERS = {
    "plain": mk.layer(mk.folder("d"), mk.file("d/f", b"x" * 700), mk.hardlink("d/g", "d/f")),
    "replaced": mk.layer(mk.file("f", b"first"), mk.file("f", b"second"), mk.file("g", b"third")),
    "replaced by a folder": mk.layer(mk.file("f", b"first"), mk.folder("f"), mk.file("f/g", b"y")),
    "linked, then replaced": mk.layer(
        mk.file("f", b"1"), mk.hardlink("g", "f"), mk.file("f", b"2")
    ),
    "marks": mk.layer(
        mk.file(".wh.gone"), mk.file("d/.wh..wh..opq", b"data"), mk.file("d/f", b"z")
    ),
    "no end": mk.layer(mk.file("f", b"x"), end=False),
    "long end": mk.layer(mk.file("f", b"x")) + bytes(10240),
    "pax": mk.layer(mk.pax(path="p" * 200), mk.file("short", b"q" * 513)),
}


@pytest.mark.parametrize("block", [7, 512, 1 << 20])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_s_archive_is_put_together_again(name: str, block: int, tmp_path: Path) -> None:
    data = LAYERS[name]
    (tmp_path / "fs").mkdir()
    split = SplitWriter(tmp_path)
    blocks = (data[at : at + block] for at in range(0, len(data), block))
    with extract_layer(blocks, tmp_path / "fs", None, split):
        split.finish()
    split.close()
    assert b"".join(archive_blocks(tmp_path)) == data


def test_a_layer_without_its_form_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="did not keep its archive's form"):
        list(archive_blocks(tmp_path))
