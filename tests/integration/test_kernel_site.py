"""Kernels at sites with ways of their own: folders, package indexes and certificates."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from support.jupyter import Jupyter, Session


def test_notebook_folder_that_is_not_shown_is_told(
    bare_jupyter: Jupyter,
    busybox_image: str,
    start: Callable[..., Session],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bare_jupyter.lpmx("kernel", "install", busybox_image, "--name", "site", "--kernel", "shell")
    with caplog.at_level(logging.WARNING):
        session = start("site", cwd="/usr/share")
    told = "the working directory /usr/share is not shown in the container"
    assert told in caplog.text
    assert told in bare_jupyter.lpmx("kernel", "logs", "site").stdout
    assert session.run("pwd") != "/usr/share\n"
