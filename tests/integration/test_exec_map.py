"""Commands of other containers: found, started and ended as if they were installed here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess

import pytest
from support.lpmx import clean_environment

BIOCONTAINER = "image:lpmx-test/biocontainer"
SHOWN = "image lpmx-test/biocontainer:latest"


@pytest.fixture
def composed(image, run_lpmx):
    """composed(SCRIPT, MAP...): bash in `tools`, with commands of `biocontainer` and others."""
    tools = image("tools")
    image("biocontainer")
    image("c-probes")

    def call(script, *maps, options=(), **more):
        words = [word for one in maps for word in ("-m", one)]
        return run_lpmx("run", *options, *words, tools, "bash", "-c", script, **more)

    return call


def lines(done):
    return done.stdout.splitlines()


def test_mapped_name_runs_the_other_image_s_program(composed):
    done = composed("greet; script; cat /etc/lpmx-image", f"greet={BIOCONTAINER}",
                    f"script={BIOCONTAINER}:/usr/local/bin/script")  # fmt: skip
    found = lines(done)
    assert found[0] == "greetings from a prefix in biocontainer"
    assert found[1].startswith("script in biocontainer by bash 5")
    assert found[2] == "tools", "the caller is still in its own tree"


def test_mapped_name_is_an_executable_file_wherever_it_is_looked_for(composed):
    script = """
    which greet; command -v greet; type -p greet
    test -x "$(which greet)" && test -f "$(which greet)" && echo executable
    stat -c %F%a "$(which greet)"; ls /.lpmx/bin; compgen -c gree
    python3 -c 'import shutil, os; p = shutil.which("greet"); print(p, os.access(p, os.X_OK))'
    perl -e 'exec "greet"'; env greet; find /.lpmx/bin -executable -name "gr*" -exec {} ';'
    """
    hello = "greetings from a prefix in biocontainer"
    path = "/.lpmx/bin/greet"
    assert lines(composed(script, f"greet={BIOCONTAINER}")) == [
        path, path, path, "executable", "regular file555", "greet", "greet", f"{path} True",
        hello, hello, hello,
    ]  # fmt: skip


def test_mapping_is_exact(composed):
    script = "greet; greet2; /opt/tools/greet; /opt/tools/greet2; greets; echo $?"
    done = composed(script, f"greet={BIOCONTAINER}", f"/opt/tools/greet={BIOCONTAINER}")
    assert lines(done) == ["greetings from a prefix in biocontainer"] * 2 + ["127"]
    assert done.stderr.count("not found") == 2
    assert "/opt/tools/greet2: No such file" in done.stderr


def test_absolute_path_takes_the_place_of_a_program_and_no_other(composed):
    script = """
    /usr/bin/perl a; perl b; /bin/perl c; ls -l /usr/bin/perl
    set /usr/bin/perl5*; $1 -e 'print 5'
    """
    done = composed(script, "/bin/perl=image:lpmx-test/c-probes:/bin/echo")
    found = lines(done)
    assert found[:3] == ["a", "b", "c"], "/bin is /usr/bin: the same file by every name"
    assert found[4:] == ["5"], "its other names are not it"
    assert found[3].startswith("-r-xr-xr-x")


def test_image_s_own_program_is_called_by_its_path(composed):
    done = composed("perl a; /usr/bin/perl -e 'print 7'", "perl=image:lpmx-test/c-probes:/bin/echo")
    assert done.stdout == "a\n7"


def test_arguments_stdin_and_status_are_exact(composed):
    script = """
    printf 'to stdin\n' | copy
    other -c 'exit 42'; echo $?; other -c 'kill -TERM $$'; echo $?
    other -c 'for a; do printf "<%s>" "$a"; done; echo' x "" "a b" '*' "q'" '$HOME'
    """
    probes = "image:lpmx-test/c-probes"
    done = composed(script, f"copy={probes}:/bin/cat", f"other={probes}:/bin/sh")
    assert lines(done) == ["to stdin", "42", "143", "<><a b><*><q'><$HOME>"]


def test_descriptors_umask_directory_and_group_are_the_caller_s(composed, tmp_path):
    script = """
    umask 027; exec 7> seven; cd sub || exit
    other -c 'umask; pwd; echo written >&7; touch made; readlink /proc/self/cwd'
    echo $$ $(other -c 'echo $PPID; cut -d" " -f5 /proc/self/stat')
    cut -d' ' -f5 /proc/self/stat
    stat -c %a made
    """
    (tmp_path / "cwd" / "sub").mkdir(parents=True)
    done = composed(script, "other=image:lpmx-test/c-probes:/bin/sh")
    found = lines(done)
    sub = str(tmp_path / "cwd" / "sub")
    assert found[:3] == ["0027", sub, sub]
    assert (tmp_path / "cwd" / "seven").read_text() == "written\n"
    shell, parent, group = found[3].split()
    assert (parent, group) == (shell, found[4]), "a plain child of the caller, in its group"
    assert found[5] == "640"


def test_environment_is_the_image_s_with_the_caller_s_own_words(composed):
    script = """
    export MINE=caller LD_LIBRARY_PATH=/caller PYTHONPATH=/caller LC_ALL=C.UTF-8
    other -c 'echo $MINE,$LD_LIBRARY_PATH,$PYTHONPATH,$LC_ALL; echo $PATH; echo $HOME'
    echo $HOME
    """
    done = composed(script, "other=image:lpmx-test/c-probes:/bin/sh", options=["-e", "A=b"])
    found = lines(done)
    assert found[0] == "caller,,,C.UTF-8"
    assert found[1] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/.lpmx/caller"
    assert found[2] == found[3]


def test_names_that_a_callee_lacks_are_its_caller_s(composed):
    script = "other -c 'greet; perl -v >/dev/null && echo perl; me' "
    done = composed(script, f"greet={BIOCONTAINER}", "other=image:lpmx-test/c-probes:/bin/sh",
                    "perl=host:false", "me=host:id")  # fmt: skip
    assert lines(done)[:2] == ["greetings from a prefix in biocontainer", "perl"]
    assert lines(done)[2].startswith("uid=")


def test_directory_that_the_callee_cannot_see_is_named(composed):
    done = composed("cd /usr/share && greet; echo $?; cd / && greet", f"greet={BIOCONTAINER}")
    assert lines(done) == ["126", "greetings from a prefix in biocontainer"]
    assert "greet: the working directory is the caller's own" in done.stderr
    assert "the directory is /usr/share" in done.stderr


def test_binds_of_the_caller_are_at_the_same_places(composed, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "reads").write_text("ACGT\n")
    script = "cd /data/in && other -c 'cat reads; pwd; echo x > new' && cat /data/in/new"
    done = composed(script, "other=image:lpmx-test/c-probes:/bin/sh",
                    options=["-v", f"{tmp_path}/data:/data/in"])  # fmt: skip
    assert lines(done) == ["ACGT", "/data/in", "x"]
    read_only = composed(
        "cd /data/in && other -c 'echo x > more'",
        "other=image:lpmx-test/c-probes:/bin/sh",
        options=["-v", f"{tmp_path}/data:/data/in:ro"], check=False,
    )  # fmt: skip
    assert "Read-only file system" in read_only.stderr


def test_what_a_callee_writes_is_its_own_and_stays_with_the_caller(store, image, run_lpmx):
    name = f"t.{os.urandom(4).hex()}"
    image("c-probes")
    run_lpmx("create", "--name", name, "-m", "other=image:lpmx-test/c-probes:/bin/sh",
             image("tools"), "true")  # fmt: skip
    script = "other -c 'echo kept > /srv/file'; ls /srv; other -c 'cat /srv/file; whoami'"
    first = run_lpmx("exec", name, "bash", "-c", script)
    again = run_lpmx("exec", name, "bash", "-c", "other -c 'cat /srv/file'; ls -a /srv")
    run_lpmx("rm", name)
    assert lines(first)[0] == "kept"
    assert lines(first)[1], "the caller's user has a name in the other image"
    assert lines(again) == ["kept", ".", ".."]


def test_scripts_are_run_by_mapped_interpreters(composed, tmp_path):
    work = tmp_path / "cwd"
    work.mkdir()
    for name, line in (("env", "#!/usr/bin/env other"), ("path", "#!/opt/other -e")):
        (work / name).write_text(f'{line}\ncat /etc/lpmx-image; echo "$0" "$@"\n')
        (work / name).chmod(0o755)
    probes = "image:lpmx-test/c-probes:/bin/sh"
    done = composed("./env a 'b c'; ./path d", f"other={probes}", f"/opt/other={probes}")
    assert lines(done) == ["c-probes", "./env a b c", "c-probes", "./path d"]


def test_pipes_make_and_xargs_run_many_at_once(composed, tmp_path):
    work = tmp_path / "cwd"
    work.mkdir()
    (work / "Makefile").write_text(
        "all: $(foreach n,1 2 3 4 5 6 7 8 9 10 11 12,out.$(n))\n"
        "out.%:\n\t@other -c 'echo $* in $$(cat /etc/lpmx-image)' > $@\n"
    )
    script = """
    seq 100 | up -n | up -rn | head -1
    make -s -j8 && cat out.* | sort -u | wc -l
    seq 64 | xargs -P16 -n1 other -c 'echo $0' | sort -n | tail -1
    """
    probes = "image:lpmx-test/c-probes"
    done = composed(script, f"up={probes}:/usr/bin/sort", f"other={probes}:/bin/sh")
    assert lines(done) == ["100", "12", "64"]


def test_daemon_of_a_mapped_command_outlives_it(composed):
    script = """
    other -c '(sleep 0.3; cat /etc/lpmx-image > daemon) > /dev/null 2>&1 &'
    until [ -s daemon ]; do sleep 0.05; done; cat daemon
    """
    assert lines(composed(script, "other=image:lpmx-test/c-probes:/bin/sh")) == ["c-probes"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_signal_reaches_the_mapped_program_itself(store, image, number):
    tools, probes = image("tools"), image("c-probes")
    program = subprocess.Popen(
        [*store.command, "run", "-m", f"other=image:{probes}:/bin/sh", tools, "other", "-c",
         "echo ready $$; exec sleep 100"],
        env=clean_environment(store.environment()), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    pid = int(program.stdout.readline().split()[1])
    os.kill(pid, number)
    program.communicate(timeout=20)
    assert program.returncode == -number


def test_login_shell_keeps_the_commands_on_its_path(composed):
    done = composed("env -i bash -lc 'which greet; greet'", f"greet={BIOCONTAINER}")
    assert lines(done) == ["/.lpmx/bin/greet", "greetings from a prefix in biocontainer"]


def test_path_that_names_the_commands_is_left_in_its_order(composed):
    path = "/usr/bin:/.lpmx/bin"
    done = composed("echo $PATH; perl -e 'print 3'", f"perl={BIOCONTAINER}:/bin/echo",
                    options=["-e", f"PATH={path}"])  # fmt: skip
    assert done.stdout == f"{path}\n3"


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("x=image:no/such:1", "command x: no/such:1: no such image"),
        (f"x={BIOCONTAINER}:/no/such", f"command x: {SHOWN} has no program /no/such"),
        (f"nosuch={BIOCONTAINER}", f"command nosuch: {SHOWN} has no program nosuch on its PATH"),
        ("x=host:/no/such", "command x: the host has no program /no/such"),
        ("nosuch=host", "command nosuch: the host's PATH has no program nosuch"),
        ("x=docker:y", "-m x=docker:y: not of a known form"),
        (f"/tmp={BIOCONTAINER}:/bin/sh", "command /tmp: something is bound there"),
    ],
)  # fmt: skip
def test_mapping_that_cannot_work_is_said_before_anything_starts(composed, mapping, message):
    done = composed("echo started", mapping, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"lpmx: {message}")
    assert len(done.stderr.splitlines()) == 2, "one line, and a hint"


def test_image_of_a_mapping_is_in_use(store, image, run_lpmx):
    name = f"t.{os.urandom(4).hex()}"
    image("biocontainer")
    run_lpmx("create", "--name", name, "-m", f"greet={BIOCONTAINER}", image("tools"), "true")
    done = run_lpmx("rmi", "lpmx-test/biocontainer", check=False)
    run_lpmx("rm", name)
    assert done.returncode != 0
    assert "in use by container" in done.stderr


def test_places_of_commands_are_not_changes_of_the_container(store, image, run_lpmx):
    name = f"t.{os.urandom(4).hex()}"
    image("biocontainer")
    maps = ["-m", f"greet={BIOCONTAINER}", "-m", f"/opt/new/greet={BIOCONTAINER}"]
    run_lpmx("run", "--name", name, *maps, image("tools"), "sh", "-c",
             "greet; /opt/new/greet; ls /opt/new /etc/profile.d; echo x > /srv/mine")  # fmt: skip
    done = run_lpmx("diff", name)
    run_lpmx("rm", name)
    assert lines(done) == ["C /srv", "A /srv/mine"]


def test_plan_tells_the_map_and_does_nothing(composed, run_lpmx, image):
    done = run_lpmx("--json", "run", "--print-plan", "-m", f"greet={BIOCONTAINER}",
                    image("tools"), "true")  # fmt: skip
    (command,) = json.loads(done.stdout)["commands"]
    assert command["path"] == "/.lpmx/bin/greet"
    assert command["target"] == "/usr/local/bin/greet"
    assert command["where"] == "image lpmx-test/biocontainer:latest"


def test_environment_file_stands_for_an_image(composed, tmp_path):
    work = tmp_path / "cwd"
    work.mkdir()
    (work / "inner.yaml").write_text(
        "image: lpmx-test/c-probes\nenv: {COLOUR: blue}\n"
        "commands:\n  greet: {image: lpmx-test/biocontainer, path: /usr/local/bin/greet}\n"
        "  me: host:id\n"
    )
    script = "other -c 'echo $COLOUR; greet; which greet; me -u'; hello"
    done = composed(script, "other=env:inner.yaml:/bin/sh", "hello=env:inner.yaml:greet")
    hello = "greetings from a prefix in biocontainer"
    assert lines(done) == ["blue", hello, "/.lpmx/bin/greet", str(os.getuid()), hello]


# ---- lpmx why --exec


@pytest.fixture
def why(composed, run_lpmx, image):
    """why(COMMAND, MAP...): what it runs in `tools`, as data."""

    def call(command, *maps, **more):
        words = [word for one in maps for word in ("-m", one)]
        asked = ["--json", "why", "-c", image("tools"), *words, "--exec", command]
        return json.loads(run_lpmx(*asked, **more).stdout)

    return call


def test_why_tells_the_rule_and_what_it_hides(why):
    found = why("perl", "perl=image:lpmx-test/c-probes:/bin/echo")
    assert (found["path"], found["runs"]) == ("/.lpmx/bin/perl", "/bin/echo")
    assert found["where"] == "image lpmx-test/c-probes:latest"
    assert found["hidden"] == ["/usr/bin/perl"]
    own = why("/bin/perl", "perl=host:id")
    assert (own["path"], own["where"], own["rules"]) == ("/usr/bin/perl", "", [])
    path = why("perl", "/usr/bin/perl=host:id")
    assert (path["path"], path["runs"], path["where"]) == ("/usr/bin/perl", "id", "the host")


def test_why_follows_a_command_through_the_containers(why, tmp_path):
    work = tmp_path / "cwd"
    work.mkdir()
    (work / "inner.yaml").write_text("image: lpmx-test/c-probes\ncommands: {me: 'host:id'}\n")
    rules = why("who", "who=env:inner.yaml:me")["rules"]
    assert [rule["path"] for rule in rules] == ["/.lpmx/bin/who", "/.lpmx/bin/me"]
    assert (rules[1]["target"], rules[1]["where"]) == (shutil.which("id"), "the host")


def test_why_agrees_with_what_runs(composed, run_lpmx, image):
    maps = ["-m", f"greet={BIOCONTAINER}", "-m", "/opt/me=host:id"]
    for command in ("greet", "/opt/me", "sort", "/bin/sort", "no-such"):
        script = f"command -v {command}"
        ran = run_lpmx("run", *maps, image("tools"), "sh", "-c", script, check=False)
        why = ["--json", "why", "-c", image("tools"), *maps, "--exec", command]
        told = run_lpmx(*why, check=False)
        assert (ran.returncode == 0) == (told.returncode == 0)
        path = json.loads(told.stdout)["path"] or ""
        assert path == ran.stdout.strip() or f"/usr{ran.stdout.strip()}" == path


def test_why_without_such_a_command_says_where_it_looked(composed, run_lpmx, image):
    done = run_lpmx("why", "-c", image("tools"), "--exec", "no-such", check=False)
    assert done.returncode == 1
    assert "not found on /usr/local/sbin:" in done.stdout
