"""Magics for notebooks of any Python kernel: one cell in another image, and questions to lpmx.

%%lpmx lab/tools:1                    the cell is a script for the image's sh
%%lpmx -v /data:/data:ro lab/tools:1 python3 -       the cell is the input of that program
%lpmx list                            the images; `why`, `doctor` and all else of lpmx likewise
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = "%%lpmx [options of `lpmx run`] IMAGE [PROGRAM [ARGUMENT...]]"
# Options of `lpmx run` that take the next word
TAKE_A_WORD = {
    "-v", "--volume", "-e", "--env", "--env-file", "-w", "--workdir", "-u", "--user", "--name",
    "--no-bind", "--entrypoint", "--gpus", "-m",
}  # fmt: skip
SHELL = ("sh", "-s")


@magics_class
class LpmxMagics(Magics):  # type: ignore[misc,unused-ignore]
    """%lpmx and %%lpmx."""

    @line_magic("lpmx")  # type: ignore[arg-type,misc,unused-ignore,untyped-decorator]
    def line(self, line: str) -> None:
        """Run an lpmx command and show what it says."""
        words = shlex.split(line)
        if not words:
            raise UsageError("%lpmx list | why PATH | doctor | any other command of lpmx")
        if words == ["list"]:
            words = ["images"]
        run([*program(), *words], b"")

    @cell_magic("lpmx")  # type: ignore[arg-type,misc,unused-ignore,untyped-decorator]
    def cell(self, line: str, cell: str) -> None:
        """Run a cell in a container of its own."""
        options, image, command = split(shlex.split(line))
        run([*program(), "run", *options, image, *(command or SHELL)], cell.encode())


def split(words: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """Options, image and command of a %%lpmx line."""
    rest = list(words)
    options: list[str] = []
    while rest and rest[0].startswith("-"):
        options.append(rest.pop(0))
        if options[-1] in TAKE_A_WORD and rest:
            options.append(rest.pop(0))
    if not rest:
        raise UsageError(USAGE)
    return options, rest[0], rest[1:]


def program() -> list[str]:
    """The lpmx beside this Python, else that of the PATH."""
    beside = Path(sys.executable).with_name("lpmx")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("lpmx")
    if not found:
        raise UsageError("there is no program lpmx here; install the kernel with -m lpmx=host")
    return [found]


def run(argv: Sequence[str], text: bytes) -> None:
    """Run a program, show its output as it comes; raises CalledProcessError as %%bash does."""
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    # The streams of this cell: looked up in other threads they might be those of the next.
    pairs: list[tuple[IO[bytes] | None, Any]] = [
        (process.stdout, sys.stdout),
        (process.stderr, sys.stderr),
    ]
    readers = [threading.Thread(target=_copy, args=pair) for pair in pairs]
    for reader in readers:
        reader.start()
    try:
        assert process.stdin
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(text)
            process.stdin.close()
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()  # it has got the interrupt too
        raise
    finally:
        for reader in readers:
            reader.join()
    if status:
        raise subprocess.CalledProcessError(status, list(argv))


def _copy(source: IO[bytes], target: Any) -> None:
    for line in iter(source.readline, b""):
        target.write(line.decode(errors="replace"))
        target.flush()
