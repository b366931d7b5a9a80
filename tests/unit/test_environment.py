"""The environment of a start."""

from __future__ import annotations

import pytest

from lpmx_runtime.errors import UsageError
from lpmx_runtime.plans.plan import Bind
from lpmx_runtime.plans.variables import DEFAULT_PATH, build_environment, parse_env, parse_env_file


def build(fixed=None, host=None, **options):
    return build_environment(fixed or {}, host or {}, **({"home": "/h", "user": ""} | options))


def test_only_listed_variables_of_the_host_are_passed():
    host = {"TERM": "xterm", "SLURM_JOB_ID": "7", "LD_LIBRARY_PATH": "/x", "PYTHONPATH": "/y"}
    host |= {"PATH": "/opt/bin", "HOME": "/other", "CONDA_PREFIX": "/c"}
    assert build(host=host) == {
        "TERM": "xterm",
        "SLURM_JOB_ID": "7",
        "PATH": DEFAULT_PATH,
        "HOME": "/h",
    }


def test_image_and_user_win_over_host_and_defaults():
    fixed = {"TERM": "dumb", "PATH": "/image/bin", "HOME": "/image"}
    assert build(fixed, {"TERM": "xterm"}) == fixed


def test_locale_of_the_host_is_passed_whole_or_not_at_all():
    host = {"LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8", "LC_TIME": "C"}
    assert host.items() <= build(host=host).items()
    env = build({"LANG": "C.UTF-8"}, host)
    assert env["LANG"] == "C.UTF-8"
    assert not {"LC_ALL", "LC_TIME"} & env.keys()


def test_directories_are_passed_where_they_are_visible_under_the_same_name():
    host = {"TMPDIR": "/scratch/1", "TMP": "/elsewhere", "SCRATCH": "/moved/x"}
    binds = (Bind("/scratch", "/scratch"), Bind("/other", "/moved"))
    env = build(host=host, binds=binds)
    assert env["TMPDIR"] == "/scratch/1"
    assert not {"TMP", "SCRATCH"} & env.keys()


def test_user_and_logname_are_those_shown():
    env = build(host={"USER": "alice"}, user="jovyan")
    assert (env["USER"], env["LOGNAME"]) == ("jovyan", "jovyan")


def test_variables_of_the_command_line():
    host = {"SET": "value"}
    words = ["A=b=c", "EMPTY=", "SET", "UNSET", "A=last"]
    assert parse_env(words, host) == {"A": "last", "EMPTY": "", "SET": "value"}
    for wrong in ("=x", "a b=c", ""):
        with pytest.raises(UsageError, match="not the name of a variable"):
            parse_env([wrong], host)


def test_env_file_has_docker_s_syntax():
    text = '# comment\n\n  A=1 # not a comment\nQ="quoted"\nSET\nUNSET\nE=\n  # indented comment\n'
    assert parse_env_file(text, {"SET": "s"}, name="f") == {
        "A": "1 # not a comment",
        "Q": '"quoted"',
        "SET": "s",
        "E": "",
    }


def test_env_file_error_names_the_line():
    with pytest.raises(UsageError, match="f, line 2: 'export X'"):
        parse_env_file("A=1\nexport X=2\n", {}, name="f")
