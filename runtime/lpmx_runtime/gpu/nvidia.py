"""NVIDIA's driver as it lies on the host: libraries, programs, manifests, device nodes, GPUs.

The libraries are those of one version, that of the libcuda.so.1 which the host's own programs
would load. What belongs to a driver is told by its name and, for most files, by the driver's
version at the end of it: libnvidia-ptxjitcompiler.so.550.54.15.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .elf import X86_64, read_library
from .ldcache import LIBC6_X86_64, parse_cache

if TYPE_CHECKING:
    from .host import GpuHost

__all__ = ["Driver", "find_driver", "find_gpus", "find_nodes", "kernel_version"]

_CUDA = "libcuda.so.1"
_CACHE = "/etc/ld.so.cache"
_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib64/nvidia",
    "/usr/lib/nvidia/current",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/run/opengl-driver/lib",
    "/usr/lib/wsl/lib",
)
_LIBRARY = re.compile(
    r"lib(cuda|cudadebugger|nvidia-.+|nvcuvid|nvoptix|vdpau_nvidia|(EGL|GLX|GLESv1_CM|GLESv2)_nvidia)\.so.*"
)
# These carry a version of their own.
_UNVERSIONED = re.compile(r"libnvidia-(nvvm|api|egl-(wayland|gbm|xcb|xlib))[0-9]*\.so.*")
_PROGRAMS = (
    "nvidia-smi",
    "nvidia-debugdump",
    "nvidia-persistenced",
    "nvidia-cuda-mps-control",
    "nvidia-cuda-mps-server",
)
_PROGRAM_FOLDERS = (
    "/usr/bin",
    "/usr/local/nvidia/bin",
    "/run/opengl-driver/bin",
    "/usr/lib/wsl/lib",
)
# Folder, names: the manifests by which Vulkan, EGL and OpenCL find a driver.
_MANIFESTS = (
    ("vulkan/icd.d", re.compile(r"nvidia.*\.json")),
    ("vulkan/implicit_layer.d", re.compile(r"nvidia.*\.json")),
    ("glvnd/egl_vendor.d", re.compile(r"\d*_?nvidia.*\.json")),
    ("egl/egl_external_platform.d", re.compile(r"\d*_?nvidia.*\.json")),
    ("OpenCL/vendors", re.compile(r"nvidia.*\.icd")),
)
_MANIFEST_ROOTS = ("/etc", "/usr/share", "/usr/local/nvidia/share")
_NODE = re.compile(r"nvidia(\d+|ctl|-uvm|-uvm-tools|-modeset)")


@dataclass(frozen=True)
class Driver:
    """The half of a driver that lives in files. All paths are host paths."""

    version: str  # "" when its files do not say
    libraries: dict[str, str] = field(default_factory=dict)  # name a program loads it by -> file
    programs: dict[str, str] = field(default_factory=dict)  # name -> file
    manifests: dict[str, str] = field(default_factory=dict)  # container path -> file


def find_driver(host: GpuHost) -> Driver | None:
    """The driver's files; None when there is no libcuda.so.1 for this machine."""
    cuda = next((path for path in _cuda_candidates(host) if _is_usable(path)), "")
    if not cuda:
        return None
    version = kernel_version(host) or cuda.rpartition(".so.")[2]
    version = version if re.fullmatch(r"\d+(\.\d+)+", version) else ""
    return Driver(version, _libraries(cuda, version), _programs(host), _manifests(host))


def _cuda_candidates(host: GpuHost) -> list[str]:
    """Where libcuda.so.1 may be: what the host's loader would take first."""
    try:
        with open(host.path(_CACHE), "rb") as file:
            cached = parse_cache(file.read())
    except OSError:
        cached = []
    paths = [os.path.join(folder, _CUDA) for folder in _search_path(host)]
    paths += [e.path for e in cached if e.name == _CUDA and e.flags == LIBC6_X86_64]
    paths += [os.path.join(folder, _CUDA) for folder in _FOLDERS]
    found = [host.real(path) for path in dict.fromkeys(paths)]
    return [path for path in dict.fromkeys(found) if path]


