"""PBS: qsub of OpenPBS 23 and Torque 6 (their manual pages; options of both are known)."""

from __future__ import annotations

import posixpath
import shlex
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError

from .job import Inside, JobEnv, Rewritten, Submission, job_command, script_command, wrapper
from .words import GetoptRules, Option, directive_words, join, kept_directives, value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ADAPTED", "PLAIN", "adapt", "directives"]

ADAPTED = ("qsub",)
PLAIN = (
    "qstat", "qdel", "qhold", "qrls", "qalter", "qmove", "qmsg", "qorder", "qrerun", "qselect",
    "qsig", "pbsnodes", "tracejob", "pbs_rstat",
)  # fmt: skip
TAKE = "PBS_*:NCPUS:OMP_NUM_THREADS:CUDA_VISIBLE_DEVICES:TMPDIR"

_RULES = GetoptRules("qsub", "aAbcCdDeFjJkKlLmMNopPqrRStTuvwWZ")
_LONG = {"--version", "--help"}
_HERE = {"V", "v", "S", "C", "F"}
_PATHS = {"o", "e"}
_DIRECTORIES = {"d", "w"}  # Torque's initial directory


def adapt(submission: Submission, inside: Inside) -> Rewritten:
    """The command for the host that runs the job of @submission in the container again."""
    if _LONG & set(submission.argv):
        return Rewritten(("qsub", *submission.argv), plain=True)
    options, operands = _RULES.split(submission.argv)
    if any(option.name == "I" for option in options):
        raise UsageError(
            "qsub: an interactive job (-I) cannot come back into a container",
            hint="submit a script, or start `lpmx run` in an interactive job",
        )
    prefix = value_of(options, "C") or inside.env.get("PBS_DPREFIX") or "#PBS"
    lines: list[str] = []
    in_script: list[Option] = []
    if operands[:1] == ("--",):
        payload, name, command = b"", operands[1] if operands[1:] else "", list(operands[1:])
        if not command:
            raise UsageError("qsub: -- needs a command")
    else:
        source = operands[0] if operands else "-"
        payload = submission.stdin("-") if source == "-" else submission.read(source)
        name = "STDIN" if source == "-" else source
        lines, in_script = directives(payload, prefix)
        command = _command(inside, payload, [*in_script, *options], operands[1:])
    every = [*in_script, *options]
    back = job_command(inside, command, cwd=_cwd(every, inside), take=TAKE)
    workdir = f"export PBS_O_WORKDIR={shlex.quote(inside.cwd)}\n"
    script = wrapper(_kept_lines(lines, prefix, inside), workdir + back, binds=inside.binds)
    kept = _translated_all(options, inside)
    return Rewritten(
        ("qsub", *join(kept), "-S", "/bin/sh"),
        script,
        posixpath.basename(name),
        as_stdin=name == "STDIN",
        payload=payload,
        env=_env(every),
    )


def _command(
    inside: Inside, payload: bytes, options: Sequence[Option], args: Sequence[str]
) -> list[str]:
    shell = (value_of(options, "S") or "").split(",")[0].partition("@")[0]
    more = shlex.split(value_of(options, "F") or "")  # Torque's arguments for the script
    return script_command(inside, payload, shell, [*args, *more])


def _cwd(options: Sequence[Option], inside: Inside) -> str:
    """PBS starts jobs in the home directory, whatever -cwd means elsewhere."""
    said = value_of(options, *_DIRECTORIES)
    return inside.absolute(said) if said else inside.home


def directives(payload: bytes, prefix: str) -> tuple[list[str], list[Option]]:
    """The lines of a script that begin with @prefix, up to its first command, and their options."""
    lines: list[str] = []
    options: list[Option] = []
    for line in payload.decode("utf-8", "surrogateescape").splitlines():
        if line.startswith(prefix):
            lines.append(line)
            options += _options_of(line, prefix)
        elif line.strip() and not line.lstrip().startswith(("#", ":")):
            break
    return lines, options


def _options_of(line: str, prefix: str) -> list[Option]:
    return _RULES.split(directive_words("qsub", line, prefix))[0]


def _kept_lines(lines: Sequence[str], prefix: str, inside: Inside) -> list[str]:
    return kept_directives(
        lines,
        prefix,
        "#PBS",
        options_of=lambda line: _options_of(line, prefix),
        change=lambda options: _translated_all(options, inside),
    )


def _translated_all(options: Sequence[Option], inside: Inside) -> list[Option]:
    return [_translated(option, inside) for option in options if option.name not in _HERE]


def _translated(option: Option, inside: Inside) -> Option:
    if option.name in _PATHS:
        host, colon, path = option.value.rpartition(":")
        return option.with_value(f"{host}{colon}{inside.to_host(path, f'-{option.name}')}")
    if option.name in _DIRECTORIES:
        path = inside.to_host(inside.absolute(option.value), f"-{option.name}")
        return option.with_value(path)
    return option


def _env(options: Sequence[Option]) -> JobEnv:
    names: list[str] = []
    settings: list[tuple[str, str]] = []
    for option in options:
        if option.name != "v":
            continue
        for word in _split_list(option.value):
            name, sign, value = word.partition("=")
            if sign:
                settings.append((name.strip(), value))
            elif name.strip():
                names.append(name.strip())
    everything = any(option.name == "V" for option in options)
    return JobEnv(everything, tuple(names), tuple(settings))


def _split_list(text: str) -> list[str]:
    """A comma list; a comma after a backslash or in quotes belongs to a value."""
    splitter = shlex.shlex(text, posix=True)
    splitter.whitespace, splitter.whitespace_split, splitter.commenters = ",", True, ""
    return list(splitter)
