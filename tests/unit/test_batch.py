"""Submissions are rewritten so that jobs come back into their container: command lines and scripts
as people write them, for all four batch systems."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING

import pytest

from lpmx_runtime.batch import jobs, lsf, pbs, sge, slurm
from lpmx_runtime.batch.job import Inside, Rewritten, Submission
from lpmx_runtime.batch.words import GetoptRules, WordRules, join
from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.plans.plan import Bind

if TYPE_CHECKING:
    from pathlib import Path

INSIDE = Inside(
    loader="/lib/lpmx-exec",
    plan="/c/plan",
    upper="/c/upper",
    folder="/c/jobs/T",
    binds=(
        Bind("/home/u", "/home/u"),
        Bind("/scratch/u/data", "/data"),
        Bind("/c/jobs", "/.lpmx-jobs", read_only=True),
    ),
    cwd="/home/u/work",
    home="/home/u",
    env={"PATH": "/img/bin", "MARK": "1", "A": "caller"},
    base_env={"PATH": "/img/bin", "BASE": "1"},
)
BASH = b"#!/bin/bash\necho hi\n"


def submission(program: str, *argv: str, script: bytes = BASH, stdin: bytes = BASH) -> Submission:
    def read(path: str) -> bytes:
        if path.endswith("missing"):
            raise LpmxError(f"{path}: no such file in the container")
        return script

    return Submission(program, argv, read=read, stdin=lambda _: stdin)


def way_back(done: Rewritten) -> dict[str, str]:
    """The options of the loader in what was made, and the command under COMMAND."""
    text = done.script.splitlines()[-1] if done.script else " ".join(map(shlex.quote, done.argv))
    words = shlex.split(text)
    if "/lib/lpmx-exec" not in words:  # bsub gives the whole line to a shell
        words = shlex.split(words[-1])
    words = words[words.index("/lib/lpmx-exec") + 1 :]
    split = words.index("--")
    options = dict(zip(words[:split:2], words[1:split:2], strict=True))
    return options | {"COMMAND": " ".join(map(shlex.quote, words[split + 1 :]))}


# ---- Slurm


def test_sbatch_keeps_directives_and_options() -> None:
    script = b"#!/bin/bash\n#SBATCH -J mine --mem=4G\n\n#SBATCH -o out.%j\necho x\n#SBATCH -n 9\n"
    done = slurm.adapt(
        submission("sbatch", "-p", "lab", "--parsable", "job.sh", "a  b", "$x", script=script),
        INSIDE,
    )
    assert done.argv == ("sbatch", "-p", "lab", "--parsable")
    assert (done.script_name, done.operands, done.as_stdin) == ("job.sh", (), False)
    assert done.payload == script
    lines = done.script.splitlines()
    assert lines[:3] == ["#!/bin/sh", "#SBATCH -J mine --mem=4G", "#SBATCH -o out.%j"]
    assert "export SLURM_SUBMIT_DIR=/home/u/work" in lines
    assert "#SBATCH -n 9" not in lines, "a directive behind a command is none"
    back = way_back(done)
    assert back["--plan"] == "/c/plan"
    assert back["--env"] == "/c/jobs/T/env"
    assert back["--cwd"] == "/home/u/work"
    assert back["COMMAND"] == "/.lpmx-jobs/T/script 'a  b' '$x'"


def test_sbatch_reads_its_script_from_stdin() -> None:
    done = slurm.adapt(submission("sbatch", "-a", "1-3", stdin=b"#!/usr/bin/perl\n"), INSIDE)
    assert done.as_stdin
    assert done.argv == ("sbatch", "-a", "1-3")
    assert way_back(done)["COMMAND"] == "/.lpmx-jobs/T/script"


@pytest.mark.parametrize("words", [("--wrap", "echo $X | wc"), ("--wrap=echo $X | wc",)])
def test_sbatch_wrap_becomes_a_script(words: tuple[str, ...]) -> None:
    done = slurm.adapt(submission("sbatch", *words, "-d", "afterok:1"), INSIDE)
    assert done.argv == ("sbatch", "-d", "afterok:1", "--job-name=wrap")
    assert done.payload == b"#!/bin/sh\necho $X | wc\n"


@pytest.mark.parametrize(
    ("option", "everything", "names", "settings"),
    [
        ((), True, (), ()),
        (("--export=ALL",), True, (), ()),
        (("--export=NONE",), False, (), ()),
        (("--export", "NIL"), False, (), ()),
        (("--export=A,B=2",), False, ("A",), (("B", "2"),)),
        (("--export=ALL,B='x,y',C=",), True, (), (("B", "x,y"), ("C", ""))),
    ],
)
def test_sbatch_export(option, everything, names, settings) -> None:
    done = slurm.adapt(submission("sbatch", *option, "j"), INSIDE)
    assert done.argv == ("sbatch",)
    assert (done.env.everything, done.env.names, done.env.settings) == (everything, names, settings)
    assert done.env.resolve(INSIDE)["PATH"] == "/img/bin"
    assert ("MARK" in done.env.resolve(INSIDE)) is everything


def test_paths_of_slurm_become_the_hosts() -> None:
    script = b"#!/bin/sh\n#SBATCH --output=/data/o.%j -n 2\n#SBATCH --export=NONE\n"
    done = slurm.adapt(
        submission("sbatch", "-e", "/data/e", "-D/data/run", "j", script=script), INSIDE
    )
    assert done.argv == ("sbatch", "-e", "/scratch/u/data/e", "-D/scratch/u/data/run")
    assert "#SBATCH --output=/scratch/u/data/o.%j -n 2" in done.script.splitlines()
    assert "--export" not in done.script
    assert way_back(done)["--cwd"] == "/data/run"
    assert not done.env.everything


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--output=/opt/o", "j"), "--output /opt/o: a path of the container alone"),
        (("-o",), "option -o needs a value"),
        (("missing",), "no such file in the container"),
        (("--export-file=x", "j"), "--export-file cannot come back"),
        (("-n1", "a", ":", "-n2", "b"), "heterogeneous jobs"),
    ],
)
def test_what_sbatch_cannot_bring_back_is_said(argv, message) -> None:
    with pytest.raises(LpmxError, match=message):
        slurm.adapt(submission("sbatch", *argv), INSIDE)


def test_a_script_without_an_interpreter_is_refused_as_by_sbatch() -> None:
    with pytest.raises(UsageError, match="does not begin with #!"):
        slurm.adapt(submission("sbatch", "j", script=b"echo\n"), INSIDE)


def test_srun_runs_the_command_through_the_loader() -> None:
    done = slurm.adapt(submission("srun", "-N2", "--mpi=pmi2", "-K1", "sh", "-c", "a  $b"), INSIDE)
    assert done.argv[:5] == ("srun", "-N2", "--mpi=pmi2", "-K1", "/lib/lpmx-exec")
    assert way_back(done)["COMMAND"] == "sh -c 'a  $b'"
    assert done.follow


def test_srun_keeps_the_parts_of_a_heterogeneous_step() -> None:
    done = slurm.adapt(submission("srun", "-n1", "a", ":", "-n2", "b", "c"), INSIDE)
    words = list(done.argv)
    assert words.count("/lib/lpmx-exec") == 2
    assert words[words.index(":") + 1 : words.index(":") + 3] == ["-n2", "/lib/lpmx-exec"]
    assert words[-2:] == ["b", "c"]


def test_salloc_without_a_command_starts_a_shell_inside() -> None:
    done = slurm.adapt(submission("salloc", "-N1"), INSIDE)
    assert way_back(done)["COMMAND"] == "/bin/sh"


@pytest.mark.parametrize("word", ["--help", "--version", "-V", "--usage"])
def test_questions_to_sbatch_are_passed_on(word: str) -> None:
    done = slurm.adapt(submission("sbatch", word), INSIDE)
    assert (done.argv, done.plain) == ((word,), True)


# ---- Grid Engine


def test_qsub_keeps_directives_and_carries_out_its_own() -> None:
    script = b"#!/bin/csh\n#$ -S /bin/bash\n#$ -cwd -j y\n#$ -V -N n1\necho\n#$ -l h_vmem=1G\n"
    done = sge.adapt(
        submission("qsub", "-t", "1-5", "-o", "/data/$JOB_ID", "j.sh", "x", script=script), INSIDE
    )
    assert done.argv == ("qsub", "-t", "1-5", "-o", "/scratch/u/data/$JOB_ID", "-S", "/bin/sh")
    lines = done.script.splitlines()
    assert lines[1:4] == ["#$ -cwd -j y", "#$ -N n1", "#$ -l h_vmem=1G"]
    assert done.env.everything
    back = way_back(done)
    assert back["COMMAND"] == "/bin/bash /.lpmx-jobs/T/script x"
    assert back["--cwd"] == "/home/u/work"
    assert "JOB_ID" in back["--take"]


@pytest.mark.parametrize(
    ("argv", "command", "name"),
    [
        (("-b", "y", "echo", "a  b", "$X"), "/bin/sh -c 'echo a  b $X'", "echo"),
        (("-b", "yes", "-shell", "n", "echo", "a  b"), "echo 'a  b'", "echo"),
        (
            ("-b", "y", "-S", "/bin/bash", "sleep 10; date"),
            "/bin/bash -c 'sleep 10; date'",
            "sleep",
        ),
        (("-b", "n", "sub/j.sh"), "/.lpmx-jobs/T/script", "j.sh"),
    ],
)
def test_qsub_binary_goes_through_a_shell_as_in_grid_engine(argv, command, name) -> None:
    done = sge.adapt(submission("qsub", *argv), INSIDE)
    assert way_back(done)["COMMAND"] == command
    assert done.script_name == name


def test_qsub_starts_at_home_unless_told() -> None:
    assert way_back(sge.adapt(submission("qsub", "j"), INSIDE))["--cwd"] == "/home/u"
    done = sge.adapt(submission("qsub", "-wd", "/data/x", "j"), INSIDE)
    assert way_back(done)["--cwd"] == "/data/x"
    assert done.argv[:3] == ("qsub", "-wd", "/scratch/u/data/x")


@pytest.mark.parametrize("argv", [(), ("-",), ("-cwd", "-")])
def test_qsub_reads_its_script_from_stdin(argv: tuple[str, ...]) -> None:
    done = sge.adapt(submission("qsub", *argv, stdin=b"#$ -N x\ntrue\n"), INSIDE)
    assert (done.as_stdin, done.script_name) == (True, "STDIN")
    assert way_back(done)["COMMAND"] == "/bin/sh /.lpmx-jobs/T/script"


def test_qsub_variables() -> None:
    done = sge.adapt(submission("qsub", "-v", "A,B=2", "-v", "C=x=y", "j"), INSIDE)
    assert done.env.resolve(INSIDE) == {
        "PATH": "/img/bin", "BASE": "1", "A": "caller", "B": "2", "C": "x=y",
    }  # fmt: skip
    assert "-v" not in done.argv


def test_qsub_reads_options_from_files() -> None:
    done = sge.adapt(
        submission("qsub", "-@", "opts", "j", script=b"-pe smp 4 # four\n-cwd\n"), INSIDE
    )
    assert done.argv == ("qsub", "-pe", "smp", "4", "-cwd", "-S", "/bin/sh")


def test_qsub_knows_another_directive_prefix() -> None:
    script = b"#!/bin/sh\n#% -N a\n#$ -N b\n"
    done = sge.adapt(submission("qsub", "-C", "#%", "j", script=script), INSIDE)
    assert done.script.splitlines()[1:2] == ["#$ -N a"]
    assert "-N b" not in done.script


def test_qsub_binding_takes_one_or_two_words() -> None:
    for words in (("-binding", "linear:2"), ("-binding", "pe", "linear:2")):
        done = sge.adapt(submission("qsub", *words, "j"), INSIDE)
        assert done.argv == ("qsub", *words, "-S", "/bin/sh")


def test_qrsh_runs_a_command_inside_and_refuses_a_login() -> None:
    done = sge.adapt(submission("qrsh", "-cwd", "-inherit", "node7", "make", "-j4"), INSIDE)
    assert done.argv == ("qrsh", "-cwd", "-inherit", "node7")
    assert way_back(done)["COMMAND"] == "/bin/sh -c 'make -j4'"
    assert done.follow
    with pytest.raises(UsageError, match="interactive login"):
        sge.adapt(submission("qrsh", "-cwd"), INSIDE)


# ---- PBS


def test_pbs_qsub_as_openpbs_users_write_it() -> None:
    script = (
        b"#!/bin/bash\n#PBS -N run\n#PBS -l select=1:ncpus=4:mem=8gb,walltime=1:00\n"
        b"#PBS -o /data/o -e /home/u/e\n#PBS -V\n\ncd $PBS_O_WORKDIR\n#PBS -q late\n"
    )
    done = pbs.adapt(
        submission(
            "qsub", "-J", "1-9", "-W", "depend=afterok:1.s", "-v", "A,B=x\\,y", "j", script=script
        ),
        INSIDE,
    )
    assert done.argv == ("qsub", "-J", "1-9", "-W", "depend=afterok:1.s", "-S", "/bin/sh")
    lines = done.script.splitlines()
    assert lines[1:4] == [
        "#PBS -N run",
        "#PBS -l select=1:ncpus=4:mem=8gb,walltime=1:00",
        "#PBS -o /scratch/u/data/o -e /home/u/e",
    ]
    assert "-q late" not in done.script
    assert "export PBS_O_WORKDIR=/home/u/work" in lines
    assert done.env.everything
    assert done.env.settings == (("B", "x,y"),)
    assert way_back(done)["--cwd"] == "/home/u"


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (("-S", "/bin/tcsh", "j"), "/bin/tcsh /.lpmx-jobs/T/script"),
        (("-F", "-n 'a b'", "j"), "/.lpmx-jobs/T/script -n 'a b'"),
        (("--", "/bin/prog", "a  b"), "/bin/prog 'a  b'"),
        ((), "/.lpmx-jobs/T/script"),
    ],
)
def test_pbs_commands(argv: tuple[str, ...], command: str) -> None:
    assert way_back(pbs.adapt(submission("qsub", *argv), INSIDE))["COMMAND"] == command


def test_pbs_interactive_jobs_are_refused() -> None:
    with pytest.raises(UsageError, match="interactive job"):
        pbs.adapt(submission("qsub", "-I", "-lnodes=1"), INSIDE)


# ---- LSF


def test_bsub_command_goes_through_a_shell_as_in_lsf() -> None:
    done = lsf.adapt(
        submission(
            "bsub",
            "-q",
            "short",
            "-n",
            "4",
            "-R",
            "span[hosts=1]",
            "-o",
            "/data/%J",
            "echo",
            "a",
            "$LSB_JOBID",
        ),
        INSIDE,
    )
    assert done.argv[:-1] == (
        "bsub", "-q", "short", "-n", "4", "-R", "span[hosts=1]", "-o", "/scratch/u/data/%J", "-J",
        "echo a $LSB_JOBID",
    )  # fmt: skip
    assert way_back(done)["COMMAND"] == "/bin/sh -c 'echo a $LSB_JOBID'"
    assert done.env.everything
    assert not done.script


def test_bsub_script_from_stdin() -> None:
    script = b'#!/bin/bash\n#BSUB -J "arr[1-10]%2"\n#BSUB -e /data/e -env "none"\necho\n'
    done = lsf.adapt(submission("bsub", "-w", "done(1)", stdin=script), INSIDE)
    assert done.argv == ("bsub", "-w", "done(1)")
    lines = done.script.splitlines()
    assert lines[1:3] == ['#BSUB -J "arr[1-10]%2"', "#BSUB -e /scratch/u/data/e"]
    assert done.as_stdin
    assert not done.env.everything


@pytest.mark.parametrize(
    ("said", "variables"),
    [
        ("all", {"PATH", "MARK", "A"}),
        ("none", {"PATH", "BASE"}),
        ("A, B=2", {"PATH", "BASE", "A", "B"}),
        ("all, ~MARK", {"PATH", "BASE", "A"}),
    ],
)
def test_bsub_env(said: str, variables: set[str]) -> None:
    done = lsf.adapt(submission("bsub", "-env", said, "true"), INSIDE)
    assert set(done.env.resolve(INSIDE)) == variables
    assert "-env" not in done.argv


# ---- all of them


def test_a_scratch_directory_passes_only_where_it_is_shown() -> None:
    done = slurm.adapt(submission("sbatch", "j"), INSIDE)
    assert 'case "${TMPDIR-}" in /home/u|/home/u/*) ;; *) unset TMPDIR TMP ;; esac' in done.script


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("Submitted batch job 123\n", "123"),
        ("123\n", "123"),
        ("123;cluster\n", "123"),
        ('Your job 7 ("j.sh") has been submitted\n', "7"),
        ('Your job-array 8.1-5:1 ("j.sh") has been submitted\n', "8"),
        ("8.1-5:1\n", "8"),
        ("1234.pbs01\n", "1234.pbs01"),
        ("1234[].pbs01.site.org\n", "1234[].pbs01.site.org"),
        ("Job <99> is submitted to default queue <normal>.\n", "99"),
        ("note from a plugin\nSubmitted batch job 5\n", "5"),
        ("sbatch: error: no\n", ""),
    ],
)
def test_the_number_of_a_job_is_read_from_the_answer(said: str, number: str) -> None:
    assert jobs.number_in(said) == number


@pytest.mark.parametrize(
    ("system", "status", "out", "err", "over"),
    [
        ("slurm", 0, "RUNNING\n", "", False),
        ("slurm", 0, "", "", True),
        ("slurm", 1, "", "slurm_load_jobs error: Invalid job id specified\n", True),
        ("slurm", 1, "", "slurm_load_jobs error: Unable to contact slurm controller\n", False),
        ("sge", 0, "job_number: 3\n", "", False),
        ("sge", 1, "Following jobs do not exist:\n3\n", "", True),
        ("sge", 1, "", "error: commlib error: can't connect to service\n", False),
        ("pbs", 153, "", "qstat: Unknown Job Id 12.server\n", True),
        ("pbs", 35, "", "qstat: 12.server Job has finished, use -x or -H\n", True),
        ("pbs", 255, "", "qstat: cannot connect to server\n", False),
        ("lsf", 0, "RUN\n", "", False),
        ("lsf", 0, "DONE\nEXIT\n", "", True),
        ("lsf", 0, "DONE\nPEND\n", "", False),
        ("lsf", 255, "", "Job <3> is not found\n", True),
        ("lsf", 255, "", "LSF is down. Please wait ...\n", False),
    ],
)
def test_a_job_is_over_only_when_the_batch_system_says_so(system, status, out, err, over) -> None:
    assert jobs._answer(system, status, out, err) is over


def test_a_job_that_never_got_a_number_goes_with_its_submitter(tmp_path: Path) -> None:
    container = tmp_path / "c"
    for name in ("jobs", "runs"):
        (container / name).mkdir(parents=True)
    job = jobs.Job(jobs.new_folder(str(container)), "slurm", "/bin/sbatch", ["sbatch"])
    os.makedirs(job.folder)
    job.note()
    assert jobs.forget_finished(str(container)) == 1, "its submitter, this process, is there"
    (note,) = (container / "runs").iterdir()
    data = json.loads(note.read_text())
    data["submitter"]["start"] += 1  # another process that had the same pid
    note.write_text(json.dumps(data))
    assert jobs.forget_finished(str(container)) == 0
    assert not os.path.exists(job.folder)


def test_folders_of_steps_go_when_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "jobs" / "step").mkdir(parents=True)
    assert jobs.forget_finished(str(tmp_path)) == 0
    assert os.listdir(tmp_path / "jobs") == []


def test_questions_about_a_job_leave_no_note() -> None:
    assert slurm.adapt(submission("sbatch", "--test-only", "j"), INSIDE).follow
    assert sge.adapt(submission("qsub", "-verify", "j"), INSIDE).follow


def test_words_are_put_together_as_they_were() -> None:
    rules = GetoptRules("x", "no", "K", frozenset({"output", "out-dir"}), frozenset({"nice"}))
    for argv in (
        [
            "-n3",
            "-vo",
            "x",
            "--output=a",
            "--nice",
            "--nice=3",
            "-K",
            "-K1",
            "--outp",
            "y",
            "cmd",
            "-n",
        ],
        ["--", "-n"],
        ["-", "x"],
    ):
        options, rest = rules.split(argv)
        flat = [*join(options), *rest]
        assert " ".join(flat).replace("-v -o", "-vo") == " ".join(argv)
    with pytest.raises(UsageError, match="needs a value"):
        rules.split(["--output"])
    words = WordRules("y", {"o": 1}, {})
    assert words.split(["-o", "-x", "-y", "c"])[1] == ("c",)
