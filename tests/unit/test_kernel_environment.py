"""What of a client's environment a kernel gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lpmx_kernels.spec.client_env import ALWAYS, kernel_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER = {
    "HOME": "/home/ada",
    "PATH": "/host/bin",
    "SHELL": "/usr/bin/fish",
    "LANG": "de_DE.UTF-8",
    "PYTHONPATH": "/host/lib",
    "PYTHONHOME": "/host",
    "LD_LIBRARY_PATH": "/host/lib",
    "VIRTUAL_ENV": "/host/venv",
    "CONDA_PREFIX": "/host/conda",
    "JUPYTERHUB_API_TOKEN": "secret",
    "GITHUB_TOKEN": "secret",
    "SLURM_JOB_ID": "7",
    "SSH_CLIENT": "x",
}


def environment(
    client: Mapping[str, str] | None = None, asked: Mapping[str, str] | None = None
) -> dict[str, str]:
    everything = {**SERVER, **(client or {}), **(asked or {})}
    return kernel_environment(everything, asked=asked or {}, server=SERVER, marker="k1")


def test_only_what_jupyter_needs_comes_along() -> None:
    assert environment() == {"HOME": "/home/ada", **ALWAYS, "LPMX_KERNEL": "k1"}


@pytest.mark.parametrize("name", ["JPY_PARENT_PID", "JPY_SESSION_NAME", "MY_OWN"])
def test_what_a_client_sets_on_purpose_comes_along(name: str) -> None:
    assert environment({name: "x"})[name] == "x"


@pytest.mark.parametrize("name", ["PYTHONPATH", "LD_PRELOAD", "JUPYTERHUB_API_TOKEN", "LPMX_HOME"])
def test_what_breaks_a_kernel_never_comes_from_a_client(name: str) -> None:
    assert name not in environment({name: "changed"})


def test_kernel_spec_may_set_anything() -> None:
    asked = {"PYTHONPATH": "/opt/lib", "MY_TOKEN": "t", "PYTHONNOUSERSITE": ""}
    assert asked.items() <= environment(asked=asked).items()
