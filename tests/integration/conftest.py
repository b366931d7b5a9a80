"""Fixtures for tests of running: the tiny image, which is there in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import busybox

if TYPE_CHECKING:
    from support.lpmx import Lpmx


@pytest.fixture(scope="session")
def busybox_image(store: Lpmx, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of the tiny image (support/busybox.py) in `store`."""
    if not busybox.available():
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    store("load", busybox.write_archive(tmp_path_factory.mktemp("busybox") / "busybox.tar"))
    return "busybox:test"
