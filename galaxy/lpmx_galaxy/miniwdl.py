"""The container backend `lpmx` of miniwdl, which finds it by the entry point of its plugins.

    [scheduler]
    container_backend = lpmx

The program is `lpmx-docker`, or what `[lpmx] exe` says. Interface: WDL.runtime.backend.podman of
miniwdl 1.x, whose command line this is.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from WDL.runtime.backend.podman import PodmanContainer

if TYPE_CHECKING:
    import logging

__all__ = ["LpmxContainer"]


class LpmxContainer(PodmanContainer):  # type: ignore[misc]
    """A task's container; files are the user's own, so nothing has to be chowned after it."""

    @classmethod
    def global_init(cls, cfg: Any, logger: logging.Logger) -> None:
        """Complain at once where the program is not there."""
        program = _program(cfg)[0]
        if not shutil.which(program):
            raise RuntimeError(f"{program} is not on the PATH; [lpmx] exe in miniwdl.cfg names it")
        logger.info("lpmx container backend: %s", program)

    @property
    def cli_name(self) -> str:
        """What logs are called after."""
        return "lpmx"

    @property
    def cli_exe(self) -> list[str]:
        """The program."""
        return _program(self.cfg)

    def _chown(self, _logger: logging.Logger) -> None:
        """Nothing to do."""


def _program(cfg: Any) -> list[str]:
    if cfg.has_option("lpmx", "exe"):
        words: list[str] = cfg.get_list("lpmx", "exe")
        return words
    return ["lpmx-docker"]
