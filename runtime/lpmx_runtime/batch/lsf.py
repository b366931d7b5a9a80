"""LSF: bsub. Options as in the bsub reference of LSF 10.1 (www.ibm.com/docs/en/spectrum-lsf)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime.errors import UsageError

from .job import Inside, JobEnv, Rewritten, Submission, job_command, script_command, wrapper
from .words import Option, WordRules, directive_words, join, kept_directives, value_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ADAPTED", "PLAIN", "adapt", "directives"]

ADAPTED = ("bsub",)
PLAIN = (
    "bjobs", "bkill", "bhosts", "bqueues", "bhist", "bacct", "bmod", "bstop", "bresume", "bpeek",
    "bswitch", "btop", "bbot", "brequeue", "bwait", "lsid", "lshosts", "lsload", "busers",
    "bugroup",
)  # fmt: skip
TAKE = "LSB_*:LSF_*:LS_*:LS_JOBPID:CUDA_VISIBLE_DEVICES:TMPDIR"

_COUNTS = dict.fromkeys(
    """a app aps b c C clusters csm cwd D data datachk Jd e eo E Ep env eptl eptlp f F freq g G gpu
       i is J jm jobaff jsdl k K_ L Lp m M mig n network notify o oo outdir p P Pp pack ptl q R
       rcacct rnc rsla S s sla smt sp stage step_cgroup t T ti U u ul_ v w wa wt W We""".split(), 1,
)  # fmt: skip
_RULES = WordRules("bsub", _COUNTS, {})
_NO_JOB = {"V", "h", "help"}
_HERE = {"env", "L"}
_PATHS = {"o", "oo", "e", "eo", "i", "is"}
_INTERACTIVE = {"I", "Ip", "Is", "IS", "ISp", "ISs", "IX", "K"}


def adapt(submission: Submission, inside: Inside) -> Rewritten:
    """The command for the host that runs the job of @submission in the container again."""
    options, operands = _RULES.split(submission.argv)
    if any(option.name in _NO_JOB for option in options):
        return Rewritten(("bsub", *submission.argv), plain=True)
    if any(option.name == "pack" for option in options):
        raise UsageError("bsub: -pack cannot come back into a container", hint="submit one by one")
    if operands:
        return _command(inside, options, operands)
    return _script(submission, inside, options)


def _command(inside: Inside, options: list[Option], operands: tuple[str, ...]) -> Rewritten:
    """A command line, which LSF gives to a shell with its words joined by blanks."""
    text = " ".join(operands)
    kept = _kept(options, inside)
    if value_of(options, "J") is None:
        kept.append(Option("J", text, ("-J", _job_name(text))))
    back = job_command(inside, ["/bin/sh", "-c", text], cwd=_cwd(options, inside), take=TAKE)
    follow = any(option.name in _INTERACTIVE for option in options)
    return Rewritten(("bsub", *join(kept), back), env=_env(options, inside), follow=follow)


def _job_name(text: str) -> str:
    """What LSF would call the job, without the characters that mean an array."""
    return text.translate(str.maketrans("[]%", "___"))[:250]


def _script(submission: Submission, inside: Inside, options: list[Option]) -> Rewritten:
    payload = submission.stdin("-")
    lines, in_script = directives(payload)
    every = [*in_script, *options]
    back = job_command(
        inside,
        script_command(inside, payload, "", ()),
        cwd=_cwd(every, inside),
        take=TAKE,
    )
    kept_lines = kept_directives(
        lines,
        "#BSUB",
        "#BSUB",
        options_of=_options_of,
        change=lambda options: _kept(options, inside),
    )
    return Rewritten(
        ("bsub", *join(_kept(options, inside))),
        wrapper(kept_lines, back, binds=inside.binds),
        "STDIN",
        as_stdin=True,
        payload=payload,
        env=_env(every, inside),
        follow=any(option.name in _INTERACTIVE for option in every),
    )


def directives(payload: bytes) -> tuple[list[str], list[Option]]:
    """The #BSUB lines of a script, and the options in them."""
    text = payload.decode("utf-8", "surrogateescape")
    lines = [line for line in text.splitlines() if line.startswith("#BSUB")]
    return lines, [option for line in lines for option in _options_of(line)]


def _options_of(line: str) -> list[Option]:
    return _RULES.split(directive_words("bsub", line, "#BSUB"))[0]


def _kept(options: Sequence[Option], inside: Inside) -> list[Option]:
    return [_translated(option, inside) for option in options if option.name not in _HERE]


def _translated(option: Option, inside: Inside) -> Option:
    if option.name in _PATHS:
        return option.with_value(inside.to_host(option.value, f"-{option.name}"))
    if option.name in ("cwd", "outdir"):
        path = inside.to_host(inside.absolute(option.value), f"-{option.name}")
        return option.with_value(path)
    return option


def _cwd(options: Sequence[Option], inside: Inside) -> str:
    said = value_of(options, "cwd")
    return inside.absolute(said) if said else inside.cwd


def _env(options: Sequence[Option], inside: Inside) -> JobEnv:
    """-env: none, all (default), names and settings, ~NAME for all but that one."""
    said = value_of(options, "env")
    everything, names, settings, without = said is None, [], [], set()
    for word in (word.strip() for word in (said or "").split(",")):
        name, sign, value = word.partition("=")
        if word == "all":
            everything = True
        elif sign:
            settings.append((name, value))
        elif word.startswith("~"):
            without.add(word[1:])
        elif word and word != "none":
            names.append(word)
    if without:
        names += [name for name in inside.env if name not in without]
        everything = False
    return JobEnv(everything, tuple(names), tuple(settings))
