"""The tiers: what is chosen of what an image offers, and what is said where it offers nothing."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support import mkimage as mk

from lpmx_kernels.errors import NoKernelProgramError, NoPayloadError
from lpmx_kernels.image import payload, probe, tiers
from lpmx_runtime.images.load import load
from lpmx_runtime.plans.plan import LaunchPlan
from lpmx_runtime.store.store import Store
from lpmx_runtime.union.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lpmx_runtime.store.image import Image

FACTS = {
    "python": "3.12.1", "ipykernel": "", "reason": "ModuleNotFoundError: No module named ipykernel",
    "libc": "glibc", "libc_version": "2.39", "machine": "x86_64", "tag": "cp312",
}  # fmt: skip


class Programs:
    """The image's programs, in the upper of a tree of it, and what each of them answers."""

    def __init__(self, store: Store, image: Image, root: Path) -> None:
        self.root = root
        self.plan = LaunchPlan(
            loader="/",
            view=str(store.view_path(image.chain_id)),
            layers=tuple(str(store.layer_fs(one)) for one in image.stack),
            stores=(),
            argv=(),
            upper=str(root),
            work=str(root),
        )
        self.answers: dict[str, tuple[int, str]] = {}

    def add(self, path: str, status: int = 0, **facts: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(0o755)
        self.answers[path] = (status, json.dumps({**FACTS, **facts}) if facts else "")

    def tree(self, _store: Any, _image: Any) -> Tree:
        return Tree.of_plan(self.plan, "the image")

    def run_once(
        self, _store: Any, _image: Any, argv: Sequence[str], **_: Any
    ) -> subprocess.CompletedProcess[bytes]:
        status, text = self.answers[argv[0]]
        return subprocess.CompletedProcess(argv, status, text.encode(), b"it broke")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def image(store: Store, tmp_path: Path) -> Image:
    spec = mk.Spec("lab/x:1", [mk.layer(mk.file("etc/os-release"))])
    (loaded,) = load(store, mk.docker_archive(tmp_path / "image.tar", [spec]))
    return loaded.image


@pytest.fixture
def programs(
    store: Store, image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Programs:
    (tmp_path / "upper").mkdir()
    fake = Programs(store, image, tmp_path / "upper")
    monkeypatch.setattr(probe, "run_once", fake.run_once)
    monkeypatch.setattr(probe, "own_tree", fake.tree)
    return fake


def add_payload(store: Store) -> str:
    identity = payload.make_id("cp312", "glibc", "2.28", "x86_64", "aaaa")
    record = payload.Payload(identity, "cp312", "glibc", "2.28", "x86_64", {"ipykernel": "7.4.0"})
    payload.folder(store, identity).mkdir(parents=True)
    (payload.folder(store, identity) / payload.RECORD).write_text(record.to_json())
    return identity


def test_own_ipykernel_comes_first(store: Store, image: Image, programs: Programs) -> None:
    programs.add("/usr/bin/python3", python="3.12.1")
    programs.add("/opt/conda/bin/python3", ipykernel="6.29.5")
    programs.add("/usr/bin/R")
    programs.answers["/usr/bin/R"] = (0, "4.3.1 1.3.2")
    chosen = tiers.choose(store, image)
    assert (chosen.name, chosen.command[0]) == (tiers.IPYKERNEL, "/opt/conda/bin/python3")
    assert chosen.debugger


def test_irkernel_comes_before_a_python_that_needs_a_payload(
    store: Store, image: Image, programs: Programs
) -> None:
    programs.add("/usr/bin/python3", python="3.12.1")
    programs.add("/usr/bin/R")
    programs.answers["/usr/bin/R"] = (0, "4.3.1 1.3.2")
    chosen = tiers.choose(store, image)
    assert (chosen.name, chosen.language, chosen.transport) == (tiers.IR, "R", "tcp")
    assert chosen.command[-1] == "{connection_file}"
    assert chosen.facts["IRkernel"] == "1.3.2"


def test_payload_is_used_where_there_is_one_and_asked_for_where_not(
    store: Store, image: Image, programs: Programs
) -> None:
    programs.add("/usr/bin/python3", python="3.12.1")
    programs.add("/bin/bash")
    with pytest.raises(NoPayloadError) as caught:
        tiers.choose(store, image)
    assert "/usr/bin/python3 (3.12.1) has no ipykernel" in caught.value.message
    assert "cp312, glibc 2.39, x86_64" in caught.value.message
    assert str(caught.value.hint).startswith("`lpmx kernel payload build lab/x:1` makes it")
    identity = add_payload(store)
    chosen = tiers.choose(store, image)
    assert (chosen.name, chosen.payload) == (tiers.PAYLOAD, identity)
    assert not chosen.debugger  # this payload has no debugpy


def test_shell_is_used_without_python_and_on_wish(
    store: Store, image: Image, programs: Programs
) -> None:
    programs.add("/bin/sh")
    assert tiers.choose(store, image).command == ("/bin/sh", "-i")
    programs.add("/bin/bash")
    programs.add("/usr/bin/python3", ipykernel="7.4.0")
    chosen = tiers.choose(store, image, wanted="bash")
    assert (chosen.command[0], chosen.host_kernel) == ("/bin/bash", "shell")


def test_nothing_is_said_with_what_was_tried(
    store: Store, image: Image, programs: Programs
) -> None:
    programs.add("/usr/bin/python3", 1)
    with pytest.raises(NoKernelProgramError, match=r"no shell; /usr/bin/python3: it broke"):
        tiers.choose(store, image)
    with pytest.raises(NoKernelProgramError, match="no R with IRkernel"):
        tiers.choose(store, image, wanted="ir")
    programs.add("/opt/py/bin/python3", python="3.12.1")
    with pytest.raises(NoKernelProgramError, match="No module named ipykernel"):
        tiers.choose(store, image, wanted="ipykernel", python="/opt/py/bin/python3")
