"""Grid Engine: qsub and qrsh. Options as in submit(1) of Son of Grid Engine 8.1 and its kin."""

from __future__ import annotations

import posixpath
import shlex
from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError

from .job import Inside, JobEnv, Rewritten, Submission, job_command, script_command, wrapper
from .words import Option, WordRules, directive_words, join, kept_directives, value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ADAPTED", "PLAIN", "adapt", "directives"]

ADAPTED = ("qsub", "qrsh")
PLAIN = (
    "qstat", "qhost", "qdel", "qconf", "qacct", "qalter", "qmod", "qhold", "qrls", "qselect",
    "qquota", "qping", "qresub",
)  # fmt: skip
TAKE = (
    "SGE_*:JOB_ID:JOB_NAME:JOB_SCRIPT:NSLOTS:NHOSTS:NQUEUES:QUEUE:PE:PE_HOSTFILE:REQUEST:REQNAME:"
    "RESTARTED:TASK_ID:ARC:ENVIRONMENT:CUDA_VISIBLE_DEVICES:TMPDIR:TMP"
)

_COUNTS = dict.fromkeys(
    """a ac A ar b binding c C ckpt dc dl dul e hold_jid hold_jid_ad i j js jsv l M m masterq
       N now o ot P p pty q R r S sc shell soft_l sync t tc v w wd @ he bgio""".split(), 1,
) | {"pe": 2, "mattr": 4}  # fmt: skip
_RULES = WordRules("qsub", _COUNTS, {"binding": frozenset({"env", "pe", "set"})})
_NO_JOB = {"help"}
_HERE = {"V", "v", "S", "C", "b", "shell", "@"}  # ours to carry out
_PATHS = {"o", "e", "i"}


def adapt(submission: Submission, inside: Inside) -> Rewritten:
    """The command for the host that runs the job of @submission in the container again."""
    options, operands = _split(submission, submission.argv)
    if any(option.name in _NO_JOB for option in options):
        return Rewritten((submission.program, *submission.argv), plain=True)
    if submission.program == "qrsh":
        return _qrsh(inside, options, operands)
    return _qsub(submission, inside, options, operands)


def _split(
    submission: Submission, argv: Sequence[str], depth: int = 0
) -> tuple[list[Option], tuple[str, ...]]:
    """Options and operands, with the files of -@ read in."""
    options, operands = _RULES.split(argv)
    expanded: list[Option] = []
    for option in options:
        if option.name != "@":
            expanded.append(option)
            continue
        if depth > 8:
            raise UsageError(f"{submission.program}: -@ {option.value}: files that name each other")
        text = submission.read(option.value).decode("utf-8", "surrogateescape")
        expanded += _split(submission, shlex.split(text, comments=True), depth + 1)[0]
    return expanded, operands


def _yes(options: Sequence[Option], name: str, default: bool) -> bool:
    said = value_of(options, name)
    return default if said is None else said.lower() in ("y", "yes", "true", "1")


# ---- qsub


def _qsub(
    submission: Submission, inside: Inside, options: list[Option], operands: tuple[str, ...]
) -> Rewritten:
    lines: list[str] = []
    every = list(options)
    if _yes(options, "b", default=False):
        if not operands or not operands[0].strip():
            raise UsageError("qsub: -b y needs a command")
        payload, name = b"", operands[0].split()[0]
        command = _binary(options, operands)
    else:
        source = operands[0] if operands else "-"
        payload = submission.stdin("-") if source == "-" else submission.read(source)
        name = "STDIN" if source == "-" else source
        lines, in_script = directives(payload, value_of(options, "C"))
        every = [*in_script, *options]
        shell = (value_of(every, "S") or "").split(",")[0].rpartition(":")[2]
        command = script_command(inside, payload, shell, operands[1:])
    back = job_command(inside, command, cwd=_cwd(every, inside), take=TAKE)
    script = wrapper(
        [*_kept_lines(lines, inside, value_of(options, "C"))],
        _with_workdir(inside, back),
        binds=inside.binds,
    )
    # -S last: the wrapper is a script of sh, whatever reads the job's own script.
    kept = _translated_all(options, inside)
    return Rewritten(
        ("qsub", *join(kept), "-S", "/bin/sh"),
        script,
        posixpath.basename(name),
        as_stdin=name == "STDIN",
        payload=payload,
        env=_env(every),
        follow=any(option.name == "verify" for option in every),
    )


