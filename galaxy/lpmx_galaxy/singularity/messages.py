"""What is said on standard error beside the program's own words, in Apptainer's form.

`--silent` and `--quiet` keep it back, as does APPTAINER_MESSAGELEVEL below 0 (Apptainer's
internal/pkg/sylog: a number, of which those from 1 on print `INFO:`).
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from lpmx_galaxy.frontend.goflags import Parsed

__all__ = ["info", "is_quiet", "set_level", "warning"]

_VARIABLES = ("APPTAINER_MESSAGELEVEL", "SINGULARITY_MESSAGELEVEL")
_ERROR, _LOG, _WARN = -3, -1, -2


def set_level(options: Parsed) -> None:
    """Follow the flags before the command; programs that are started are told by the variable."""
    if options.is_on("silent"):
        os.environ[_VARIABLES[0]] = str(_ERROR)
    elif options.is_on("quiet"):
        os.environ[_VARIABLES[0]] = str(_LOG)


def _level() -> int:
    for name in _VARIABLES:
        text = os.environ.get(name, "")
        if text.lstrip("-").isdigit():
            return int(text)
    return 1


def is_quiet() -> bool:
    """Is nothing to be said but errors and warnings?"""
    return _level() < 1


def info(text: str) -> None:
    """Something that is going on."""
    if not is_quiet():
        print(f"INFO:    {shown(text)}", file=sys.stderr, flush=True)


def warning(text: str) -> None:
    """Something that the user should know."""
    if _level() >= _WARN:
        print(f"WARNING: {shown(text)}", file=sys.stderr, flush=True)
