"""Known words that resemble one that is not known, for hints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CUTOFF = 0.6


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint with the known word that @word resembles, if there is one."""
    return _hint(word, {each: each for each in known})


def did_you_mean_image(name: str, known: Iterable[str]) -> str | None:
    """The same for the name of an image: what counts is its last part, without the tag."""
    parts: dict[str, str] = {}
    for each in known:
        parts.setdefault(_last(each), each)
    return _hint(_last(name), parts)


def _hint(word: str, known: Mapping[str, str]) -> str | None:
    """With the value of the key that @word resembles."""
    import difflib

    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=_CUTOFF)
    return f"did you mean {known[close[0]]!r}?" if close else None


def _last(name: str) -> str:
    return name.rpartition("/")[2].partition("@")[0].partition(":")[0].lower()
