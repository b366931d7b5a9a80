"""`lpmx run`: status, directory, user, environment and files are what was asked for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from support import busybox
from support.lpmx import clean_environment


@pytest.fixture
def run(run_lpmx, busybox_image):
    """run([OPTION...], SCRIPT): the output of a shell script in the tiny image."""

    def call(options, script, **keywords):
        return run_lpmx("run", *options, busybox_image, "sh", "-c", script, **keywords)

    return call


def containers(store):
    folder = store.home / "containers"
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def test_program_runs_in_the_image(run):
    assert run([], "cat /etc/marker; ls /etc/deleted 2>&1", check=False).stdout.startswith(
        "upper\n"
    )
    assert run([], "test -e /etc/deleted", check=False).returncode == 1


@pytest.mark.parametrize("status", [0, 1, 7, 125, 255])
def test_exit_status_is_kept(run, status):
    assert run([], f"exit {status}", check=False).returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGABRT, signal.SIGUSR1])
def test_death_by_signal_is_kept(run, number):
    assert run([], f"kill -{number} $$", check=False).returncode == -number


def test_errors_of_ours_have_their_own_statuses(run_lpmx, busybox_image):
    def status(*arguments):
        done = run_lpmx("run", *arguments, check=False)
        assert done.stderr.startswith("lpmx: "), done.stderr
        return done.returncode

    assert status("no-such-image", "true") == 125
    assert status("-v", "/nowhere/x:/y", busybox_image, "true") == 125
    assert status(busybox_image, "no-such-program") == 127
    assert status(busybox_image, "/no/such/program") == 127
    assert status(busybox_image, "/etc/marker") == 126


def test_arguments_arrive_unchanged(run_lpmx, busybox_image):
    words = ["a b", "", "*", "$HOME", "-x", "--", "é", "two\nlines", "'"]
    done = run_lpmx("run", busybox_image, "printf", "<%s>", *words)
    assert done.stdout == "".join(f"<{word}>" for word in words)


def test_options_after_the_image_belong_to_the_command(run_lpmx, busybox_image):
    assert run_lpmx("run", busybox_image, "echo", "--name", "-v", "--json").stdout == (
        "--name -v --json\n"
    )
    assert run_lpmx("run", "--rm", busybox_image, "--", "echo", "-z").stdout == "-z\n"
    assert run_lpmx("run", "--", busybox_image, "echo", "--help").stdout == "--help\n"


def test_ephemeral_container_leaves_nothing(run, store):
    before = containers(store)
    script = "mkdir -p /d/e; echo x > /d/e/f; chmod 0 /d/e/f /d/e /d; rm -r /srv; touch /etc/marker"
    run([], script)
    assert containers(store) == before
    run([], "test -e /d || test ! -d /srv && exit 1; exit 0")


def test_ephemeral_container_goes_also_when_the_program_fails(run, run_lpmx, busybox_image, store):
    before = containers(store)
    run([], "touch /x; kill -9 $$", check=False)
    run_lpmx("run", busybox_image, "no-such-program", check=False)
    run_lpmx("run", "-v", "/nowhere/x:/y", busybox_image, "true", check=False)
    assert containers(store) == before


def test_input_reaches_the_program(run):
    for options in ([], ["-i"], ["-it"]):
        assert run(options, 'read line; echo "<$line>"', text="hello\n").stdout == "<hello>\n"


def test_descriptors_of_the_caller_are_kept(store, busybox_image):
    read, write = os.pipe()
    command = [*store.command, "run", busybox_image, "sh", "-c", f"echo through >&{write}"]
    env = clean_environment(store.environment())
    subprocess.run(command, pass_fds=[write], check=True, env=env)
    os.close(write)
    with open(read) as file:
        assert file.read() == "through\n"


def test_environment_of_image_file_and_option(run, tmp_path):
    (tmp_path / "file").write_text("# comment\nA=file\nB=file\nFROM_HOST\n")
    options = ["--env-file", tmp_path / "file", "-e", "A=option", "-e", "C=x y", "-e", "MISSING"]
    env = {"FROM_HOST": "host", "SECRET": "s", "MISSING_NOT": "1"}
    lines = run(options, "env", env=env).stdout.splitlines()
    found = dict(line.split("=", 1) for line in lines)
    expected = {"A": "option", "B": "file", "C": "x y", "FROM_HOST": "host", "FROM_IMAGE": "yes"}
    assert expected.items() <= found.items()
    assert not {"SECRET", "MISSING"} & found.keys()
    assert found["PATH"] == "/bin"
    assert not [name for name in found if name.startswith("LPMX_EXEC")]


def test_working_directory_is_the_users_by_default(run, tmp_path):
    assert run([], "pwd").stdout == f"{tmp_path / 'cwd'}\n"
    (tmp_path / "cwd" / "file").write_text("seen\n")
    assert run([], "cat file").stdout == "seen\n"


def test_working_directory_that_is_not_shown_is_told(run, run_lpmx, busybox_image):
    place = Path("/usr/share")
    done = run([], "pwd", cwd=place)
    assert (done.stdout, done.stderr) == (
        "/\n",
        (
            f"lpmx: the working directory {place} is not shown in the container: images have files"
            f" of their own there (`-v {place}` shows it)\n"
        ),
    )
    for option in (["-v", place], ["-v", f"{place}:/shown"], ["-w", "/srv"], ["--no-bind", "cwd"]):
        assert not run(option, "pwd", cwd=place).stderr
    run_lpmx("create", "--name", "untold", busybox_image, "pwd")
    assert str(place) in run_lpmx("exec", "untold", "pwd", cwd=place).stderr
    assert not run([], "pwd", cwd=Path("/")).stderr


@pytest.mark.needs_root
def test_home_below_usr_is_shown_where_the_image_has_none(run):
    people = Path(tempfile.mkdtemp(prefix="people-", dir="/usr"))
    try:
        (people / "ada").mkdir()
        script = 'echo "$PWD $HOME"; echo result > out'
        done = run([], script, cwd=people / "ada", env={"HOME": str(people / "ada")})
        assert (done.stdout, done.stderr) == (f"{people}/ada {people}/ada\n", "")
        assert (people / "ada" / "out").read_text() == "result\n"
    finally:
        shutil.rmtree(people)


def test_working_directory_asked_for(run):
    assert run(["-w", "/srv/worker"], "pwd").stdout == "/srv/worker\n"
    done = run(["-w", "/missing"], "pwd", check=False)
    assert done.returncode == 126
    assert "/missing" in done.stderr
    done = run(["-w", "srv"], "pwd", check=False)
    assert done.returncode == 125
    assert "not an absolute path" in done.stderr


def test_user_is_shown_by_name_and_number(run):
    assert run(["-u", "worker"], "id -u; id -g; id -G; whoami; echo $HOME $USER").stdout == (
        "4000\n4001\n4001 4002\nworker\n/srv/worker worker\n"
    )
    assert run(["-u", "4000:4002"], "id -u; id -G").stdout == "4000\n4002\n"
    done = run(["-u", "nobody-here"], "id", check=False)
    assert done.returncode == 125
    assert "no such name" in done.stderr


def test_user_without_a_line_gets_a_name(run):
    done = run(
        ["-u", "5005:6006"], "id -un; id -gn; grep -c 5005 /etc/passwd; grep -c root: /etc/passwd"
    )
    user, group, mine, root = done.stdout.split()
    assert user.endswith("5005")
    assert group.endswith("6006")
    assert (mine, root) == ("1", "1")


def test_own_identity_by_default(run):
    uid, gid, name = run([], "id -u; id -g; id -un").stdout.split()
    assert (int(uid), int(gid)) == (os.getuid(), os.getgid())
    assert name


def test_seeded_passwd_can_be_changed_in_the_container(run):
    done = run(
        ["-u", "5005"],
        "echo new:x:7:7::/:/bin/sh >> /etc/passwd; tail -1 /etc/passwd; wc -l < /etc/passwd",
    )
    assert done.stdout.split() == ["new:x:7:7::/:/bin/sh", "4"]


def test_image_config_is_honoured(run_lpmx, store, tmp_path):
    config = {
        "Env": ["PATH=/bin", "X=1"],
        "Entrypoint": ["echo", "entry"],
        "Cmd": ["cmd"],
        "WorkingDir": "/srv",
        "User": "worker:extra",
    }
    store("load", busybox.write_archive(tmp_path / "i.tar", name="configured:1", config=config))
    assert run_lpmx("run", "configured:1").stdout == "entry cmd\n"
    assert run_lpmx("run", "configured:1", "x", "y").stdout == "entry x y\n"
    script = "pwd; id -u; id -g; id -G"
    done = run_lpmx("run", "--entrypoint", "sh", "configured:1", "-c", script)
    assert done.stdout.split() == ["/srv", "4000", "4002", "4002"]
    done = run_lpmx("run", "--entrypoint", '["printf", "%s"]', "configured:1", "x")
    assert done.stdout == "x"
    assert run_lpmx("run", "--entrypoint", "", "configured:1", "printf", "y").stdout == "y"


def test_volume_is_shown_and_written_through(run, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "in").write_text("in\n")
    done = run(
        ["-v", f"{data}:/data/deep"], "cat /data/deep/in; echo out > /data/deep/out; ls /data"
    )
    assert done.stdout == "in\ndeep\n"
    assert (data / "out").read_text() == "out\n"


def test_read_only_volume_refuses_every_change(run, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "f").write_text("")
    script = """
        for change in 'touch /d/new' 'rm /d/f' 'mkdir /d/x' 'mv /d/f /d/g' 'chmod 0 /d/f' \
            'ln -s x /d/l'; do
            $change 2>&1 | grep -q 'Read-only file system' || echo "not refused: $change"
        done
        ( echo x > /d/f ) 2>&1 | grep -q 'Read-only file system' || echo 'written'
    """
    assert run(["-v", f"{tmp_path}/data:/d:ro"], script).stdout == ""
    assert os.listdir(tmp_path / "data") == ["f"]


def test_single_file_volume(run, tmp_path):
    (tmp_path / "f").write_text("host\n")
    done = run(["-v", f"{tmp_path}/f:/etc/marker"], "cat /etc/marker; echo more >> /etc/marker")
    assert done.stdout == "host\n"
    assert (tmp_path / "f").read_text() == "host\nmore\n"


def test_inner_volume_shows_in_outer_one(run, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x").write_text("a\n")
    (tmp_path / "b" / "x").write_text("b\n")
    for options in (["-v", f"{tmp_path}/b:/d/in", "-v", f"{tmp_path}/a:/d"],):
        assert run(options, "cat /d/x /d/in/x").stdout == "a\nb\n"


def test_volume_below_a_symlink_of_the_image(run, tmp_path):
    (tmp_path / "f").write_text("host\n")
    assert run(["-v", f"{tmp_path}/f:/sbin/f"], "cat /sbin/f /bin/f").stdout == "host\nhost\n"


def test_read_only_container_can_be_entered_anywhere(run_lpmx, busybox_image, tmp_path):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        done = run_lpmx("run", "--read-only", busybox_image, "pwd", cwd=Path(place))
    assert done.stdout == f"{place}\n"


def test_default_binds_can_be_left_out(run, tmp_path):
    (tmp_path / "cwd").mkdir(exist_ok=True)
    (tmp_path / "cwd" / "file").write_text("")
    done = run(["--no-bind", "home,cwd,tmp"], "pwd; ls /tmp")
    assert done.stdout == "/\n"
    done = run(["--no-bind", "nonsense"], "true", check=False)
    assert done.returncode == 125
    assert "one of" in done.stderr


def test_read_only_container_shows_open_files_of_proc_as_they_are(run_lpmx, image):
    script = """
