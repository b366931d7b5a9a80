"""The exec map that words of a command line ask for: `-m NAME=host`, `-m NAME=env:FILE:COMMAND`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError
from lpmx_runtime.plans.execmap import ExecMap, ImageTarget, parse_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.fetch.obtain import Finder
    from lpmx_runtime.plans.execmap import Environment

__all__ = ["parse_map"]


def parse_map(words: Sequence[str], find: Finder | None = None) -> ExecMap:
    """The exec map of @words; @find brings in the images that it names.

    UsageError, EnvFileError: one of them is wrong; and what @find raises.
    """

    def called(file: str) -> Environment:
        return _called_environment(file, find)

    mappings = tuple(parse_mapping(word, called) for word in words)
    for mapping in mappings:
        if find is not None and isinstance(mapping.target, ImageTarget):
            _bring_in(mapping.target.image, mapping.key, find)
    return ExecMap(mappings)


def _bring_in(image: str, command: str, find: Finder) -> None:
    try:
        find(image)
    except LpmxError as error:
        error.message = f"command {command}: {error.message}"
        raise


def _called_environment(file: str, find: Finder | None) -> Environment:
    from lpmx_runtime.store.store import Store

    from .start import called_environment

    return called_environment(Store.open(), file, os.environ, find=find)
