"""A GPU node that is not one: a driver root with real ELF libraries, device nodes and manifests.

The libraries are built here with the machine's compiler, with the sonames and version suffixes of a
real driver. Like the real one, this libcuda.so.1 loads a second library of the driver by name and
counts the devices that CUDA_VISIBLE_DEVICES leaves.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

VERSION = "550.54.15"
UUIDS = ("GPU-11111111-aaaa", "GPU-22222222-bbbb")

_CUDA = """
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags)
{
    void *jit = dlopen("libnvidia-ptxjitcompiler.so.1", RTLD_NOW);
    return flags || !jit || !dlsym(jit, "nvPTX") ? 999 : 0;
}
int cuDeviceGetCount(int *count)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    *count = 2;
    if (visible) {
        *count = *visible ? 1 : 0;
        for (; *visible; visible++)
            *count += *visible == ',';
    }
    return 0;
}
"""
# file, soname, source
_LIBRARIES = (
    (f"libcuda.so.{VERSION}", "libcuda.so.1", _CUDA),
    (f"libnvidia-ml.so.{VERSION}", "libnvidia-ml.so.1", "int nvmlInit(void) { return 0; }"),
    (
        f"libnvidia-ptxjitcompiler.so.{VERSION}",
        "libnvidia-ptxjitcompiler.so.1",
        "int nvPTX(void) { return 7; }",
    ),
    (f"libEGL_nvidia.so.{VERSION}", "libEGL_nvidia.so.0", "int egl(void) { return 0; }"),
    # Of an older driver, and of the host: neither belongs into a container.
    ("libnvidia-old.so.535.1", "libnvidia-old.so.535.1", "int old(void) { return 0; }"),
    ("libc.so.6", "libc.so.6", "int host_libc(void) { return 0; }"),
)


def build_driver(root: Path, *, gpus: int = 2, version: str = VERSION) -> Path:
    """Make a driver root at @root."""
    folder = root / "usr/lib/x86_64-linux-gnu"
    folder.mkdir(parents=True)
    for name, soname, source in _LIBRARIES:
        (root / "source.c").write_text(source)
        command = ["cc", "-shared", "-fPIC", "-nostartfiles", f"-Wl,-soname,{soname}"]
        subprocess.run([*command, "-o", folder / name, root / "source.c"], check=True)
        if soname != name:
            (folder / soname).symlink_to(name)
    _write(root / "sys/module/nvidia/version", f"{version}\n")
    for index in range(gpus):
        text = f"Model: \t Fake\nGPU UUID: \t {UUIDS[index]}\nDevice Minor: \t {index}\n"
        _write(root / f"proc/driver/nvidia/gpus/0000:0{index}:00.0/information", text)
        _write(root / f"dev/nvidia{index}", f"gpu {index}")
    for name in ("nvidiactl", "nvidia-uvm"):
        _write(root / "dev" / name, name)
    _write(root / "usr/bin/nvidia-smi", "#!/bin/sh\necho fake smi\n").chmod(0o755)
    _write(root / "usr/share/vulkan/icd.d/nvidia_icd.json", '{"ICD": {}}')
    _write(root / "etc/OpenCL/vendors/nvidia.icd", "libnvidia-opencl.so.1\n")
    return root


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_cdi(folder: Path, driver: Path, *, suffix: str = ".json") -> Path:
    """A CDI specification of @driver as `nvidia-ctk cdi generate` would write it."""
    inside = "/usr/lib/x86_64-linux-gnu"
    files = [name for name, _, _ in _LIBRARIES if name.endswith(VERSION)]

    def node(name: str) -> dict[str, str]:
        return {"hostPath": str(driver / "dev" / name), "path": f"/dev/{name}"}

    def device(name: str, *nodes: str) -> dict[str, object]:
        return {"name": name, "containerEdits": {"deviceNodes": [node(n) for n in nodes]}}

    spec = {
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": [
            device("0", "nvidia0"),
            device("1", "nvidia1"),
            device("all", "nvidia0", "nvidia1"),
        ],
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "deviceNodes": [node("nvidiactl")],
            "mounts": [
                {
                    "hostPath": f"{driver}{inside}/{name}",
                    "containerPath": f"{inside}/{name}",
                    "options": ["ro", "nosuid", "nodev", "bind"],
                }
                for name in files
            ],
            "hooks": [
                {
                    "hookName": "createContainer",
                    "path": "/usr/bin/nvidia-ctk",
                    "args": [
                        "nvidia-ctk", "hook", "create-symlinks",
                        "--link", f"libcuda.so.1::{inside}/libcuda.so",
                    ],
                },
                {
                    "hookName": "createContainer",
                    "path": "/usr/bin/nvidia-ctk",
                    "args": ["nvidia-ctk", "hook", "update-ldcache", "--folder", inside],
                },
            ],
        },
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"nvidia{suffix}"
    text = json.dumps(spec)
    if suffix != ".json":
        import yaml

        text = yaml.safe_dump(spec)
    path.write_text(text)
    return path
