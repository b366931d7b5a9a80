"""Slurm: sbatch, srun and salloc. Options as of Slurm 23.11 (slurm.schedmd.com)."""

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

PLAIN = (
    "squeue", "sinfo", "scancel", "sacct", "scontrol", "sstat", "sprio", "sshare", "sacctmgr",
    "sreport", "sattach", "sbcast", "strigger", "sdiag", "seff",
)  # fmt: skip
TAKE = (
    "SLURM_*:SLURMD_*:SLURM*:PMI_*:PMI2_*:PMIX_*:CUDA_VISIBLE_DEVICES:ROCR_VISIBLE_DEVICES:TMPDIR"
)

_VALUES = frozenset(
    """
    account acctg-freq array batch bb bbf bcast bcast-exclude begin chdir cluster-constraint
    clusters cluster comment constraint container container-id core-spec cores-per-socket cpu-bind
    cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot dependency distribution epilog error
    exclude export export-file extra extra-node-info gid gpu-bind gpu-freq gpus gpus-per-node
    gpus-per-socket gpus-per-task gres gres-flags het-group hint input job-name jobid licenses
    mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus mpi network nodefile
    nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket
    open-mode output partition power prefer priority profile prolog qos relative reservation
    signal slurmd-debug sockets-per-node switches task-epilog task-prolog thread-spec threads
    threads-per-core time time-min tmp tree-width tres-bind tres-per-task uid wait-all-nodes wckey
    wrap
""".split()
)
_OPTIONAL = frozenset(
    """
    compress exclusive get-user-env immediate kill-command kill-on-bad-exit nice propagate
    resv-ports send-libs
""".split()
)
_FLAGS = frozenset(
    """
    bell contiguous disable-status exact external exclusive-user help hold ignore-pbs interactive
    kill-on-invalid-dep label multi-prog no-allocate no-bell no-kill no-requeue no-shell overcommit
    overlap oversubscribe parsable preserve-env pty quiet quit-on-interrupt reboot requeue
    spread-job test-only unbuffered usage use-min-nodes verbose version whole
""".split()
)
_RULES = {
    "sbatch": GetoptRules("sbatch", "AaBbCcDdeFGiJLMmNnopqStwxP", "k", _VALUES, _OPTIONAL,
                          _FLAGS | {"wait"}),
    "srun": GetoptRules("srun", "ABbCcDdeGiJLMmNnopPqrSTtWwx", "IKkZ", _VALUES | {"wait"},
                        _OPTIONAL, _FLAGS),
    "salloc": GetoptRules("salloc", "ABbCcDdFGJLMmNnpPqStwx", "IK", _VALUES, _OPTIONAL, _FLAGS),
}  # fmt: skip
ADAPTED = tuple(_RULES)
_PATHS = {"o": "output", "e": "error", "i": "input", "output": "output", "error": "error",
          "input": "input"}  # fmt: skip
_NO_JOB = {"help", "h", "usage", "version", "V"}


def adapt(submission: Submission, inside: Inside) -> Rewritten:
    """The command for the host that runs the job of @submission in the container again."""
    options, operands = _RULES[submission.program].split(submission.argv)
    if any(option.name in _NO_JOB for option in options):
        return Rewritten(submission.argv, plain=True)
    if submission.program == "sbatch":
        return _sbatch(submission, inside, options, operands)
    return _step(submission, inside, options, operands)


def _sbatch(
    submission: Submission, inside: Inside, options: list[Option], operands: tuple[str, ...]
) -> Rewritten:
    if ":" in operands:
        raise UsageError("sbatch: heterogeneous jobs on the command line cannot come back",
                         hint="write them as #SBATCH directives with `#SBATCH hetjob`")  # fmt: skip
    operands = operands[1:] if operands[:1] == ("--",) else operands
    wrapped = value_of(options, "wrap")
    if wrapped is not None:
        payload, name, args = f"#!/bin/sh\n{wrapped}\n".encode(), "wrap", operands
    elif operands:
        payload, name, args = submission.read(operands[0]), operands[0], operands[1:]
    else:
        payload, name, args = submission.stdin("-"), "", operands
    if not payload.startswith(b"#!"):
        raise UsageError(
            f"sbatch: {name or 'the script'} does not begin with #!",
            hint="its first line says what runs it, for example #!/bin/bash",
        )
    lines, in_script = directives(payload)
    every = [*in_script, *options]  # the command line wins
    _refuse(every)
    cwd = inside.absolute(value_of(every, "chdir", "D") or inside.cwd)
    kept = _translated_all(options, inside)
    if wrapped is not None and value_of(every, "job-name", "J") is None:
        kept.append(Option("job-name", "wrap", ("--job-name=wrap",)))
    back = job_command(inside, script_command(inside, payload, "", args), cwd=cwd, take=TAKE)
    kept_lines = kept_directives(
        lines,
        "#SBATCH",
        "#SBATCH",
        options_of=_options_of,
        change=lambda options: _translated_all(options, inside),
    )
    workdir = f"export SLURM_SUBMIT_DIR={shlex.quote(inside.cwd)}\n"
    script = wrapper(kept_lines, workdir + back, binds=inside.binds)
    return Rewritten(
        ("sbatch", *join(kept)),
        script,
        posixpath.basename(name) or "sbatch",
        as_stdin=wrapped is None and not operands,
        payload=payload,
        env=_export(value_of(every, "export"), inside),
        follow=any(option.name == "test-only" for option in every),
    )


