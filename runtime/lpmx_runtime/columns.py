"""How lists are printed: columns and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["size_text", "table"]


def size_text(size: float) -> str:
    """Bytes in the unit that a person would use (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, wide enough for their contents."""
    lines = [head, *(tuple(shown(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
