"""Plans only decide: planning starts no program and changes nothing on the disk.

What an image has is remembered in the store's cache, and may be looked up again at any time.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import mkimage as mk

from lpmx_kernels.image.run_once import draft
from lpmx_kernels.spec.settings import KernelSettings
from lpmx_kernels.start import kernel as kernels
from lpmx_runtime.compose.resolve import compose
from lpmx_runtime.compose.start import environment_options
from lpmx_runtime.images.load import load
from lpmx_runtime.launch import start as launch
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ACTS = {
    "os.chmod", "os.chown", "os.exec", "os.fork", "os.forkpty", "os.kill", "os.killpg", "os.link",
    "os.mkdir", "os.posix_spawn", "os.remove", "os.removexattr", "os.rename", "os.rmdir",
    "os.setxattr", "os.spawn", "os.symlink", "os.system", "os.truncate", "os.utime",
    "subprocess.Popen",
}  # fmt: skip
REMEMBERED = re.compile("/store/cache(/(names|accounts)(/.*)?)?$")
_seen: list[str] | None = None


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if _seen is None:
        return
    is_write = event == "open" and isinstance(args[0], (str, bytes)) and args[2] & WRITES
    if (event in ACTS or is_write) and not REMEMBERED.search(os.fsdecode(args[0])):
        _seen.append(f"{event} {args[0]!r}")


sys.addaudithook(_watch)  # cannot be taken away; idle outside of the block below


@contextlib.contextmanager
def only_deciding() -> Iterator[None]:
    """Fail if the block starts a program or changes a file."""
    global _seen  # noqa: PLW0603 (what the hook writes to)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    _seen = seen = []
    try:
        yield
    finally:
        _seen, sys.dont_write_bytecode = None, kept
    assert seen == [], "\n".join(sorted(set(seen)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.open(tmp_path / "store")
    layer = mk.layer(
        mk.file("bin/sh", b"x", mode=0o755),
        mk.file("usr/bin/python3", b"x", mode=0o755),
        mk.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\n"),
        mk.symlink("data", "/srv"),
    )
    specs = [mk.Spec("lab/x:1", [layer]), mk.Spec("lab/y:1", [layer])]
    load(made, mk.docker_archive(tmp_path / "images.tar", specs))
    return made


OPTIONS = {
    "plain": launch.Options(command=("sh",)),
    "binds": launch.Options(command=("sh",), volumes=("/usr:/data/usr:ro",)),
    "fakeroot": launch.Options(command=("sh",), fakeroot=True),
    "batch": launch.Options(command=("sh",), batch="slurm"),
    "ports": launch.Options(command=("sh",), ports=((80, 8080),)),
}


@pytest.mark.parametrize("how", OPTIONS)
def test_a_start_of_an_image(store: Store, how: str) -> None:
    image, here = store.resolve("lab/x:1"), launch.surroundings()
    with only_deciding():
        container = launch.draft_container(store, image, OPTIONS[how], here).container
        planned = launch.plan_launch(store, container, here)
    assert planned.plan.argv == ("sh",)


def test_a_start_of_an_environment(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text(
        "image: lab/x:1\ncommands:\n  other: {image: lab/y:1, path: /bin/sh}\n  true: host\n"
    )
    here = launch.surroundings()
    with only_deciding():
        composition = compose(store, str(file), here.environ)
        options = replace(environment_options(composition, {}), command=("sh",))
        container = launch.draft_container(store, composition.top.image, options, here).container
        planned = launch.plan_launch(store, container, here)
    assert {Path(row.path).name for row in planned.plan.commands} >= {"other", "true"}


def test_the_start_of_a_kernel(store: Store, tmp_path: Path) -> None:
    settings = KernelSettings("lab/x:1", ("/usr/bin/python3", "-f", "{connection_file}"))
    request = kernels.KernelRequest(
        connection_file=str(tmp_path / "connection.json"),
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        asked={},
        cwd=str(tmp_path),
        marker="m",
    )
    here = launch.surroundings()
    options = launch.Options(user="0:0")
    container = draft(store, store.resolve("lab/x:1"), options, here).create(store)
    with only_deciding():
        planned = kernels.plan_kernel(store, container, settings, request, here)
    assert planned.plan.argv[-1] == request.connection_file


def test_the_guard_notices(tmp_path: Path) -> None:
    for act in (
        lambda: os.system("true"),
        lambda: (tmp_path / "f").write_text("x"),
        (tmp_path / "d").mkdir,
    ):
        with pytest.raises(AssertionError), only_deciding():
            act()
