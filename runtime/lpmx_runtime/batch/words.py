"""Command lines of submit commands, split into options and operands by the rules of each family.

Grid Engine and LSF write options as words with one dash and a fixed number of values; Slurm uses
getopt_long, PBS getopt. What is split can be put together again, word for word.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "GetoptRules",
    "Option",
    "WordRules",
    "directive_words",
    "join",
    "kept_directives",
    "value_of",
]


@dataclass(frozen=True)
class Option:
    """One option: @name without dashes, its @value ("" for none), and the @words as given."""

    name: str
    value: str
    words: tuple[str, ...]

    def with_value(self, value: str) -> Option:
        """The same option with another value, spelled the same way."""
        head = self.words[0]
        if len(self.words) > 1:
            return Option(self.name, value, (head, *self.words[1:-1], value))
        if head.startswith("--"):
            return Option(self.name, value, (f"{head.partition('=')[0]}={value}",))
        return Option(self.name, value, (f"{head[: len(head) - len(self.value)]}{value}",))


def join(options: Iterable[Option]) -> tuple[str, ...]:
    """The words of @options, in order."""
    return tuple(word for option in options for word in option.words)


def value_of(options: Sequence[Option], *names: str) -> str | None:
    """The value of the last option called one of @names; None when there is none."""
    found = [option.value for option in options if option.name in names]
    return found[-1] if found else None


def quote_directive(words: Iterable[str]) -> str:
    """@words as one line of a script, where blanks and quotes need quoting as in a shell."""
    return " ".join(
        word if word and not set(word) & set(" \t'\"\\#$&;|<>()`") else shlex.quote(word)
        for word in words
    )


def directive_words(program: str, line: str, mark: str) -> list[str]:
    """The words of directive @line behind @mark. UsageError, in the name of @program."""
    try:
        return shlex.split(line.removeprefix(mark), comments=True)
    except ValueError as error:
        raise UsageError(f"{program}: {line}: {str(error).lower()}") from error


def kept_directives(
    lines: Iterable[str],
    mark: str,
    own: str,
    *,
    options_of: Callable[[str], list[Option]],
    change: Callable[[list[Option]], list[Option]],
) -> list[str]:
    """Directives for the wrapper: @lines as they were, with @own for @mark, unless @change acts.

    A directive of whose options @change leaves none is left out.
    """
    kept = []
    for line in lines:
        options = options_of(line)
        changed = change(options)
        if changed == options:
            kept.append(own + line.removeprefix(mark))
        elif changed:
            kept.append(f"{own} {quote_directive(join(changed))}")
    return kept


def _missing(program: str, option: str) -> UsageError:
    return UsageError(f"{program}: option {option} needs a value")


@dataclass(frozen=True)
class WordRules:
    """Options that are whole words: -name VALUE... (Grid Engine, LSF)."""

    program: str
    counts: Mapping[str, int]  # values of each option; an option that is not here has none
    choices: Mapping[str, frozenset[str]]  # options whose first value, if one of these, adds one

    def split(self, argv: Sequence[str]) -> tuple[list[Option], tuple[str, ...]]:
        """Options, and the words from the first operand on."""
        options: list[Option] = []
        at = 0
        while at < len(argv) and argv[at].startswith("-") and argv[at] != "-":
            name = argv[at].lstrip("-")
            if argv[at] == "--":
                at += 1
                break
            count = self.counts.get(name, 0)
            if name in self.choices and at + 1 < len(argv) and argv[at + 1] in self.choices[name]:
                count += 1
            if at + count >= len(argv):
                raise _missing(self.program, argv[at])
            words = tuple(argv[at : at + 1 + count])
            options.append(Option(name, words[-1] if count else "", words))
            at += 1 + count
        return options, tuple(argv[at:])


@dataclass(frozen=True)
class GetoptRules:
    """Options as getopt and getopt_long read them (PBS, Slurm)."""

    program: str
    short_values: str  # letters that take a value
    short_optional: str = ""  # letters whose value, if any, is in the same word
    long_values: frozenset[str] = frozenset()
    long_optional: frozenset[str] = frozenset()
    long_flags: frozenset[str] = frozenset()

    def split(self, argv: Sequence[str]) -> tuple[list[Option], tuple[str, ...]]:
        """Options, and the words from the first operand on."""
        options: list[Option] = []
        at = 0
        while at < len(argv) and argv[at].startswith("-") and argv[at] != "-":
            word = argv[at]
            if word == "--":
                return options, tuple(argv[at:])
            take = self._long if word.startswith("--") else self._short
            found, used = take(word, argv[at + 1 : at + 2])
            options += found
            at += used
        return options, tuple(argv[at:])

    def _long(self, word: str, following: Sequence[str]) -> tuple[list[Option], int]:
        given, sign, value = word[2:].partition("=")
        name = self._full(given)
        if sign or name not in self.long_values:
            return [Option(name, value, (word,))], 1
        if not following:
            raise _missing(self.program, word)
        return [Option(name, following[0], (word, following[0]))], 2

    def _full(self, given: str) -> str:
        """The name that @given abbreviates, if it is only one."""
        known = self.long_values | self.long_optional | self.long_flags
        if given in known:
            return given
        fitting = [name for name in known if name.startswith(given)]
        return fitting[0] if len(fitting) == 1 else given

    def _short(self, word: str, following: Sequence[str]) -> tuple[list[Option], int]:
        options: list[Option] = []
        for at in range(1, len(word)):
            letter, rest = word[at], word[at + 1 :]
            if letter in self.short_optional:
                return [*options, Option(letter, rest, (f"-{letter}{rest}",))], 1
            if letter not in self.short_values:
                options.append(Option(letter, "", (f"-{letter}",)))
            elif rest:
                return [*options, Option(letter, rest, (f"-{letter}{rest}",))], 1
            elif following:
                return [*options, Option(letter, following[0], (f"-{letter}", following[0]))], 2
            else:
                raise _missing(self.program, f"-{letter}")
        return options, 1
