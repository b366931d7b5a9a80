"""Fixtures for tests of running: the tiny image, which is there in milliseconds; a Jupyter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support import busybox
from support.jupyter import Jupyter, Session, start_session
from support.registry import FaultProxy, proxied_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.lpmx import Lpmx


@pytest.fixture(scope="session")
def busybox_image(store: Lpmx, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the tiny image (support/busybox.py) in `store`."""
    if not busybox.available():
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    store("load", busybox.write_archive(tmp_path_factory.mktemp("busybox") / "busybox.tar"))
    return "busybox:test"


@pytest.fixture
def bare_jupyter(tmp_path: Path, store: Lpmx, monkeypatch: pytest.MonkeyPatch) -> Jupyter:
    """A Jupyter without kernels, in whose folder the test stands."""
    own = Jupyter(tmp_path / "jupyter", store)
    for name, value in own.environment.items():
        monkeypatch.setenv(name, value)
    (own.folder / "runtime").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return own


@pytest.fixture
def start(bare_jupyter: Jupyter) -> Iterator[Callable[..., Session]]:
    """start(name): a session with a new kernel of that name, `demo` without one."""
    sessions: list[Session] = []

    def make(name: str = "demo", **options: Any) -> Session:
        sessions.append(start_session(bare_jupyter, name, **options))
        return sessions[-1]

    yield make
    for session in sessions:
        session.end(now=True)


@pytest.fixture(scope="session")
def payload_image(store: Lpmx, image: Callable[[str], str]) -> str:
    """An image with a Python without ipykernel, and a payload for it in the store."""
    name = image("tools")
    store("kernel", "payload", "build", name)
    return name


@pytest.fixture(scope="session")
def box_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    """A real registry behind a proxy: the tiny image as lab/box:1, lab/other:1 and lab/moving:1."""
    if not busybox.available():
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    folder = tmp_path_factory.mktemp("registry")
    archive = busybox.write_archive(folder / "box.tar", name="box:1")
    names = [f"lab/{name}:1" for name in ("box", "other", "moving")]
    with proxied_registry(folder, archive, *names) as proxy:
        yield proxy
