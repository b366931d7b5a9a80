"""A program of an image run once, as its kernels run: to probe it, or to build a payload."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from lpmx_kernels.spec.client_env import kernel_environment
from lpmx_runtime.container import record as containers
from lpmx_runtime.launch.start import Options, draft_container, plan_launch, surroundings
from lpmx_runtime.process import proc

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

    from lpmx_runtime.launch.start import Draft, Surroundings
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["draft", "own_user", "run_once"]

ALONE = ("PATH", "LPMX_ENGINE", "LPMX_DEBUG", "LPMX_OWNERS")
"""Variables of the caller that a program gets which sees none of the user's files."""


def run_once(
    store: Store,
    image: Image,
    argv: Sequence[str],
    *,
    timeout: float,
    binds: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    alone: bool = False,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a fresh container of `image`, as its kernels run, and capture its output.

    With `alone` it sees none of the user's files and variables. LpmxError: it cannot be started, or
    takes longer than `timeout` seconds.
    """
    here = surroundings()
    if alone:
        kept = {name: value for name, value in os.environ.items() if name in ALONE}
        here = replace(here, environ=kept)
    options = Options(
        user=own_user(),
        env=kernel_environment({}, asked=env or {}, marker="none"),
        volumes=tuple(binds),
        no_bind=frozenset({"home", "cwd", "tmp"}) if alone else frozenset(),
    )
    container = draft(store, image, options, here).create(store)
    try:
        launch = plan_launch(store, container, here, command=tuple(argv), cwd="/")
        launch.prepare()
        return proc.run(launch.argv, check=False, env=launch.env, timeout=timeout)
    finally:
        containers.discard_own(container)


def draft(
    store: Store, image: Image, options: Options, here: Surroundings, *, name: str = ""
) -> Draft:
    """A container for a kernel of `image`: kept under `name`, without one removed at its end."""
    # The command of each start is given later: an image that names none is no obstacle.
    options = replace(options, entrypoint=(), command=("/bin/sh",))
    return draft_container(store, image, options, here, name=name, auto_remove=not name)


def own_user() -> str:
    """The user's own ids, whatever USER the image names: a kernel writes in the user's home."""
    return f"{os.getuid()}:{os.getgid()}"