import os
fd = os.open('/proc/self/maps', os.O_RDONLY)
print({(oct(s.st_mode), s.st_size) for s in (os.fstat(fd) for _ in range(300))})"""
    done = run_lpmx("run", "--read-only", image("demo"), "python3", "-c", script)
    assert done.stdout == "{('0o100444', 0)}\n"


def test_read_only_container_refuses_changes_but_binds_do_not(run, tmp_path):
    script = f"touch /x 2>&1; echo y > {tmp_path}/y; rm /etc/marker 2>&1; cat /etc/marker"
    done = run(["--read-only", "-v", str(tmp_path)], script)
    assert done.stdout.count("Read-only file system") == 2
    assert done.stdout.endswith("upper\n")
    assert (tmp_path / "y").read_text() == "y\n"


def test_print_plan_shows_and_does_nothing(run_lpmx, busybox_image, store):
    before = containers(store)
    text = run_lpmx("run", "--print-plan", "-e", "A=1", busybox_image, "echo", "a b").stdout
    assert "command    echo 'a b'" in text
    plan = json.loads(run_lpmx("run", "--print-plan", "--json", busybox_image, "x").stdout)
    assert plan["argv"] == ["x"]
    assert len(plan["layers"]) == 2
    assert containers(store) == before


def test_plan_file_starts_without_python(run_lpmx, store, busybox_image, tmp_path):
    plan = tmp_path / "plan"
    ident = run_lpmx(
        "create", "--plan", plan, "-e", "A=1", busybox_image, "sh", "-c", "echo $A $B"
    ).stdout
    shown = json.loads(run_lpmx("run", "--print-plan", "--json", busybox_image, "x").stdout)
    command = [shown["loader"], "--plan", str(plan)]
    env = {"B": "not passed", "PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    assert done.stdout == "1\n"
    done = subprocess.run(
        [*command, "--", "cat", "/etc/marker"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "upper\n"
    run_lpmx("rm", ident.strip())


def test_store_is_private(store, run):
    run([], "true")
    assert stat.S_IMODE(os.stat(store.home / "containers").st_mode) == 0o700


def test_store_named_by_a_link_or_a_relative_path(run_lpmx, store, busybox_image, tmp_path):
    (tmp_path / "link").symlink_to(store.home)
    done = run_lpmx(
        "run", busybox_image, "cat", "/etc/marker", env={"LPMX_HOME": str(tmp_path / "link")}
    )
    assert done.stdout == "upper\n"
    relative = os.path.relpath(store.home, tmp_path / "cwd")
    done = run_lpmx("run", busybox_image, "cat", "/etc/marker", env={"LPMX_HOME": relative})
    assert done.stdout == "upper\n"


def test_directory_removed_under_our_feet(store, busybox_image, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd {gone}; rmdir {gone}; exec "$@"'
    command = ["sh", "-c", script, "sh", *store.command, "run", busybox_image, "pwd"]
    env = clean_environment(store.environment())
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=True)
    assert done.stdout == "/\n"
