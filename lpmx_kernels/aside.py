"""Blocking work beside the event loop, also where there can be no thread any more.

`jupyter run` and `jupyter console` shut their kernels down by atexit, when Python has closed its
thread pools: then the work is done in place, since nothing else waits for the loop.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def aside(work: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Do `work` in a thread, or here where the interpreter is about to end."""
    call = functools.partial(work, *arguments, **options)
    try:
        done = asyncio.get_running_loop().run_in_executor(None, call)
    except RuntimeError:  # its executor takes nothing any more
        return call()
    return await done
