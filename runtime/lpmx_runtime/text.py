"""Text of strangers, made fit to be seen: names in archives, labels, words of programs.

A terminal takes some characters for commands: it may move, clear, rename its window or answer in
the user's name. So whatever comes from an image, an archive, a notebook or another program passes
`shown` on its way into a message or a table, and all that our programs print passes `Guard`
besides. What the programs of a container print is theirs: it passes none of this.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from lpmx_runtime.errors import LpmxError

__all__ = [
    "guard_output",
    "parse_json",
    "printable",
    "raw",
    "say_error",
    "shown",
    "without_colours",
]

# Compiled when they are wanted: each start passes here.
_COLOUR = r"\x1b\[[0-9;]*m"
_SURROGATE = "[\ud800-\udfff]"


def shown(text: str | bytes) -> str:
    r"""@text in one line: what is not printable is written as an escape, `\n`, `\x1b`, `\u202e`.

    Bytes that are not UTF-8 are shown as `\xff`.
    """
    if isinstance(text, bytes):
        text = text.decode(errors="surrogateescape")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def printable(text: str) -> str:
    """@text of several lines, tabs allowed, each as `shown` shows it."""
    if text.isprintable():
        return text
    return "".join(char if char in "\n\t" or char.isprintable() else _escape(char) for char in text)


def without_colours(text: str) -> str:
    """@text without what sets colours: tracebacks are full of it."""
    return re.sub(_COLOUR, "", text)


def say_error(program: str, error: LpmxError) -> None:
    """Print an error as all our programs do: what it says in a line, what to do in another."""
    show = printable if error.many_lines else shown
    print(f"{program}: {show(error.message)}", file=sys.stderr)
    if error.hint:
        print(f"  ({shown(error.hint)})", file=sys.stderr)


def parse_json(data: bytes) -> Any:
    """The value of a stranger's JSON, with U+FFFD for what is no character, as other engines do.

    JSON can spell half a character (a lone surrogate), which no file name, variable or terminal can
    hold. Raises ValueError.
    """
    import json

    text = data.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("too deep") from error
    return _whole(value) if "\\ud" in text or "\\uD" in text else value


class Guard:
    """A text stream that lets through what is printable, line ends and tabs."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write @text; answers how much of it was taken, which is all."""
        fit = printable(text)
        try:
            self.stream.write(fit)
        except UnicodeEncodeError:  # a locale that has not all characters
            encoding = self.stream.encoding
            self.stream.write(fit.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each of @lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """The rest is the stream's own: its descriptor, its bytes, whether it is a terminal."""
        return getattr(self.stream, name)


def guard_output() -> None:
    """Let all that this process prints pass a Guard."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Guard):
            setattr(sys, name, Guard(stream))


def raw(stream: TextIO) -> TextIO:
    """The stream behind a Guard, for what we ourselves tell a terminal."""
    return stream.stream if isinstance(stream, Guard) else stream


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(_SURROGATE, "\ufffd", value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return value


def _escape(char: str) -> str:
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is not UTF-8, as Python keeps it
        return f"\\x{number - 0xDC00:02x}"
    common = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if char in common:
        return common[char]
    if number < 0x100 and number != 0x7F:  # which JSON may hold, and knows by \u alone
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
