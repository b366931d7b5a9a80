"""What an examination finds: one line a thing, with a verdict and what to do about it.

Used by `lpmx doctor` and by what other packages add to it, as well as `lpmx kernel doctor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Finding", "Verdict", "worst"]

Verdict = Literal["ok", "note", "problem"]
_SIGNS: dict[Verdict, str] = {"ok": "v", "note": "!", "problem": "x"}
_ORDER: tuple[Verdict, ...] = ("ok", "note", "problem")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    `ok`: as it should be; `note`: works, with something to know; `problem`: something of lpmx will
    not work. `advice` says what to do, and is empty where nothing is to be done.
    """

    what: str
    verdict: Verdict
    detail: str
    advice: str = ""

    @property
    def good(self) -> bool:
        """Is it no problem?"""
        return self.verdict != "problem"

    def as_dict(self) -> dict[str, str | bool]:
        """Plain data for --json."""
        return {**vars(self), "good": self.good}

    def __str__(self) -> str:
        advice = f"\n{self.advice}" if self.advice else ""
        text = f"({_SIGNS[self.verdict]}) {self.what}: {self.detail}{advice}"
        # So that no line of a detail looks like a finding.
        return text.replace("\n", "\n    ").replace("\n    \n", "\n\n")


def worst(findings: Iterable[Finding]) -> Verdict:
    """The gravest verdict of all, `ok` of none."""
    return max((finding.verdict for finding in findings), key=_ORDER.index, default="ok")
