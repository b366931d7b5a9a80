"""The shell kernel: for images without Python. It runs on the host, its shell in the container.

`lpmx_kernels.shell.kernel START FOLDER -f FILE`; launch.py composes that. The cells' shell is
the image's own bash or sh (shell_session.py), so nothing of ours has to run in the image.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel

from lpmx_kernels.spec.settings import SHELL_INSIDE as INSIDE
from lpmx_runtime import __version__

from .session import ShellEndedError, ShellSession

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERRUPTED = 130
UNFINISHED = re.compile(r"unexpected (end of file|EOF)|end of file unexpected|[Uu]nterminated")
WORD = re.compile(r"[^\s;|&<>()`\"'=]*$")


class ShellKernel(Kernel):
    """Carries out cells in a shell of a container."""

    implementation = "lpmx-shell"
    implementation_version = __version__
    banner = "A shell in a container"
    language_info = {  # noqa: RUF012
        "name": "bash",
        "mimetype": "text/x-sh",
        "file_extension": ".sh",
        "codemirror_mode": "shell",
        "pygments_lexer": "bash",
    }
    command: tuple[str, ...] = ()  # these three are set by main
    env: Mapping[str, str]
    folder = Path()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[no-untyped-call]
        self._silent = False
        self._started = False
        self._request: dict[str, Any] = {}
        self._session = ShellSession(self.command, self.env, self.folder, INSIDE, output=self._show)

    async def _shell(self) -> ShellSession:
        """The running shell; a new one where the last one has ended."""
        if not self._started:
            await self._session.start()
            self._started = True
        return self._session

    def _show(self, name: str, text: str) -> None:
        if not self._silent:
            # Not send_response: what the loop calls does not know the request of the cell.
            content = {"name": name, "text": text}
            assert self.session
            self.session.send(self.iopub_socket, "stream", content, parent=self._request)

    # The shell gets the interrupt, once, whether the client signals this process or its group.
    def pre_handler_hook(self) -> None:
        """Leave SIGINT to `main`."""

    def post_handler_hook(self) -> None:
        """Leave SIGINT to `main`."""

    def interrupt(self) -> None:
        """Take the shell back to its prompt."""
        self._session.interrupt()

    async def do_execute(self, code: str, silent: bool, *_: object, **__: object) -> dict[str, Any]:
        """Run a cell; a status other than 0 is an error, so that `papermill` and the like stop."""
        self._silent = silent
        self._request = self.get_parent("shell")  # type: ignore[no-untyped-call]
        try:
            status = await (await self._shell()).run(code) if code.strip() else 0
        except ShellEndedError as error:
            self._started = False
            lost = "; the next cell has a new one, without its variables"
            return self._failed("ShellEnded", f"{error}{lost if not error.words else error.words}")
        finally:
            self._silent = False
        if status == 0:
            base = {"execution_count": self.execution_count, "payload": [], "user_expressions": {}}
            return {"status": "ok", **base}
        if status == INTERRUPTED:
            return self._failed("KeyboardInterrupt", "")
        return self._failed("ExitStatus", str(status))

    def _failed(self, name: str, value: str) -> dict[str, Any]:
        text = f"{name}: {value}" if value else name
        error = {"ename": name, "evalue": value, "traceback": [text]}
        if not self._silent:
            send: Any = self.send_response
            send(self.iopub_socket, "error", error)
        return {"status": "error", "execution_count": self.execution_count, **error}

    async def do_complete(self, code: str, cursor_pos: int) -> dict[str, Any]:
        """Names of commands, variables and files, as the shell knows them."""
        found = WORD.search(code[:cursor_pos])
        word = found.group() if found else ""
        names = (await self._ask(_names_of(word)))[1].split("\n")
        matches = sorted({name for name in names if name.startswith(word) and name != ""})
        content = {"matches": matches, "metadata": {}, "status": "ok"}
        return {**content, "cursor_start": cursor_pos - len(word), "cursor_end": cursor_pos}

    async def do_is_complete(self, code: str) -> dict[str, Any]:
        """Ask the shell to read the code without doing it."""
        file = self._session.save("code", code + "\n")
        status, words = await self._ask(f'"${{BASH:-/bin/sh}}" -n {file}')
        if status == 0 and not code.rstrip(" \n").endswith("\\"):
            return {"status": "complete"}
        unfinished = status == 0 or UNFINISHED.search(words)
        return {"status": "incomplete", "indent": ""} if unfinished else {"status": "invalid"}

    async def _ask(self, code: str) -> tuple[int, str]:
        try:
            return await (await self._shell()).ask(code)
        except ShellEndedError as error:
            self._started = False
            return error.status or 1, ""

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """End the shell with the kernel."""
        self._session.close()
        return {"status": "ok", "restart": restart}


def _names_of(word: str) -> str:
    """Shell code that prints what `word` may be the beginning of."""
    quoted = shlex.quote(word)
    if word.startswith("$"):
        return f"compgen -P '$' -A variable -- {shlex.quote(word[1:])} 2>/dev/null; true"
    show = 'if [ -d "$__f" ]; then echo "$__f/"; elif [ -e "$__f" ]; then echo "$__f"; fi'
    files = f"for __f in {quoted}*; do {show}; done"
    names = f"compgen -A alias -A function -A builtin -A keyword -A command -- {quoted}"
    return f'{files}; unset __f; [ -z "$BASH_VERSION" ] || {names}; true'


def main(arguments: list[str]) -> None:
    """Run the kernel; fails at once where its shell cannot start."""
    start, folder, *rest = arguments
    how = json.loads(Path(start).read_text(encoding="utf-8"))
    ShellKernel.command, ShellKernel.env = tuple(how["argv"]), how["env"]
    ShellKernel.folder = Path(folder)
    asyncio.run(_try_shell())
    app: Any = IPKernelApp.instance(kernel_class=ShellKernel, ignore_cwd=True)
    app.initialize(rest)
    signal.signal(signal.SIGINT, lambda *_: app.kernel.interrupt())
    app.start()


async def _try_shell() -> None:
    """Start the shell once, so that what keeps it from starting is said by the kernel's end."""
    how = ShellKernel
    session = ShellSession(how.command, how.env, how.folder, INSIDE, output=lambda *_: None)
    try:
        await session.start()
    except ShellEndedError as error:
        sys.exit(f"{error.words}\n{error}".strip())
    finally:
        session.close()


if __name__ == "__main__":
    main(sys.argv[1:])
