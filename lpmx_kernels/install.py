"""`lpmx kernel install` and `sync`: from an image to a kernel spec, by what the image offers."""

from __future__ import annotations

import fnmatch
import os
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lpmx_kernels.image import tiers
from lpmx_kernels.nodes.queues import find_queue
from lpmx_kernels.spec import kernelspec
from lpmx_kernels.spec.secrets import check_public
from lpmx_kernels.spec.settings import KernelSettings
from lpmx_kernels.start import source
from lpmx_runtime.compose.envfile import Kernel
from lpmx_runtime.compose.mapwords import parse_map
from lpmx_runtime.compose.start import variables
from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.fetch.obtain import finder
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from lpmx_kernels.image.tiers import Tier
    from lpmx_kernels.spec.kernelspec import InstalledSpec, KernelSpec


@dataclass(frozen=True)
class Wishes:
    """What the options of `install` say; all have a default that suits most."""

    image: str
    name: str = ""
    display_name: str = ""
    tier: str = tiers.AUTO
    python: str = ""
    binds: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    persist: str = ""
    user: str = ""
    transport: str = ""
    map: tuple[str, ...] = ()
    batch: str = ""
    gpus: str = ""
    survive: bool = False
    launcher: str = ""
    launcher_options: tuple[str, ...] = ()
    plain: bool = False
    synced: bool = False
    shared: bool = False  # goes where others start kernels from
    pull: str = ""  # as --pull: for the installation, not for its kernels


@dataclass(frozen=True)
class Installed:
    """A kernel spec that was written."""

    spec: KernelSpec
    tier: Tier
    directory: Path
    image_id: str
    public: tuple[str, ...] = ()  # variables whose values others can read there


def install(wishes: Wishes, kernels: Path) -> Installed:
    """Make an image a kernel in the folder `kernels`; one of ours of that name is replaced."""
    store = Store.open()
    if source.is_environment(wishes.image):
        wishes = replace(wishes, image=os.path.abspath(wishes.image))
    find = finder(store, "never" if wishes.synced else wishes.pull)
    image = source.find_image(store, wishes.image, find=find)
    section = source.kernel_section(wishes.image) or Kernel()
    parse_map(wishes.map, find)  # a bad one is refused now
    name = wishes.name or section.name or kernelspec.default_name(wishes.image)
    name = kernelspec.check_name(name)
    if section.argv and wishes.tier == tiers.AUTO and not wishes.python:
        tier = tiers.of_argv(section.argv, section.language)
    else:
        tier = tiers.choose(store, image, wanted=wishes.tier, python=wishes.python)
    transport = _transport(wishes, tier)
    env = {**variables(section.env, os.environ), **wishes.env}
    if wishes.shared:
        check_public(env, os.fspath(kernels))
    spec = kernelspec.KernelSpec(
        name=name,
        display_name=wishes.display_name
        or section.display_name
        or kernelspec.default_display_name(wishes.image),
        settings=KernelSettings(
            image=wishes.image,
            command=tier.command,
            binds=wishes.binds,
            env=env,
            persist=wishes.persist,
            user=wishes.user,
            store=str(store.root) if os.environ.get("LPMX_HOME") else "",
            payload=tier.payload,
            map=wishes.map,
            batch=wishes.batch,
            gpus=wishes.gpus,
            survive=wishes.survive,
            launcher=wishes.launcher,
            launcher_options=wishes.launcher_options,
            host_kernel=tier.host_kernel,
        ),
        transport=transport,
        language=tier.language,
        debugger=tier.debugger,
        plain=wishes.plain,
        facts={
            "image_id": image.id,
            "tier": tier.name,
            **({"synced": True} if wishes.synced else {}),
            **tier.facts,
        },
    )
    directory = kernelspec.write_spec(spec, kernels, shared=wishes.shared)
    return Installed(spec, tier, directory, image.id, tuple(env) if wishes.shared else ())


def sync(
    patterns: Sequence[str], kernels: Path, say: Callable[[str], None]
) -> tuple[list[Installed], list[str]]:
    """One kernel for each stored image whose name matches a pattern; those of gone images go.

    Kernels that were installed by hand are left alone. Answers what was installed and what was
    removed; `say` gets a line for each image that cannot be a kernel.
    """
    names = [name for image in Store.open().images() for name in image.names]
    wanted = {name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns)}
    present = {spec.name: spec for spec in kernelspec.installed_specs()}
    installed, kept = [], set()
    for image in sorted(wanted):
        name = kernelspec.default_name(image)
        old = present.get(name)
        if name in kept or (old and not old.synced):
            say(f"{image}: the kernel {name} is there already")
            continue
        try:
            installed.append(install(Wishes(image, synced=True), kernels))
            kept.add(name)
        except LpmxError as error:
            say(f"{error.message}" + (f"\n  ({error.hint})" if error.hint else ""))
    gone = [spec for spec in present.values() if _is_stale(spec, kernels, kept, set(names))]
    for spec in gone:
        kernelspec.remove_spec(spec)
    return installed, [spec.name for spec in gone]


def _is_stale(spec: InstalledSpec, kernels: Path, kept: set[str], images: set[str]) -> bool:
    ours = spec.synced and spec.directory.parent == kernels
    return ours and spec.name not in kept and spec.image not in images


def absolute_bind(text: str) -> str:
    """A bind as it is meant here and now: the spec is used from any directory."""
    source, colon, rest = text.partition(":")
    if not source:
        raise UsageError(f"bind {text!r}: names no source", hint="-v SRC:DST[:ro]")
    return f"{os.path.abspath(os.path.expanduser(source))}{colon}{rest}"


def environment_entry(text: str) -> tuple[str, str]:
    """NAME=VALUE, or NAME with the value it has here."""
    name, equals, value = text.partition("=")
    if not name:
        raise UsageError(f"variable {text!r}: names nothing", hint="-e NAME=VALUE, or -e NAME")
    if not equals and name not in os.environ:
        raise UsageError(f"variable {name}: is not set here", hint="-e NAME=VALUE")
    return name, value if equals else os.environ[name]


def kernels_directory(*, sys_prefix: bool, prefix: str | None) -> Path:
    """Where the options say that specs go."""
    return kernelspec.kernels_directory(prefix=sys.prefix if sys_prefix else prefix)


def _transport(wishes: Wishes, tier: Tier) -> str:
    asked = wishes.transport
    if tier.transport and asked and asked != tier.transport:
        raise UsageError(f"--transport {asked}: this kernel knows {tier.transport} alone")
    if find_queue(wishes.launcher):
        if asked == "ipc":
            raise UsageError("--transport ipc: does not reach a kernel on another node")
        if wishes.survive:
            raise UsageError(
                f"--survive: a kernel in a job of {wishes.launcher} ends with its server"
            )
        return ""
    if wishes.launcher_options:
        raise UsageError("--launcher-options: go to a batch system; name one with --launcher")
    return asked or tier.transport
