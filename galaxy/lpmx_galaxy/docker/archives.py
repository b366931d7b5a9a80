"""`lpmx-docker` save, export, cp: images and files of containers out of the store, and in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lpmx_galaxy.frontend.goflags import Flag, parse, table
from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["cp_command", "export_command", "save_command"]

_OUTPUT = Flag("output", ("-o", "--output"))
_QUIET = Flag("quiet", ("-q", "--quiet"), takes_value=False)
_SAVE = table([
    _OUTPUT,
    _QUIET,
    Flag("platform", ("--platform",)),
    Flag("format", ("--format",)),  # podman's
    Flag("multi", ("-m", "--multi-image-archive"), takes_value=False),  # podman's
])  # fmt: skip
_EXPORT = table([_OUTPUT])
_CP = table([
    _QUIET,
    Flag("archive", ("-a", "--archive"), takes_value=False),
    Flag("follow-link", ("-L", "--follow-link"), takes_value=False),
    Flag("overwrite", ("--overwrite",), takes_value=False),  # podman's
])  # fmt: skip


def _no_terminal(command: str) -> None:
    if sys.stdout.isatty():
        raise UsageError(
            f"lpmx-docker {command}: an archive is not for a terminal",
            hint="use -o FILE, or redirect the output",
        )


def save_command(words: Sequence[str]) -> int:
    """Write images to an archive, stdout or -o."""
    from lpmx_runtime.images.save import FORMATS, save
    from lpmx_runtime.store.store import Store

    parsed = parse(words, _SAVE, command="lpmx-docker save", interspersed=True)
    if not parsed.rest:
        raise UsageError("lpmx-docker save: no image is named")
    output = parsed.last("output")
    if not output:
        _no_terminal("save")
    save(
        Store.open(),
        parsed.rest,
        output or sys.stdout.buffer,
        form=parsed.last("format", FORMATS[0]),
    )
    return 0


def export_command(words: Sequence[str]) -> int:
    """Write the files of a container to a tar, stdout or -o."""
    from lpmx_runtime.container import record as containers
    from lpmx_runtime.copy.export import export
    from lpmx_runtime.store.store import Store

    parsed = parse(words, _EXPORT, command="lpmx-docker export", interspersed=True)
    if len(parsed.rest) != 1:
        raise UsageError("lpmx-docker export: one CONTAINER")
    output = parsed.last("output")
    if not output:
        _no_terminal("export")
    store = Store.open()
    export(store, containers.find(store, parsed.rest[0]), output or sys.stdout.buffer)
    return 0


def cp_command(words: Sequence[str]) -> int:
    """Copy files between the host and a container."""
    from lpmx_runtime.copy.words import copy_words
    from lpmx_runtime.store.store import Store

    parsed = parse(words, _CP, command="lpmx-docker cp", interspersed=True)
    if len(parsed.rest) != 2:
        raise UsageError("lpmx-docker cp: SRC DST, one of them CONTAINER:PATH")
    source, target = parsed.rest
    copy_words(
        Store.open(),
        source,
        target,
        archive=parsed.is_on("archive"),
        follow_link=parsed.is_on("follow-link"),
    )
    return 0
