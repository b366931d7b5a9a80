"""Errors of the kernels. Jupyter shows `str(error)` alone, so it has to hold the hint too."""

from __future__ import annotations

from lpmx_runtime.errors import LpmxError
from lpmx_runtime.text import shown


class KernelSpecError(LpmxError):
    """A kernel spec is missing or says what we do not understand: install the kernel again."""


class NoKernelProgramError(LpmxError):
    """The image holds nothing that a kernel could be made of in the way that was asked for."""


class NoPayloadError(LpmxError):
    """The store has no payload that suits a Python, or none can be made: build one."""


class KernelStartError(LpmxError):
    """A kernel could not be started; the text is complete, for a dialog of a Jupyter client."""

    many_lines = True

    @classmethod
    def of(cls, display_name: str, error: LpmxError) -> KernelStartError:
        """The start error that says what `error` says."""
        if isinstance(error, cls):
            return error
        lines = [f'The kernel "{shown(display_name)}" cannot start: {shown(error.message)}']
        if error.hint:
            lines += ["", f"What to do: {shown(error.hint)}"]
        return cls("\n".join(lines), exit_code=error.exit_code)