_DROPPED = {"export", "wrap", "export-file", "get-user-env"}


def _refuse(options: Sequence[Option]) -> None:
    for option in options:
        if option.name == "export-file":
            raise UsageError(
                "sbatch: --export-file cannot come back into a container",
                hint="name the variables with --export=NAME,NAME=VALUE",
            )


def directives(payload: bytes) -> tuple[list[str], list[Option]]:
    """The #SBATCH lines of a script up to its first command, and the options in them."""
    lines: list[str] = []
    options: list[Option] = []
    for line in payload.decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("#SBATCH"):
            lines.append(line)
            options += _options_of(line)
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return lines, options


def _options_of(line: str) -> list[Option]:
    words = directive_words("sbatch", line, "#SBATCH")
    return [] if words[:1] in (["hetjob"], ["packjob"]) else _RULES["sbatch"].split(words)[0]


def _translated_all(options: Sequence[Option], inside: Inside) -> list[Option]:
    return [_translated(option, inside) for option in options if option.name not in _DROPPED]


def _translated(option: Option, inside: Inside) -> Option:
    """@option with its path turned into the host's."""
    if option.name in _PATHS and option.value not in ("none", "all"):
        return option.with_value(inside.to_host(option.value, f"--{_PATHS[option.name]}"))
    if option.name in ("chdir", "D"):
        return option.with_value(inside.to_host(inside.absolute(option.value), "--chdir"))
    return option


def _export(said: str | None, inside: Inside) -> JobEnv:
    """What --export means: ALL (default), NONE, NIL, or ALL and names and settings."""
    text = said if said is not None else inside.env.get("SBATCH_EXPORT", "ALL")
    everything, names, settings = False, [], []
    for word in _split_list(text):
        name, sign, value = word.partition("=")
        if word == "ALL":
            everything = True
        elif sign:
            settings.append((name, value))
        elif word not in ("NONE", "NIL", ""):
            names.append(word)
    return JobEnv(everything, tuple(names), tuple(settings))


def _split_list(text: str) -> list[str]:
    """A comma list whose values may be quoted."""
    parts, part, quote = [], "", ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
            part += "" if not quote else letter
        elif letter in "'\"":
            quote = letter
        elif letter == ",":
            parts.append(part)
            part = ""
        else:
            part += letter
    return [*parts, part]


def _step(
    submission: Submission, inside: Inside, options: list[Option], operands: tuple[str, ...]
) -> Rewritten:
    """For srun and salloc: the command itself is run through the loader."""
    program = submission.program
    if any(option.name == "multi-prog" for option in options):
        raise UsageError(
            "srun: --multi-prog cannot come back into a container",
            hint="start one srun for each program, with `:` or in the background",
        )
    groups = _groups(operands)
    kept = _translated_all(options, inside)
    cwd = inside.absolute(value_of(options, "chdir", "D") or inside.cwd)
    rebuilt = _command(inside, groups[0], cwd, program)
    for group in groups[1:]:
        more, command = _RULES[program].split(group)
        rebuilt += [":", *join(_translated(option, inside) for option in more)]
        rebuilt += _command(inside, command, cwd, program)
    export = value_of(options, "export")
    return Rewritten((program, *join(kept), *rebuilt), env=_export(export, inside), follow=True)


def _groups(operands: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The commands of a heterogeneous step, which `:` keeps apart."""
    groups: list[tuple[str, ...]] = [()]
    for word in operands:
        if word == ":":
            groups.append(())
        else:
            groups[-1] = (*groups[-1], word)
    return groups


def _command(inside: Inside, command: Sequence[str], cwd: str, program: str) -> list[str]:
    words = list(command[1:] if command[:1] == ("--",) else command)
    if not words and program == "salloc":
        words = [inside.env.get("SHELL") or "/bin/sh"]
    if not words:
        return []
    line = job_command(inside, words, cwd=cwd, take=TAKE)
    return shlex.split(line)[1:]
