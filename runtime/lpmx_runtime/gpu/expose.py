"""What a start needs so that the programs of an image can use the host's GPUs.

Decides and touches nothing. Driver libraries go where the image's own dynamic loader lies, since
every glibc searches the folder that it is installed in, whatever the distribution calls it; and
into a copy of the image's /etc/ld.so.cache, for what asks `ldconfig -p`. No LD_LIBRARY_PATH, and
nothing of the host but the driver's files. They are seeds: shown as if a layer held them, until
the container writes its own.
"""

from __future__ import annotations

import os
import posixpath
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lpmx_runtime.plans.binds import find_bind
from lpmx_runtime.plans.plan import Bind, Exposure
from lpmx_runtime.union.imagefile import node_path, read_file

from . import cdi, nvidia, rocm
from .choose import choose_gpus
from .cuda import check_driver
from .elf import read_library
from .errors import GpuError
from .host import this_host
from .ldcache import CacheEntry, add_libraries
from .request import parse_request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lpmx_runtime.store.store import Store
    from lpmx_runtime.union.view import View

    from .host import GpuHost
    from .request import GpuRequest

__all__ = ["expose"]

_LOADER = "/lib64/ld-linux-x86-64.so.2"  # by the x86-64 psABI
_CACHE = "/etc/ld.so.cache"
_CACHE_MAX = 64 << 20
_COMPAT = "/usr/local/cuda/compat/libcuda.so.1"
_KIND = "nvidia.com/gpu"


@dataclass
class _Wanted:
    """What is to be shown, where the image has room for it. Paths: inside -> host."""

    libraries: dict[str, str] = field(default_factory=dict)  # by name
    files: dict[str, str] = field(default_factory=dict)
    folders: list[Bind] = field(default_factory=list)
    nodes: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    driver: str = ""  # NVIDIA's version


def expose(
    store: Store,
    view: View,
    text: str,
    environ: Mapping[str, str],
    *,
    image: str,
    env: Mapping[str, str],
    binds: Iterable[Bind],
) -> Exposure:
    """Decide what @text, as after --gpus, needs in the image called @image with @view.

    The image has variables @env and @binds; @environ is the user's environment. GpuError when the
    host has no such GPU or the image cannot use it.
    """
    request = parse_request(text)
    if request is None:
        return Exposure()
    host = this_host(environ)
    wanted = _find(request, host)
    if wanted.driver:
        compat = view.lookup(_COMPAT) is not None
        check_driver(wanted.driver, env, image=image, has_compat=compat)
    folder = _library_folder(view)
    if wanted.libraries and not folder:
        raise GpuError(
            f"image {image} has no glibc, and a GPU driver's libraries need it",
            hint="use an image of Debian, Ubuntu, Fedora ... instead of Alpine or a static one",
        )
    libraries = {f"{folder}/{name}": path for name, path in wanted.libraries.items()}
    shown = [_seed(view, dst, src) for dst, src in {**wanted.files, **libraries}.items()]
    binds = tuple(binds)
    shown += [_node(dst, src) for dst, src in wanted.nodes.items() if not _has(binds, dst, src)]
    cache = read_file(store, view, _CACHE, _CACHE_MAX)
    entries = [CacheEntry(os.path.basename(path), path) for path in libraries]
    files = {_CACHE: add_libraries(cache, entries)} if cache and entries else {}
    notes = [*wanted.notes, *_unusable(wanted.nodes.values())]
    return Exposure((*wanted.folders, *shown), wanted.env, files, tuple(notes))


def _library_folder(view: View) -> str:
    """The folder of the image's dynamic loader, without symlinks; "" for an image without glibc."""
    node = view.lookup(_LOADER)
    return posixpath.dirname(node_path(view, node)) if node else ""


def _seed(view: View, dst: str, src: str) -> Bind:
    parent, name = posixpath.split(dst)
    node = view.lookup(parent)
    if node is None or not stat.S_ISDIR(node.mode):
        return Bind(src, dst, read_only=True, file=True)
    return Bind(src, posixpath.join(node_path(view, node), name), file=True, seed=True)


def _node(dst: str, src: str) -> Bind:
    return Bind(src, dst, file=not os.path.isdir(src))


def _has(binds: Iterable[Bind], dst: str, src: str) -> bool:
    bind = find_bind(binds, dst)
    return bind is not None and posixpath.normpath(bind.src + dst[len(bind.dst) :]) == src


def _unusable(nodes: Iterable[str]) -> list[str]:
    return [
        f"{path}: you may not use it; ask to be put into the group that owns it"
        for path in nodes
        if not os.access(path, os.R_OK | os.W_OK)
    ]


# ---- what the host has