def _with_workdir(inside: Inside, back: str) -> str:
    return f"export SGE_O_WORKDIR={shlex.quote(inside.cwd)}\n{back}"


def _binary(options: Sequence[Option], operands: tuple[str, ...]) -> list[str]:
    """-b y: through a shell, which sees the words joined by blanks, unless -shell n."""
    if not _yes(options, "shell", default=True):
        return list(operands)
    shell = (value_of(options, "S") or "/bin/sh").split(",")[0].rpartition(":")[2]
    return [shell, "-c", " ".join(operands)]


def _cwd(options: Sequence[Option], inside: Inside) -> str:
    """Where the job starts: -wd, -cwd, else home."""
    for option in reversed(options):
        if option.name == "wd":
            return inside.absolute(option.value)
        if option.name == "cwd":
            return inside.cwd
    return inside.home


def directives(payload: bytes, prefix: str | None) -> tuple[list[str], list[Option]]:
    """The lines of a script that begin with @prefix (default #$), and the options in them."""
    mark = "#$" if prefix is None else prefix
    lines = [
        line
        for line in payload.decode("utf-8", "surrogateescape").splitlines()
        if mark and line.startswith(mark)
    ]
    return lines, [option for line in lines for option in _options_of(line, mark)]


def _options_of(line: str, mark: str) -> list[Option]:
    words = directive_words("qsub", line, mark)
    return _RULES.split(words)[0] if words[:1] and words[0].startswith("-") else []


def _kept_lines(lines: Sequence[str], inside: Inside, prefix: str | None) -> list[str]:
    """The directives for the wrapper, as they were unless something in them changes."""
    mark = "#$" if prefix is None else prefix
    return kept_directives(
        lines,
        mark,
        "#$",
        options_of=lambda line: _options_of(line, mark),
        change=lambda options: _translated_all(options, inside),
    )


def _translated_all(options: Sequence[Option], inside: Inside) -> list[Option]:
    return [_translated(option, inside) for option in options if option.name not in _HERE]


def _translated(option: Option, inside: Inside) -> Option:
    if option.name in _PATHS:
        paths = [_host_path(item, inside, option.name) for item in option.value.split(",")]
        return option.with_value(",".join(paths))
    if option.name == "wd":
        return option.with_value(inside.to_host(inside.absolute(option.value), "-wd"))
    return option


def _host_path(item: str, inside: Inside, name: str) -> str:
    """[host:]path with the path turned into the host's; $HOME and the like are left to qsub."""
    host, colon, path = item.rpartition(":")
    return f"{host}{colon}{inside.to_host(path, f'-{name}')}"


def _env(options: Sequence[Option]) -> JobEnv:
    """-V: all variables; -v: those named or set. Neither: those of a new program."""
    names: list[str] = []
    settings: list[tuple[str, str]] = []
    for option in options:
        if option.name == "v":
            for word in option.value.split(","):
                name, sign, value = word.partition("=")
                if sign:
                    settings.append((name, value))
                elif name:
                    names.append(name)
    everything = any(option.name == "V" for option in options)
    return JobEnv(everything, tuple(names), tuple(settings))


# ---- qrsh


def _qrsh(inside: Inside, options: list[Option], operands: tuple[str, ...]) -> Rewritten:
    """A command on a node, or on one of this job's nodes with -inherit HOST."""
    kept = _translated_all(options, inside)
    target: tuple[str, ...] = ()
    if any(option.name == "inherit" for option in options):
        target, operands = operands[:1], operands[1:]
    if not operands:
        raise UsageError(
            "qrsh: an interactive login cannot come back into a container",
            hint="give it a command, such as `qrsh -pty y bash`",
        )
    command = ["/bin/sh", "-c", " ".join(operands)]
    back = job_command(inside, command, cwd=_cwd(options, inside), take=TAKE)
    script = wrapper((), _with_workdir(inside, back), binds=inside.binds)
    return Rewritten(
        ("qrsh", *join(kept), *target),
        script,
        "qrsh",  # a shell of the node reads its path
        env=_env(options),
        follow=True,
    )
