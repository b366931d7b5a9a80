"""Where other projects' suites run: in a container, and for root in a chroot of the same tree."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import pytest
from support.plaintree import Chroot, unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.lpmx import Completed, Lpmx


class Side(Protocol):
    """A place to run a command in; every run finds the image's tree untouched."""

    def __call__(self, *command: str, timeout: float) -> Completed:
        """Run it; its status is the caller's to judge."""


@pytest.fixture(scope="session")
def container(
    store: Lpmx, image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Side]:
    """container(NAME): commands run in fresh containers of that image, with no bind of files."""
    empty = tmp_path_factory.mktemp("empty")

    def of(name: str) -> Side:
        words = ("run", "--no-bind", "all", "-e", "HOME=/root", image(name))

        def call(*command: str, timeout: float) -> Completed:
            return store(*words, *command, check=False, cwd=empty, timeout=timeout)

        return call

    return of


@pytest.fixture(scope="session")
def chroot(
    archive: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Side]:
    """chroot(NAME): the same in a plain chroot. Root only: mark the test so."""
    assert os.geteuid() == 0
    made: dict[str, Chroot] = {}

    def of(name: str) -> Side:
        if name not in made:
            folder = tmp_path_factory.mktemp(f"plain-{name}")
            made[name] = Chroot(unpack(archive(name), folder), folder)
        return made[name]

    return of