def _find(request: GpuRequest, host: GpuHost) -> _Wanted:
    registry = cdi.load_registry(host)
    if request.cdi:
        return _by_cdi(registry, request.cdi)
    names = registry.names(_KIND)
    if names:
        wanted = _by_cdi(registry, _cdi_names(request, names))
        wanted.env |= choose_gpus(request, nvidia.find_gpus(host), host)
        return wanted
    return _by_search(request, host)


def _cdi_names(request: GpuRequest, names: list[str]) -> list[str]:
    """Qualified names for a request in docker's words. Only "all" has what every device needs."""
    chosen = ["all"] if "all" in names else names
    if request.devices and set(request.devices) <= set(names):
        chosen = list(request.devices)
    return [f"{_KIND}={name}" for name in chosen]


def _by_cdi(registry: cdi.Registry, names: Iterable[str]) -> _Wanted:
    edits = registry.edits(list(names))
    wanted = _Wanted(env=dict(edits.env), notes=list(edits.notes))
    wanted.notes += registry.problems
    for source, place in edits.nodes:
        _must_exist(source)
        wanted.nodes[place] = source
    for source, place, read_only in edits.mounts:
        _must_exist(source)
        if os.path.isdir(source):
            wanted.folders.append(Bind(source, place, read_only=read_only))
            continue
        wanted.files[place] = source
        library = read_library(source)
        if library:
            names_of = {os.path.basename(place), library.soname} - {""}
            wanted.libraries |= dict.fromkeys(names_of, source)
            _note_driver(wanted, source)
    for target, place in edits.links:
        _link(wanted, target, place)
    chosen = [name.partition("=")[2] for name in names if name.startswith(f"{_KIND}=")]
    if chosen and "all" not in chosen:
        wanted.env["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    return wanted


def _must_exist(path: str) -> None:
    if not os.path.exists(path):
        raise GpuError(
            f"{path}: a CDI specification names it and it is not there",
            hint="the driver was changed since: ask for `nvidia-ctk cdi generate` to be run again",
        )


def _note_driver(wanted: _Wanted, path: str) -> None:
    name, _, version = os.path.basename(path).partition(".so.")
    if name == "libcuda" and version.count("."):
        wanted.driver = version


def _link(wanted: _Wanted, target: str, place: str) -> None:
    """A link that a hook would make: the file itself is shown there instead."""
    full = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
    source = wanted.files.get(full) or wanted.libraries.get(posixpath.basename(target))
    if source:
        wanted.files[place] = source
        if posixpath.dirname(full) == posixpath.dirname(place) and ".so" in place:
            wanted.libraries[posixpath.basename(place)] = source


def _by_search(request: GpuRequest, host: GpuHost) -> _Wanted:
    wanted = _Wanted()
    driver, nodes, amd = nvidia.find_driver(host), nvidia.find_nodes(host), rocm.find_nodes(host)
    if driver is None and not amd:
        raise _no_driver(nodes)
    for path in nodes + amd:
        wanted.nodes[host.inside(path)] = path
    if driver is None:
        if not request.everything:
            wanted.env |= _rocm_choice(request)
        return wanted
    gpus = nvidia.find_gpus(host)
    if not nodes:
        raise GpuError(
            "NVIDIA's driver is installed, but there is no /dev/nvidia0",
            hint="this node has no GPU, or its kernel module is not loaded: ask for a GPU node",
        )
    _check_versions(driver)
    wanted.driver = driver.version
    wanted.libraries = dict(driver.libraries)
    wanted.files |= {f"/usr/bin/{name}": path for name, path in driver.programs.items()}
    wanted.files |= driver.manifests
    wanted.env |= choose_gpus(request, gpus, host)
    if gpus and not any(path.endswith("/nvidia-uvm") for path in nodes):
        wanted.notes.append(
            "/dev/nvidia-uvm is missing and CUDA needs it: ask for `nvidia-modprobe -u`"
        )
    return wanted


def _rocm_choice(request: GpuRequest) -> dict[str, str]:
    chosen = ",".join(request.devices or map(str, range(request.count)))
    return {"ROCR_VISIBLE_DEVICES": chosen}


def _no_driver(nodes: list[str]) -> GpuError:
    if nodes:
        return GpuError(
            f"{nodes[0]} is there, but no libcuda.so.1 of NVIDIA's driver",
            hint="where its files lie elsewhere, set LPMX_DRIVER_ROOT to their folder",
        )
    return GpuError(
        "this machine has no GPU driver: no libcuda.so.1, no CDI specification, no /dev/kfd",
        hint="run on a node with a GPU, or without --gpus",
    )


def _check_versions(driver: nvidia.Driver) -> None:
    path = os.path.basename(os.path.realpath(driver.libraries["libcuda.so.1"]))
    version = path.partition(".so.")[2]
    if driver.version and version.count(".") and version != driver.version:
        raise GpuError(
            f"libcuda.so.1 is of driver {version}, the kernel's module of {driver.version}",
            hint="the driver was updated while the machine was running: it needs a restart",
        )