def _search_path(host: GpuHost) -> list[str]:
    """LD_LIBRARY_PATH: some clusters put the driver there. Never a compat package or a stub."""
    folders = host.variable("LD_LIBRARY_PATH").split(":") if host.root == "/" else []
    return [f for f in folders if f.startswith("/") and not re.search(r"/(stubs|compat)(/|$)", f)]


def _is_usable(path: str) -> bool:
    library = read_library(path)
    return library is not None and library.machine == X86_64


def _libraries(cuda: str, version: str) -> dict[str, str]:
    folder = os.path.dirname(cuda)
    found: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if os.path.islink(path) or not _belongs(name, version):
            continue
        library = read_library(path)
        if library is None or library.machine != X86_64:
            continue
        found[name] = path
        if library.soname:
            found[library.soname] = path
    # Programs and Python packages also ask for these two without a number.
    for name, soname in (("libcuda.so", _CUDA), ("libnvidia-ml.so", "libnvidia-ml.so.1")):
        if soname in found:
            found.setdefault(name, found[soname])
    return found | {_CUDA: cuda}


def _belongs(name: str, version: str) -> bool:
    if _UNVERSIONED.fullmatch(name):
        return True
    return bool(_LIBRARY.fullmatch(name)) and (not version or name.endswith(f".so.{version}"))


def kernel_version(host: GpuHost) -> str:
    """The version of the kernel's half, from the module itself."""
    for path in ("/sys/module/nvidia/version", "/proc/driver/nvidia/version"):
        try:
            with open(host.path(path), encoding="ascii", errors="replace") as file:
                found = re.search(r"(?:^|\s)(\d{3,}\.\d+(?:\.\d+)?)(?:\s|$)", file.read(400))
        except OSError:
            continue
        if found:
            return found.group(1)
    return ""


def _programs(host: GpuHost) -> dict[str, str]:
    found = {}
    for name in _PROGRAMS:
        paths = (host.real(os.path.join(folder, name)) for folder in _PROGRAM_FOLDERS)
        path = next((path for path in paths if path and os.access(path, os.X_OK)), "")
        if path:
            found[name] = path
    return found


def _manifests(host: GpuHost) -> dict[str, str]:
    found: dict[str, str] = {}
    for root in _MANIFEST_ROOTS:
        for folder, pattern in _MANIFESTS:
            place = os.path.join(root, folder)
            try:
                names = sorted(os.listdir(host.path(place)))
            except OSError:
                continue
            shown = "/usr/share" if root.startswith("/usr/local") else root
            for name in filter(pattern.fullmatch, names):
                path = host.real(os.path.join(place, name))
                if path:
                    found.setdefault(os.path.join(shown, folder, name), path)
    return found


def find_gpus(host: GpuHost) -> list[tuple[str, str]]:
    """Index and UUID ("" when it is not told) of each GPU, in order of their device nodes."""
    uuids = {}
    folder = host.path("/proc/driver/nvidia/gpus")
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        try:
            with open(os.path.join(folder, name, "information"), encoding="ascii") as file:
                facts = dict(line.split(":", 1) for line in file if ":" in line)
        except (OSError, ValueError):
            continue
        minor = facts.get("Device Minor", "").strip()
        uuids[minor] = facts.get("GPU UUID", "").strip()
    numbers = [re.fullmatch(r"nvidia(\d+)", os.path.basename(path)) for path in find_nodes(host)]
    indices = sorted(int(found.group(1)) for found in numbers if found)
    return [(str(index), uuids.get(str(index), "")) for index in indices]


def find_nodes(host: GpuHost) -> list[str]:
    """Paths of the driver's device nodes."""
    nodes = [p for p in host.devices("/dev") if _NODE.fullmatch(os.path.basename(p))]
    # WSL has one node for all, and no nvidia ones.
    return nodes + host.devices("/dev/nvidia-caps") + host.devices("/dev/dxg")
