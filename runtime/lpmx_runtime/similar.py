"""Known words that resemble one that is not known, for hints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CUTOFF = 0.6


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint with the known word that @word resembles, if there is one."""
    import difflib

    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=_CUTOFF)
    return f"did you mean {close[0]!r}?" if close else None


def did_you_mean_image(name: str, known: Iterable[str]) -> str | None:
    """The same for the name of an image: what counts is its last part, without the tag."""
    import difflib

    parts: dict[str, str] = {}
    for each in known:
        parts.setdefault(_last(each), each)
    close = difflib.get_close_matches(_last(name), list(parts), n=1, cutoff=_CUTOFF)
    return f"did you mean {parts[close[0]]!r}?" if close else None


def _last(name: str) -> str:
    return name.rpartition("/")[2].partition("@")[0].partition(":")[0].lower()
