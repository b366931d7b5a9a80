"""Text of strangers, made fit to be seen: names in archives, labels, words of programs.

A terminal takes some characters for commands: it may move, clear, rename its window or answer in
the user's name. So whatever comes from an image, an archive, a notebook or another program passes
`shown` on its way into a message or a table, and all that is printed passes `Guard` besides.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["guarded_output", "printable", "raw", "shown", "whole"]


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


def whole(value: Any) -> Any:
    """@value, read from JSON, with U+FFFD for halves of characters, as other engines read it.

    JSON can spell a surrogate without its other half, which no file name, variable or terminal can
    hold.
    """
    if isinstance(value, str):
        return (
            value
            if value.isascii()
            else value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        )
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {whole(key): whole(item) for key, item in value.items()}
    return value


class Guard:
    """A text stream that lets through what is printable, line ends and tabs."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write @text; answers how much of it was taken, which is all."""
        self.stream.write(printable(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each of @lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """The rest is the stream's own: its descriptor, its bytes, whether it is a terminal."""
        return getattr(self.stream, name)


@contextlib.contextmanager
def guarded_output() -> Iterator[None]:
    """Let all that is printed meanwhile pass a Guard."""
    before = sys.stdout, sys.stderr
    # A stream that was closed before we began is None.
    sys.stdout = Guard(before[0]) if before[0] else before[0]
    sys.stderr = Guard(before[1]) if before[1] else before[1]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def raw(stream: TextIO) -> TextIO:
    """The stream behind a Guard, for what we ourselves tell a terminal."""
    return stream.stream if isinstance(stream, Guard) else stream


def _escape(char: str) -> str:
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is not UTF-8, as Python keeps it
        return f"\\x{number - 0xDC00:02x}"
    common = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if char in common:
        return common[char]
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
