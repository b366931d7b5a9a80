"""A case: a stack of layers and a script of file operations, as a value and as text.

The text can be pasted into a test or given to `tests/conformance/replay.py`:

    layer                                   bottom first
    dir t/d 755 1000000000                  KIND PATH MODE MTIME ...
    file t/d/f 644 1000000001 12 3          ... SIZE SEED [user.NAME=VALUE]
    symlink t/l 777 1000000002 d/f          ... TARGET
    hard t/h 644 0 t/d/f                    ... TARGET, earlier in the same layer
    fifo t/p 644 1000000003
    layer
    whiteout t/d/f 0 0
    opaque t/d 755 1000000004
    script
    0 cat -1 /t/d/f 0                       see tests/conformance/programs/fileops.c

Bytes other than letters, digits and `._/-` are %XX; a lone `%` in the script is the empty string.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

__all__ = ["Case", "Entry", "escape", "file_data", "unescape"]

_ODD = re.compile(rb"[^A-Za-z0-9._/=-]")


def escape(text: bytes) -> str:
    """Bytes as a script has them."""
    return _ODD.sub(lambda match: b"%%%02x" % match[0][0], text).decode() or "%"


def unescape(text: str) -> bytes:
    """What `escape` was given."""
    if text == "%":
        return b""
    return re.sub(rb"%(..)", lambda match: bytes([int(match[1], 16)]), text.encode())


def file_data(size: int, seed: int) -> bytes:
    """The contents of a layer's file, as `fill` of fileops.c makes them."""
    period = bytes((seed * 31 + i * 7 + 1) % 256 for i in range(256))
    return (period * (size // 256 + 1))[:size]


@dataclass(frozen=True)
class Entry:
    """One name of a layer."""

    kind: str  # dir, file, symlink, hard, fifo, whiteout, opaque
    path: bytes  # relative to the root
    mode: int = 0o644
    mtime: int = 1_000_000_000  # seconds
    target: bytes = b""  # of a symlink or hard link
    size: int = 0
    seed: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()

    def __str__(self) -> str:
        words = [self.kind, escape(self.path), f"{self.mode:o}", str(self.mtime)]
        if self.kind in {"symlink", "hard"}:
            words.append(escape(self.target))
        if self.kind == "file":
            words += [str(self.size), str(self.seed)]
        words += [f"{name}={escape(value)}" for name, value in self.xattrs]
        return " ".join(words)

    @classmethod
    def parse(cls, text: str) -> Entry:
        """The entry that prints as @text."""
        kind, path, mode, mtime, *rest = text.split()
        entry = cls(kind, unescape(path), int(mode, 8), int(mtime))
        if kind in {"symlink", "hard"}:
            entry = replace(entry, target=unescape(rest.pop(0)))
        if kind == "file":
            entry = replace(entry, size=int(rest.pop(0)), seed=int(rest.pop(0)))
        pairs = (word.split("=", 1) for word in rest)
        return replace(entry, xattrs=tuple((name, unescape(value)) for name, value in pairs))


@dataclass(frozen=True)
class Case:
    """Layers, bottom first, and what is done on their union."""

    layers: tuple[tuple[Entry, ...], ...]
    script: tuple[str, ...]
    name: str = field(default="", compare=False)

    def __str__(self) -> str:
        lines: list[str] = []
        for layer in self.layers:
            lines += ["layer", *map(str, layer)]
        return "\n".join([*lines, "script", *self.script])

    @classmethod
    def parse(cls, text: str, name: str = "") -> Case:
        """The case that prints as @text; `#` begins a comment line."""
        layers: list[list[Entry]] = []
        script: list[str] | None = None
        for line in map(str.strip, text.splitlines()):
            if not line or line.startswith("#"):
                continue
            if line == "script":
                script = []
            elif script is not None:
                script.append(line)
            elif line == "layer":
                layers.append([])
            else:
                layers[-1].append(Entry.parse(line))
        return cls(tuple(map(tuple, layers)), tuple(script or ()), name)
