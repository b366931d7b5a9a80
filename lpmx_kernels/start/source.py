"""What a kernel is started from: an image of the store, or an environment file.

An environment brings its image, binds, variables, exec map, GPUs, batch system and user; what the
kernel spec says of its own wins. See docs/environments.md.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lpmx_runtime.compose.mapwords import parse_map
from lpmx_runtime.launch.start import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lpmx_kernels.spec.settings import KernelSettings
    from lpmx_runtime.compose.envfile import Kernel
    from lpmx_runtime.fetch.obtain import Finder
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

SUFFIXES = (".yaml", ".yml")


def is_environment(name: str) -> bool:
    """Say whether a kernel spec's `image` is an environment file. No image's name ends so."""
    return name.endswith(SUFFIXES)


def find_image(
    store: Store,
    name: str,
    environ: Mapping[str, str] | None = None,
    find: Finder | None = None,
) -> Image:
    """The image of that name, or that of the environment file `name`; `find` may bring it in."""
    return _start(store, name, Options(), os.environ if environ is None else environ, find)[0]


def start_options(
    store: Store, settings: KernelSettings, environ: Mapping[str, str]
) -> tuple[Image, Options]:
    """The image of a start, and the options of its container."""
    asked = Options(
        user=settings.user,
        volumes=settings.binds,
        gpus=settings.gpus,
        batch=settings.batch,
        commands=parse_map(settings.map),
    )
    return _start(store, settings.image, asked, environ)


def kernel_section(name: str) -> Kernel | None:
    """What an environment file says about its kernel; None for images and where it is silent."""
    if not is_environment(name):
        return None
    from lpmx_runtime.compose.envfile import read_environment

    return read_environment(name).kernel


def _start(
    store: Store,
    name: str,
    asked: Options,
    environ: Mapping[str, str],
    find: Finder | None = None,
) -> tuple[Image, Options]:
    if not is_environment(name):
        return (find or store.resolve)(name), asked
    from lpmx_runtime.compose.start import launch_options

    return launch_options(store, name, asked, environ, find=find)
