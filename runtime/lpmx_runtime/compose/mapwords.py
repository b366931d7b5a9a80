"""The exec map that words of a command line ask for: `-m NAME=host`, `-m NAME=env:FILE:COMMAND`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lpmx_runtime.plans.execmap import ExecMap, parse_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.plans.execmap import Environment

__all__ = ["parse_map"]


def parse_map(words: Sequence[str]) -> ExecMap:
    """The exec map of @words. UsageError, EnvFileError: one of them is wrong."""
    return ExecMap(tuple(parse_mapping(word, _called_environment) for word in words))


def _called_environment(file: str) -> Environment:
    from lpmx_runtime.store.store import Store

    from .start import called_environment

    return called_environment(Store.open(), file, os.environ)
