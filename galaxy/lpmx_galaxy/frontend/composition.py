"""--lpmx-map, --lpmx-batch, --lpmx-env: commands of a tool's container that run somewhere else.

These are flags of both front ends, so that a destination, a TPV rule or a profile can give them
tool by tool (`docker_run_extra_arguments`, `singularity_run_extra_arguments`). A tool cannot give
them to itself: what runs on the host is the site's to say.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lpmx_runtime.launch.start import Launch, Options
    from lpmx_runtime.plans.execmap import Mapping
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .goflags import Parsed

__all__ = ["FLAGS", "composed", "with_host_environment"]

FLAGS = ("--lpmx-map", "--lpmx-batch", "--lpmx-env")  # each takes a value
_BATCH = ("auto", "none", "slurm", "sge", "pbs", "lsf")


def composed(store: Store, image: Image, options: Options, parsed: Parsed) -> tuple[Image, Options]:
    """@image and @options with what the flags add; an environment's image replaces the tool's."""
    if not any(parsed.all(flag.removeprefix("--")) for flag in FLAGS):
        return image, options
    from lpmx_runtime.compose.mapwords import parse_map

    batch = parsed.last("lpmx-batch")
    if batch and batch not in _BATCH:
        raise UsageError(f"--lpmx-batch {batch}: not one of {', '.join(_BATCH)}")
    asked = parse_map(parsed.all("lpmx-map"))
    _obtain_images(store, asked.mappings)
    options = replace(options, commands=asked, batch=batch)
    if not parsed.last("lpmx-env"):
        return image, options
    from lpmx_runtime.compose.start import launch_options
    from lpmx_runtime.fetch.obtain import finder

    file = parsed.last("lpmx-env")
    return launch_options(store, file, options, os.environ, find=finder(store))


def _obtain_images(store: Store, mappings: Iterable[Mapping]) -> None:
    """Bring in what commands need, as the tool's own image is brought in."""
    from lpmx_runtime.fetch.obtain import finder
    from lpmx_runtime.plans.execmap import ImageTarget

    find = finder(store)
    for mapping in mappings:
        if isinstance(mapping.target, ImageTarget):
            find(mapping.target.image)


def with_host_environment(launch: Launch) -> Launch:
    """@launch whose commands of the host get the caller's whole environment.

    The container gets little of it; but a batch system's client needs its own variables.
    """
    return replace(launch, host_env=dict(os.environ))
