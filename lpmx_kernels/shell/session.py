"""A shell in a container that carries out one cell after the other, for the kernel on the host.

The shell is an interactive one that reads its commands from a pipe: so an interrupt takes it back
to its prompt as people know it, whatever the cell was doing. A cell is a file that the shell
sources. The prompt, which the shell evaluates whenever it is ready, reports the cell's number and
status through a FIFO. stdout and stderr are two pipes, so the kernel can tell them apart; stdin of
a cell is empty.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import shlex
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

START_TIMEOUT = 60.0
CHUNK = 64 * 1024
PROMPT = r"""PS1='$(printf "%s %s\n" "$__lpmx_cell" "$?" >&9)'"""
# 9: the highest descriptor that every shell can name. Prompts of environments would hide ours.
SET_UP = """\
exec 9>{status}
VIRTUAL_ENV_DISABLE_PROMPT=1; export VIRTUAL_ENV_DISABLE_PROMPT
__lpmx_ps1={prompt}; PS2=
[ -z "$BASH_VERSION" ] || {{ PROMPT_COMMAND=; set +o history +H; }}
"""


class ShellEndedError(Exception):
    """The shell has ended: by `exit`, by a signal, or because it could not start."""

    def __init__(self, status: int, words: str = "") -> None:
        super().__init__(f"the shell ended with status {status}")
        self.status = status
        self.words = words  # what it wrote to stderr


@dataclass
class _Pipe:
    """One output of the shell, decoded as it comes."""

    fd: int
    name: str
    decoder: codecs.IncrementalDecoder


class ShellSession:
    """One shell. All methods belong to the event loop that `start` was called in."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        inside: str,
        *,
        output: Callable[[str, str], None],
    ) -> None:
        self.command = tuple(command)
        self.output = output  # called with stdout or stderr, and text
        self._env = env
        self._folder = folder  # for cells and the FIFO
        self._inside = inside  # the name the shell knows it by
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes: list[_Pipe] = []
        self._status_fd = -1
        self._reports = b""
        self._cell = 0
        self._done: asyncio.Future[int] | None = None

    # --- life

    async def start(self) -> None:
        """Start the shell; raises ShellEndedError where it cannot."""
        status = self._folder / "status"
        with contextlib.suppress(FileExistsError):
            os.mkfifo(status, 0o600)
        self._status_fd = os.open(status, os.O_RDONLY | os.O_NONBLOCK)
        self._process = subprocess.Popen(
            self.command,
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        loop = asyncio.get_running_loop()
        loop.add_reader(self._status_fd, self._read_reports)
        words: list[str] = []
        output, self.output = self.output, lambda _name, text: words.append(text)
        self._listen()
        try:
            prompt = shlex.quote(PROMPT.removeprefix("PS1=").strip("'"))
            self._write(SET_UP.format(status=self._name("status"), prompt=prompt))
            await asyncio.wait_for(self._wait_for_cell("true"), START_TIMEOUT)
        except ShellEndedError as error:
            error.words = "".join(words)
            raise
        finally:
            self.output = output

    def _listen(self) -> None:
        process = self._process
        assert process
        assert process.stdout
        assert process.stderr
        self._pipes = [
            _Pipe(stream.fileno(), name, codecs.getincrementaldecoder("utf-8")("replace"))
            for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        loop = asyncio.get_running_loop()
        for pipe in self._pipes:
            os.set_blocking(pipe.fd, False)
            loop.add_reader(pipe.fd, self._read, pipe)

    def close(self) -> None:
        """End the shell and all that runs in its process group."""
        self._forget(kill=True)

    def _forget(self, *, kill: bool = False) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        loop = asyncio.get_running_loop()
        for fd in [self._status_fd, *(pipe.fd for pipe in self._pipes)]:
            loop.remove_reader(fd)
        os.close(self._status_fd)
        self._pipes, self._status_fd, self._reports = [], -1, b""
        if kill:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                assert stream
                stream.close()
        process.wait()

    # --- cells

    async def run(self, code: str) -> int:
        """Carry out a cell and answer its status; raises ShellEndedError when the shell ends."""
        name = f"cell-{self._cell + 1}"
        file = self.save(name, code + "\n")
        try:
            return await self._wait_for_cell(f". {file} </dev/null")
        finally:
            (self._folder / name).unlink(missing_ok=True)

    async def ask(self, code: str) -> tuple[int, str]:
        """Carry out something for the kernel itself: its status and what it prints."""
        reply = self._folder / "reply"
        status = await self.run(f"{{ {code}\n}} >{self._name('reply')} 2>&1")
        try:
            text = reply.read_text(encoding="utf-8", errors="replace")
            reply.unlink()
        except FileNotFoundError:
            text = ""
        return status, self._tidy(text)

    def save(self, name: str, text: str) -> str:
        """Make a file with `text` for the shell: how its commands name it."""
        (self._folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        return self._name(name)

    def _name(self, name: str) -> str:
        return shlex.quote(f"{self._inside}/{name}")

    def interrupt(self) -> None:
        """SIGINT to the shell and what it runs, as from a terminal."""
        if self._process and self._done and not self._done.done():
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGINT)

    async def _wait_for_cell(self, command: str) -> int:
        self._cell += 1
        loop = asyncio.get_running_loop()
        self._done = loop.create_future()
        # One line, as each line ends in a prompt. The prompt is set anew, a cell may change it.
        ready = 'eval "PS1=\\$__lpmx_ps1; (exit $?)"'
        self._write(f"__lpmx_cell={self._cell}; PS1=$__lpmx_ps1; {command}; {ready}\n")
        return await self._done

    def _write(self, text: str) -> None:
        assert self._process
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(os.fsencode(text))
            self._process.stdin.flush()

    # --- what comes from the shell

    def _read(self, pipe: _Pipe) -> None:
        try:
            data = os.read(pipe.fd, CHUNK)
        except BlockingIOError:
            return
        if data:
            self._show(pipe, data)
            return
        asyncio.get_running_loop().remove_reader(pipe.fd)
        self._check_end()

    def _show(self, pipe: _Pipe, data: bytes) -> None:
        if text := pipe.decoder.decode(data):
            self.output(pipe.name, self._tidy(text))

    def _tidy(self, text: str) -> str:
        return text.replace(f"{self._inside}/", "")

    def _drain(self) -> None:
        """Show what lies in the pipes: a cell's output comes before its end."""
        for pipe in self._pipes:
            with contextlib.suppress(BlockingIOError):
                while data := os.read(pipe.fd, CHUNK):
                    self._show(pipe, data)

    def _read_reports(self) -> None:
        try:
            data = os.read(self._status_fd, CHUNK)
        except BlockingIOError:
            return
        if not data:  # nobody holds the other end any more
            asyncio.get_running_loop().remove_reader(self._status_fd)
            self._check_end()
            return
        *lines, self._reports = (self._reports + data).split(b"\n")
        for line in lines:
            self._take_report(line.decode())

    def _take_report(self, line: str) -> None:
        cell, _, status = line.partition(" ")
        if not status.isdigit() or cell != str(self._cell):
            return
        if self._done and not self._done.done():
            self._drain()
            self._done.set_result(int(status))

    def _check_end(self) -> None:
        """Is it over? Pipes may outlive the shell, in background jobs, and be closed before."""
        process = self._process
        if process is None:
            return
        status = process.poll()
        if status is None:
            asyncio.get_running_loop().call_later(0.05, self._check_end)
            return
        self._drain()
        self._forget()
        if self._done and not self._done.done():
            self._done.set_exception(ShellEndedError(status))
