"""Command lines as Go programs read them: what docker and singularity have in common.

`--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, switches in a cluster (`-it`) and
switches with a value (`--rm=false`). A flag that no table knows is refused by its name: to pass
over it would be to run something else than was asked. The rules are those of Go's pflag package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Flag", "Parsed", "parse", "table"]

_TRUE = {"1", "t", "true", "yes"}
_FALSE = {"0", "f", "false", "no"}


@dataclass(frozen=True)
class Flag:
    """One flag: its canonical name, how it is written, and whether a word follows it."""

    name: str  # without dashes, as Parsed knows it
    spellings: tuple[str, ...]  # with dashes
    takes_value: bool = True
    unenforced: str = ""  # why it has no effect here; "" when it has, or needs none


@dataclass
class Parsed:
    """What was said: every value of every flag in order, and the words that are no flags."""

    values: dict[str, list[str]] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)
    unenforced: dict[str, str] = field(default_factory=dict)  # spelling as used: why

    def all(self, name: str) -> list[str]:
        """Every value of a flag."""
        return self.values.get(name, [])

    def last(self, name: str, default: str = "") -> str:
        """The value that counts where only one can."""
        return self.values.get(name, [default])[-1]

    def is_on(self, name: str) -> bool:
        """Is the switch on? False when it was not given."""
        return self.last(name) == "true"


def table(*groups: Iterable[Flag]) -> dict[str, Flag]:
    """The flags of @groups by every spelling."""
    return {spelling: flag for group in groups for flag in group for spelling in flag.spellings}


def parse(
    words: Sequence[str], flags: Mapping[str, Flag], *, command: str, interspersed: bool = False
) -> Parsed:
    """Sort @words into flags and the rest. UsageError for what @flags does not list.

    Without @interspersed the first word that is no flag ends them: the rest is a command. @command
    is what messages call the whole, as `lpmx-docker run`.
    """
    parsed = Parsed()
    pending = list(reversed(words))
    while pending:
        word = pending.pop()
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            parsed.rest.append(word)
            if interspersed:
                continue
            break
        _take(word, pending, flags, parsed, command)
    parsed.rest += reversed(pending)
    return parsed


def _take(
    word: str, pending: list[str], flags: Mapping[str, Flag], parsed: Parsed, command: str
) -> None:
    spelling, sign, value = word.partition("=")
    flag = flags.get(spelling)
    if flag is None and not word.startswith("--") and len(word) > 2:
        spelling, rest = word[:2], word[2:]
        flag = flags.get(spelling)
        if flag is not None and flag.takes_value:
            sign, value = "=", rest.removeprefix("=")
        elif flag is not None:  # a cluster: the others come next
            pending.append(f"-{rest}")
            sign = ""
    if flag is None:
        raise UsageError(
            f"{command}: unknown flag {spelling}",
            hint=f"`{command} --help` lists the flags that are known",
        )
    if flag.takes_value and not sign:
        if not pending:
            raise UsageError(f"{command}: {spelling} needs a value")
        value = pending.pop()
    elif not flag.takes_value:
        value = _switch(spelling, value, command) if sign else "true"
    parsed.values.setdefault(flag.name, []).append(value)
    if flag.unenforced and value != "false":
        parsed.unenforced[spelling] = flag.unenforced


def _switch(spelling: str, value: str, command: str) -> str:
    if value.lower() in _TRUE:
        return "true"
    if value.lower() in _FALSE:
        return "false"
    raise UsageError(f"{command}: {spelling}={value}: neither true nor false")
