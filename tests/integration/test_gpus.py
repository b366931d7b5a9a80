"""`--gpus`: programs of an image find the driver's libraries, and only those.

There is no GPU on test machines: the driver is that of support/fakegpu.py.
"""

from __future__ import annotations

import os

import pytest
from support.fakegpu import VERSION, build_driver, write_cdi

COUNT = """
import ctypes
cuda = ctypes.CDLL("libcuda.so.1")
count = ctypes.c_int()
print(cuda.cuInit(0), cuda.cuDeviceGetCount(ctypes.byref(count)), count.value)
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    return build_driver(tmp_path_factory.mktemp("gpu") / "driver")


@pytest.fixture
def run(run_lpmx, image, driver, tmp_path):
    """run(GPUS, COMMAND...): in the Python image, on a node with the fake driver."""
    node = {"LPMX_DRIVER_ROOT": str(driver), "LPMX_CDI_DIRS": str(tmp_path / "cdi")}

    def call(gpus, *command, env=None, options=(), **keywords):
        arguments = ("--gpus", gpus, *options, image("demo"), *command)
        return run_lpmx("run", *arguments, env={**node, **(env or {})}, **keywords)

    return call


def test_cuda_initialises_without_library_path(run):
    assert run("all", "python3", "-c", COUNT).stdout == "0 0 2\n"
    assert "LD_LIBRARY_PATH" not in run("all", "env").stdout


def test_image_without_gpus_sees_no_driver(run):
    done = run("none", "python3", "-c", COUNT, check=False)
    assert "libcuda.so.1: cannot open shared object file" in done.stderr


def test_chosen_gpus_are_what_cuda_counts(run):
    assert run("1", "python3", "-c", COUNT).stdout == "0 0 1\n"
    assert run("device=1", "sh", "-c", "echo $CUDA_VISIBLE_DEVICES").stdout == "1\n"
    granted = {"CUDA_VISIBLE_DEVICES": "1"}
    assert run("all", "python3", "-c", COUNT, env=granted).stdout == "0 0 1\n"
    done = run("2", "true", env=granted, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("lpmx: --gpus 2: there is 1 (CUDA_VISIBLE_DEVICES is 1)")


def test_only_the_drivers_own_files_appear(run):
    folder = "/usr/lib/x86_64-linux-gnu"
    names = run("all", "sh", "-c", f"cd {folder}; ls | grep -E 'nvidia|libcuda'").stdout.split()
    assert set(names) == {
        f"libEGL_nvidia.so.{VERSION}",
        "libEGL_nvidia.so.0",
        "libcuda.so",
        f"libcuda.so.{VERSION}",
        "libcuda.so.1",
        f"libnvidia-ml.so.{VERSION}",
        "libnvidia-ml.so",
        "libnvidia-ml.so.1",
        f"libnvidia-ptxjitcompiler.so.{VERSION}",
        "libnvidia-ptxjitcompiler.so.1",
    }
    check = f"grep -c host_libc {folder}/libc.so.6"
    assert run("all", "sh", "-c", check, check=False).stdout == "0\n"


def test_loader_cache_lists_the_driver(run):
    listed = run("all", "sh", "-c", "/sbin/ldconfig -p").stdout
    assert "\tlibcuda.so.1 (libc6,x86-64) => /usr/lib/x86_64-linux-gnu/libcuda.so.1\n" in listed
    assert "\tlibc.so.6 (libc6,x86-64" in listed


def test_programs_manifests_and_nodes_appear(run):
    assert run("all", "nvidia-smi").stdout == "fake smi\n"
    assert run("all", "cat", "/usr/share/vulkan/icd.d/nvidia_icd.json").stdout == '{"ICD": {}}'
    assert run("all", "cat", "/dev/nvidia1").stdout == "gpu 1"


def test_no_name_is_left_in_the_hosts_dev(run):
    before = sorted(os.listdir("/dev"))
    assert run("all", "cat", "/dev/nvidia0", "/dev/nvidia-uvm").stdout == "gpu 0nvidia-uvm"
    assert sorted(os.listdir("/dev")) == before


def test_nothing_of_the_driver_is_written_into_the_container(run_lpmx, store, run, request):
    name = "gpu-written"
    run("all", "python3", "-c", COUNT, options=("--name", name))
    request.addfinalizer(lambda: run_lpmx("rm", name))
    upper = (store.home / "containers" / ".names" / name).resolve() / "upper"
    found = [p for p in upper.rglob("*") if "nvidia" in p.name or "cuda" in p.name]
    assert [p.name for p in found if p.stat().st_size] == []


@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_cdi_specification_is_used(run, driver, tmp_path, suffix):
    write_cdi(tmp_path / "cdi", driver, suffix=suffix)
    elsewhere = {"LPMX_DRIVER_ROOT": str(tmp_path)}  # so that nothing is found by searching
    assert run("nvidia.com/gpu=all", "python3", "-c", COUNT, env=elsewhere).stdout == "0 0 2\n"
    assert run("nvidia.com/gpu=1", "python3", "-c", COUNT, env=elsewhere).stdout == "0 0 1\n"
    assert run("all", "cat", "/dev/nvidia0", env=elsewhere).stdout == "gpu 0"
    assert run("all", "sh", "-c", "ls /usr/lib/x86_64-linux-gnu/libcuda.so", env=elsewhere).stdout


def test_stale_cdi_specification_says_so(run, driver, tmp_path):
    path = write_cdi(tmp_path / "cdi", driver)
    path.write_text(path.read_text().replace(VERSION, "535.1.1"))
    done = run("all", "true", check=False)
    assert done.returncode == 125
    assert "a CDI specification names it and it is not there" in done.stderr


def test_no_driver_is_a_clear_error(run, tmp_path):
    done = run("all", "true", env={"LPMX_DRIVER_ROOT": str(tmp_path)}, check=False)
    assert done.returncode == 125
    assert done.stderr.startswith("lpmx: this machine has no GPU driver")


def test_image_for_a_newer_cuda_is_refused(run):
    done = run("all", "true", options=("-e", "CUDA_VERSION=13.0.1"), check=False)
    assert done.returncode == 125
    assert "needs a driver for CUDA 13.0.1, version 580.65.6 or later" in done.stderr


def test_musl_image_is_refused(run_lpmx, image, driver):
    node = {"LPMX_DRIVER_ROOT": str(driver)}
    done = run_lpmx("run", "--gpus", "all", image("musl"), "true", env=node, check=False)
    assert done.returncode == 125
    assert "has no glibc" in done.stderr


def test_library_and_module_of_two_drivers_are_noticed(run, tmp_path):
    other = build_driver(tmp_path / "other", version="560.1")
    done = run("all", "true", env={"LPMX_DRIVER_ROOT": str(other)}, check=False)
    assert f"libcuda.so.1 is of driver {VERSION}, the kernel's module of 560.1" in done.stderr


def test_command_of_another_image_has_the_caller_s_gpus(run_lpmx, image, driver):
    node = {"LPMX_DRIVER_ROOT": str(driver)}
    maps = ["-m", f"count=image:{image('demo')}:/usr/bin/python3",
            "-m", f"plain=image:{image('biocontainer')}:/bin/busybox"]  # fmt: skip
    script = f"count -c '{COUNT}'; plain echo no glibc, no matter"
    asked = ["run", "--gpus", "1", *maps, image("c-probes"), "sh", "-c", script]
    assert run_lpmx(*asked, env=node).stdout == "0 0 1\nno glibc, no matter\n"
    without = run_lpmx("run", *maps, image("c-probes"), "sh", "-c", script, env=node)
    assert without.stdout == "no glibc, no matter\n"
