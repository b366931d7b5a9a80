"""The public test suite of Jupyter kernels, jupyter_kernel_test, on a kernel in an image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.kernel_suite import PythonKernel, ShellKernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.lpmx import Lpmx

OWN, PAYLOAD, SHELL = "lpmx-own", "lpmx-payload", "lpmx-shell"


@pytest.fixture(scope="module", autouse=True)
def _kernels(
    tmp_path_factory: pytest.TempPathFactory,
    store: Lpmx,
    image: Callable[[str], str],
    payload_image: str,
) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("jupyter")
    (folder / "runtime").mkdir()
    environment = {
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    images = {OWN: image("demo"), PAYLOAD: payload_image, SHELL: image("biocontainer")}
    for name, which in images.items():
        store("kernel", "install", which, "--name", name, env=environment)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setitem(os.environ, name, value)
        yield


class TestOwnKernel(PythonKernel):
    """The image's own ipykernel."""

    __test__ = True
    kernel_name = OWN


class TestPayloadKernel(PythonKernel):
    """An ipykernel that the image does not have."""

    __test__ = True
    kernel_name = PAYLOAD


class TestShellKernel(ShellKernel):
    """The shell of an image."""

    __test__ = True
    kernel_name = SHELL
