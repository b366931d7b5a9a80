"""Kernel specs: what is written, that it is found again, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
from typing import TYPE_CHECKING

import pytest

from lpmx_kernels.errors import KernelSpecError
from lpmx_kernels.image.probe import FoundPython
from lpmx_kernels.spec import kernelspec
from lpmx_kernels.spec.kernelspec import KernelSpec, write_spec
from lpmx_kernels.spec.settings import KernelSettings, read_spec
from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

FOUND = FoundPython("/opt/py/bin/python3", "3.11.2", "7.4.0", "glibc", "2.36")
SETTINGS = KernelSettings(
    image="lab/tools:1",
    command=FOUND.command,
    binds=("/data:/data:ro",),
    env={"A": "b"},
    persist="mine",
)


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "user"))
    return tmp_path / "kernels"


def write(kernels: Path, name: str = "tools", settings: KernelSettings = SETTINGS) -> Path:
    return write_spec(KernelSpec(name, "Tools (LPMX)", settings), kernels)


def test_written_spec_is_read_back_whole(kernels: Path) -> None:
    spec = read_spec(write(kernels))
    assert spec.settings == SETTINGS
    assert spec.display_name == "Tools (LPMX)"


def test_argv_is_an_absolute_launcher_without_ipykernel(kernels: Path) -> None:
    directory = write(kernels)
    argv = json.loads((directory / "kernel.json").read_text())["argv"]
    assert os.path.isabs(argv[0])
    assert os.access(argv[0], os.X_OK)
    assert "ipykernel_launcher" not in argv
    assert argv[-4:] == ["--spec", str(directory), "-f", "{connection_file}"]


def test_spec_has_only_keys_that_jupyter_knows(kernels: Path) -> None:
    from jupyter_client.kernelspec import KernelSpec as JupyterSpec

    raw = json.loads((write(kernels) / "kernel.json").read_text())
    assert set(raw) <= set(JupyterSpec.class_trait_names())
    assert raw["interrupt_mode"] == "signal"
    assert raw["metadata"]["debugger"] is True


def test_every_setting_is_a_trait_of_the_provisioner() -> None:
    from lpmx_kernels.provisioner import LpmxProvisioner

    settings = KernelSettings(
        "i", ("c",), ("b",), {"e": "v"}, "p", "u", "s", "y", ("m",), "auto", "all",
        survive=True, host_kernel="shell", launcher="slurm", launcher_options=("-p", "long"),
        notebook_images=("lab/*",), pull="never",
    )  # fmt: skip
    config = settings.to_config()
    assert len(config) == len(dataclasses.fields(KernelSettings))
    assert set(config) <= set(LpmxProvisioner.class_trait_names(config=True))


def test_spec_says_which_ipykernel_can_encrypt(kernels: Path) -> None:
    for version, expected in (("7.4.0", ["curve"]), ("6.29.5", None), ("", None)):
        spec = KernelSpec("tools", "Tools", SETTINGS, facts={"ipykernel": version})
        raw = json.loads((write_spec(spec, kernels) / "kernel.json").read_text())
        assert raw["metadata"].get("supported_encryption") == expected


def test_plain_spec_has_no_stanza_and_says_the_same(kernels: Path) -> None:
    spec = KernelSpec("tools", "Tools (LPMX)", SETTINGS, transport="ipc", plain=True)
    directory = write_spec(spec, kernels)
    raw = json.loads((directory / "kernel.json").read_text())
    assert "kernel_provisioner" not in raw["metadata"]
    assert read_spec(directory).settings == SETTINGS
    assert kernelspec.find_spec("tools").plain
    write(kernels)
    assert not kernelspec.find_spec("tools").plain


def test_logos_are_real_files_of_their_size(kernels: Path) -> None:
    directory = write(kernels)
    assert (directory / "logo-svg.svg").read_text().startswith("<svg")
    for size in (32, 64):
        png = directory / f"logo-{size}x{size}.png"
        assert not png.is_symlink()
        assert struct.unpack(">II", png.read_bytes()[16:24]) == (size, size)


def test_installing_again_replaces_and_leaves_no_rubbish(kernels: Path) -> None:
    write(kernels)
    write(kernels, settings=KernelSettings("other", ("python3",)))
    assert [spec.image for spec in kernelspec.installed_specs()] == ["other"]
    assert os.listdir(kernels) == ["tools"]


def test_a_kernel_of_somebody_else_is_not_replaced(kernels: Path) -> None:
    (kernels / "tools").mkdir(parents=True)
    (kernels / "tools" / "kernel.json").write_text('{"argv": ["python"], "display_name": "x"}')
    with pytest.raises(KernelSpecError, match="not one of lpmx"):
        write(kernels)
    assert list(kernelspec.installed_specs()) == []


def test_removed_spec_is_gone(kernels: Path) -> None:
    directory = write(kernels)
    kernelspec.remove_spec(kernelspec.find_spec("TOOLS"))
    assert not directory.exists()
    with pytest.raises(KernelSpecError, match="not found"):
        kernelspec.find_spec("tools")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "../x"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        kernelspec.check_name(name)


@pytest.mark.parametrize(
    ("image", "name", "display"),
    [
        ("debian:12", "debian-12", "debian 12 (LPMX)"),
        ("quay.io/bio/bwa:0.7.17--h5", "bwa-0.7.17--h5", "bwa 0.7.17--h5 (LPMX)"),
        ("lab/Tools:latest", "tools", "Tools (LPMX)"),
        ("x@sha256:abc", "x", "x (LPMX)"),
    ],
)
def test_default_names(image: str, name: str, display: str) -> None:
    assert kernelspec.default_name(image) == kernelspec.check_name(name) == name
    assert kernelspec.default_display_name(image) == display


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"image": ""},
        {"image": "x"},
        {"image": "x", "command": "python"},
        {"image": "x", "command": ["p"], "binds": "a:b"},
        {"image": "x", "command": ["p"], "env": ["A=b"]},
    ],
)
def test_damaged_stanza_is_refused_with_its_file(config: dict[str, object]) -> None:
    with pytest.raises(KernelSpecError, match=r"k/kernel\.json"):
        KernelSettings.from_config(config, where="k/kernel.json")


def test_frozen_modules_are_off_where_python_has_them() -> None:
    assert "-Xfrozen_modules=off" in FOUND.command
    assert "-Xfrozen_modules=off" not in FoundPython("p", "3.9.2", "6").command
