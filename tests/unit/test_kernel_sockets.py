"""Folders of sockets: made private, and removed once nobody listens in them."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lpmx_kernels.life import sockets

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short name, as sockets need it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def old(place: Path, name: str) -> Path:
    folder = place / f"{sockets.PREFIX}{name}"
    folder.mkdir()
    return folder


def age(folder: Path) -> None:
    os.utime(folder, (0, 0))


def test_folder_is_private_and_of_a_short_name(place: Path) -> None:
    folder = Path(sockets.make_folder())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(f"{folder}/k-5") < 40
    folder.rmdir()


def test_deserted_folder_goes_and_a_used_one_stays(place: Path) -> None:
    deserted, used, young, foreign = (
        old(place, "deserted"), old(place, "used"), old(place, "young"), place / "other",
    )  # fmt: skip
    foreign.mkdir()
    with socket.socket(socket.AF_UNIX) as gone, socket.socket(socket.AF_UNIX) as living:
        gone.bind(f"{deserted}/k-1")
        gone.close()
        living.bind(f"{used}/k-1")
        living.listen()
        for folder in (deserted, used, foreign):
            age(folder)
        sockets.sweep(place)
        assert sorted(place.iterdir()) == sorted([used, young, foreign])


def test_link_is_not_followed(place: Path) -> None:
    target = place / "target"
    target.mkdir()
    (place / f"{sockets.PREFIX}x").symlink_to(target)
    age(target)
    sockets.sweep(place)
    assert target.exists()
