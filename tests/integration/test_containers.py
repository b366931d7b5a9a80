"""Containers that are kept: create, start, exec, ps, logs, stop and rm, and many runs at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support import users, waiting
from support.lpmx import clean_environment, run

from lpmx_runtime import native


@pytest.fixture
def lpmx(run_lpmx):
    return run_lpmx


@pytest.fixture
def kept(lpmx, busybox_image, request):
    """The name of a new container, removed after the test."""
    name = f"c.{os.urandom(4).hex()}"
    lpmx("create", "--name", name, busybox_image, "sh", "-c", "echo started; cat /written")
    yield name
    lpmx("rm", "-f", name)


def popen(store, *arguments, **options):
    env = clean_environment(store.environment())
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*store.command, *arguments], **{"env": env, **pipes, **options})


def row(lpmx, name):
    rows = json.loads(lpmx("ps", "-a", "--json").stdout)
    return next((one for one in rows if name in (one["name"], one["id"])), None)


def leftovers(store):
    return [name for name in os.listdir(store.home / "containers") if not name.startswith(".names")]


def test_exec_shares_the_files_of_a_container_in_which_nothing_runs(lpmx, kept):
    lpmx("exec", kept, "sh", "-c", "echo kept > /written")
    assert lpmx("exec", kept, "cat", "/written").stdout == "kept\n"
    assert lpmx("start", "-a", kept).stdout == "started\nkept\n"


@pytest.mark.parametrize("map_size", [None, 1 << 16], ids=["", "by an older version"])
def test_a_program_sees_directories_go_and_come_back_differently(lpmx, store, image, map_size):
    """One program has been in a directory many times when another removes, moves or remakes it."""
    kept, lower = f"c.{os.urandom(4).hex()}", "/usr/share/base-files"
    lpmx("create", "--name", kept, image("tools"), "true")
    (dirty,) = (store.home / "containers" / row(lpmx, kept)["id"]).glob("dirty")
    if map_size:
        os.truncate(dirty, map_size)
    size = dirty.stat().st_size
    lpmx("exec", kept, "sh", "-c", f"mkdir -p /a/b/c && echo 1 > /a/b/c/f && echo 1 > {lower}/f")
    script = "while read -r path; do cat $path $path 2>&1; echo end; done"
    with popen(store, "exec", "-i", kept, "sh", "-c", script, stdin=subprocess.PIPE) as reader:

        def said(path):
            reader.stdin.write(path + "\n")
            reader.stdin.flush()
            return "".join(iter(reader.stdout.readline, "end\n"))

        def change(script):
            lpmx("exec", kept, "sh", "-e", "-c", script)

        for path in ("/a/b/c/f", f"{lower}/f"):
            assert said(path) == "1\n1\n"
        assert "PATH" in said(f"{lower}/profile")
        change("mv /a/b /a/d && mkdir -p /a/b/c && echo 2 > /a/b/c/f")
        assert said("/a/b/c/f") == "2\n2\n"
        assert said("/a/d/c/f") == "1\n1\n"
        change("rm -r /a/b/c && ln -s ../d/c /a/b/c")
        assert said("/a/b/c/f") == "1\n1\n"
        change(f"rm -r /a/d {lower} && mkdir {lower} && echo 3 > {lower}/f")
        assert "No such file" in said("/a/b/c/f")
        assert said(f"{lower}/f") == "3\n3\n"
        assert "No such file" in said(f"{lower}/profile")
        reader.stdin.close()
    assert dirty.stat().st_size == size
    lpmx("rm", kept)


def test_containers_do_not_see_each_other(lpmx, kept, busybox_image):
    lpmx("exec", kept, "touch", "/mine")
    assert lpmx("run", busybox_image, "test", "-e", "/mine", check=False).returncode == 1


def test_exec_has_options_and_status_of_its_own(lpmx, kept):
    script = "id -u; pwd; echo $A; exit 9"
    options = ["-u", "worker", "-w", "/srv", "-e", "A=1"]
    done = lpmx("exec", *options, kept, "sh", "-c", script, check=False)
    assert (done.stdout, done.returncode) == ("4000\n/srv\n1\n", 9)
    assert lpmx("exec", kept, "sh", "-c", "id -u; echo $A").stdout == f"{os.getuid()}\n\n"
    done = lpmx("exec", kept, check=False)
    assert done.returncode == 125
    assert "no command given" in done.stderr


def test_exec_as_a_user_made_in_the_container(lpmx, kept):
    lpmx("exec", kept, "sh", "-c", "echo late:x:777:778::/srv:/bin/sh >> /etc/passwd")
    assert lpmx("exec", "-u", "late", kept, "sh", "-c", "id -u; echo $HOME").stdout == "777\n/srv\n"


def test_run_with_a_name_keeps_the_container_and_refuses_a_second(lpmx, busybox_image):
    name = f"r.{os.urandom(4).hex()}"
    assert (
        lpmx(
            "run", "--name", name, busybox_image, "sh", "-c", "echo x > /f; exit 3", check=False
        ).returncode
        == 3
    )
    done = lpmx("run", "--name", name, busybox_image, "true", check=False)
    assert done.returncode == 125
    assert "exists already" in done.stderr
    assert f"lpmx exec {name}" in done.stderr
    assert lpmx("exec", name, "cat", "/f").stdout == "x\n"
    lpmx("rm", name)
    assert row(lpmx, name) is None


def test_run_with_name_and_rm_removes_it(lpmx, busybox_image):
    name = f"r.{os.urandom(4).hex()}"
    for _ in range(3):
        lpmx("run", "--rm", "--name", name, busybox_image, "true")
    assert row(lpmx, name) is None


def test_names_are_checked(lpmx, busybox_image):
    for name in ("a/b", "../x", "-"):
        done = lpmx("run", f"--name={name}", busybox_image, "true", check=False)
        assert done.returncode == 125, name
        assert "name" in done.stderr


def test_fifty_programs_at_once_in_one_container(lpmx, store, kept):
    script = (
        "echo $0 > /out.$0; cat /etc/marker >> /shared; mkdir -p /d/$0;"
        " rm /etc/group 2>/dev/null; cat /out.$0"
    )
    started = [popen(store, "exec", kept, "sh", "-c", script, str(i)) for i in range(50)]
    for i, process in enumerate(started):
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, f"{i}\n"), err
    done = lpmx(
        "exec",
        kept,
        "sh",
        "-c",
        "ls /d | wc -l; wc -l < /shared; ls /etc/group 2>&1 | wc -l; ls /out.* | wc -l",
    )
    assert done.stdout.split() == ["50", "50", "1", "50"]
    assert row(lpmx, kept)["runs"] == []


def test_fifty_ephemeral_runs_at_once(store, busybox_image):
    before = sorted(leftovers(store))
    started = [
        popen(store, "run", busybox_image, "sh", "-c", "echo $0 > /x; cat /x; exit $0", str(i))
        for i in range(50)
    ]
    for i, process in enumerate(started):
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (i, f"{i}\n"), err
    assert sorted(leftovers(store)) == before


def test_of_many_creations_with_one_name_one_succeeds(lpmx, store, busybox_image):
    name = f"r.{os.urandom(4).hex()}"
    started = [popen(store, "create", "--name", name, busybox_image) for _ in range(10)]
    statuses = [(process.communicate(timeout=60), process.returncode)[1] for process in started]
    assert sorted(statuses) == [0] + [125] * 9
    lpmx("rm", name)


def test_ps_shows_what_runs(lpmx, store, kept):
    assert row(lpmx, kept)["state"] == "created"
    assert kept not in lpmx("ps").stdout
    program = popen(store, "exec", kept, "sleep", "100")
    runs = waiting.until(lambda: row(lpmx, kept)["runs"], what="the program in ps")
    assert [(run["pid"], run["kind"], run["command"]) for run in runs] == [
        (program.pid, "exec", ["sleep", "100"])
    ]
    assert row(lpmx, kept)["state"] == "running"
    assert f"running ({program.pid})" in lpmx("ps").stdout
    program.kill()
    program.communicate()
    assert row(lpmx, kept)["runs"] == []
    assert row(lpmx, kept)["state"] == "created"


def test_rm_refuses_while_a_program_runs_and_kills_it_when_forced(lpmx, store, kept):
    program = popen(store, "exec", kept, "sleep", "100")
    waiting.until(lambda: row(lpmx, kept)["runs"], what="the program in ps")
    done = lpmx("rm", kept, check=False)
    assert done.returncode == 1
    assert f"in use by process {program.pid}" in done.stderr
    assert lpmx("exec", kept, "echo", "still there").stdout == "still there\n"
    lpmx("rm", "-f", kept)
    program.communicate(timeout=20)
    assert program.returncode == -signal.SIGKILL
    assert row(lpmx, kept) is None


@pytest.mark.needs_root
def test_container_whose_program_died_is_removed_after_the_host_was_renamed(lpmx, store, kept):
    """Of root only because renaming is."""
    program = popen(store, "exec", kept, "sleep", "100")
    waiting.until(lambda: row(lpmx, kept)["runs"], what="the program in ps")
    program.kill()
    program.communicate()
    script = 'hostname renamed && "$@"'
    command = ["unshare", "--uts", "sh", "-c", script, "sh", *store.command, "rm", kept]
    done = run(command, env=clean_environment(store.environment()), check=False)
    assert (done.returncode, done.stdout) == (0, f"{kept}\n"), done.stderr


def test_rm_removes_several_and_reports_those_it_cannot(lpmx, busybox_image):
    made = [lpmx("create", busybox_image).stdout.strip() for _ in range(2)]
    done = lpmx("rm", made[0], "no-such", made[1], check=False)
    assert done.returncode == 1
    assert "no-such: no such container" in done.stderr
    assert done.stdout.split() == made
    assert lpmx("rm", "-f", "no-such").returncode == 0


def test_container_keeps_its_image(lpmx, kept, busybox_image):
    done = lpmx("rmi", busybox_image, check=False)
    assert done.returncode != 0
    assert "in use" in done.stderr
    lpmx("gc")
    assert lpmx("exec", kept, "cat", "/etc/marker").stdout == "upper\n"


# ---- detached


def test_detached_program_is_logged_and_its_status_kept(lpmx, busybox_image):
    name = f"d.{os.urandom(4).hex()}"
    script = "echo out; echo err >&2; cat; exit 6"
    assert (
        lpmx("run", "-d", "--name", name, busybox_image, "sh", "-c", script).stdout == f"{name}\n"
    )
    waiting.until(lambda: row(lpmx, name)["state"] == "exited", what="its end")
    assert sorted(lpmx("logs", name).stdout.split()) == ["err", "out"]
    assert row(lpmx, name)["exit_status"] == 6
    assert "exited (6)" in lpmx("ps", "-a").stdout
    lpmx("rm", name)


def test_detached_program_outlives_its_terminal_and_holds_no_pipe(lpmx, store, busybox_image):
    starter = popen(
        store,
        "run",
        "-d",
        busybox_image,
        "sleep",
        "100",
        start_new_session=True,
        stdin=subprocess.PIPE,
    )
    out, _ = starter.communicate(timeout=20)  # would hang if the program held our pipes
    ident = out.strip()
    runs = row(lpmx, ident)["runs"]
    assert len(runs) == 1
    assert os.getsid(runs[0]["pid"]) == runs[0]["pid"]
    lpmx("stop", ident)
    waiting.until(lambda: row(lpmx, ident) is None, what="removal of the ephemeral container")


def test_start_runs_the_command_again_and_appends_to_the_log(lpmx, kept):
    for count in (1, 2):
        lpmx("exec", kept, "sh", "-c", "echo x > /written")
        assert lpmx("start", kept).stdout == f"{kept}\n"
        waiting.until(lambda: row(lpmx, kept)["state"] == "exited", what="its end")
        assert lpmx("logs", kept).stdout == "started\nx\n" * count


def test_start_of_a_running_container_starts_nothing_twice(lpmx, busybox_image):
    name = f"d.{os.urandom(4).hex()}"
    lpmx("run", "-d", "--name", name, busybox_image, "sleep", "100")
    assert lpmx("start", name).stdout == f"{name}\n"
    assert len(row(lpmx, name)["runs"]) == 1
    done = lpmx("start", "-a", name, check=False)
    assert done.returncode == 125
    assert "runs already" in done.stderr
    lpmx("rm", "-f", name)


def test_logs_follow_until_the_end(lpmx, store, busybox_image):
    name = f"d.{os.urandom(4).hex()}"
    script = "echo one; while ! test -e /go; do sleep 0.05; done; echo two"
    lpmx("run", "-d", "--name", name, busybox_image, "sh", "-c", script)
    follower = popen(store, "logs", "-f", name)
    assert follower.stdout.readline() == "one\n"
    lpmx("exec", name, "touch", "/go")
    assert follower.communicate(timeout=20)[0] == "two\n"
    assert lpmx("logs", "--tail", "1", name).stdout == "two\n"
    lpmx("rm", name)


def test_logs_of_a_container_without_any_say_why(lpmx, kept):
    done = lpmx("logs", kept, check=False)
    assert done.returncode == 1
    assert "only detached programs are logged" in done.stderr


def test_stop_asks_first_and_then_kills(lpmx, busybox_image):
    polite, rude = (f"d.{os.urandom(4).hex()}" for _ in range(2))
    wait = "while :; do sleep 0.1; done"
    lpmx(
        "run",
        "-d",
        "--name",
        polite,
        busybox_image,
        "sh",
        "-c",
        f"trap 'exit 5' TERM; echo x; {wait}",
    )
    lpmx("run", "-d", "--name", rude, busybox_image, "sh", "-c", f"trap '' TERM; echo x; {wait}")
    for name in (polite, rude):
        waiting.until(lambda name=name: lpmx("logs", name).stdout, what="its first words")
    lpmx("stop", "-t", "0.5", polite, rude)
    statuses = []
    for name in (polite, rude):
        waiting.until(lambda name=name: row(lpmx, name)["state"] == "exited", what="its end")
        statuses.append(row(lpmx, name)["exit_status"])
    assert statuses == [5, 137]
    lpmx("rm", polite, rude)


# ---- killed


def test_killed_run_takes_its_program_along_and_gc_removes_the_rest(lpmx, store, busybox_image):
    lpmx("gc")
    before = sorted(leftovers(store))
    program = popen(store, "run", busybox_image, "sh", "-c", "echo $$; touch /x; exec sleep 100")
    pid = int(program.stdout.readline())
    program.kill()
    program.wait()
    waiting.until(lambda: not alive(pid), what="death of the program")
    assert len(leftovers(store)) == len(before) + 1
    assert lpmx("ps", "-a", "--json").stdout.count(str(pid)) == 0
    would = json.loads(lpmx("gc", "--dry-run", "--json").stdout)
    assert len(leftovers(store)) == len(before) + 1
    assert len(would["containers"]) == 1
    assert would["bytes"] > 0
    assert json.loads(lpmx("gc", "--json").stdout)["containers"] == would["containers"]
    assert sorted(leftovers(store)) == before


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_gc_leaves_running_containers_alone(lpmx, store, busybox_image):
    program = popen(
        store, "run", busybox_image, "sh", "-c", "echo x > /x; echo ready; read line; cat /x",
        stdin=subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout.readline() == "ready\n"
    lpmx("gc")
    assert program.communicate("\n", timeout=20)[0] == "x\n"
    assert program.returncode == 0


def test_containers_outlive_the_package_that_started_them(store, busybox_image, tmp_path):
    """As `pip install --upgrade` replaces the engine while a container runs."""

    def installed(name, more):
        (tmp_path / name).mkdir()
        for file in ("lpmx-exec", "liblpmx_uufs.so"):
            data = (Path(native.loader_path()).parent / file).read_bytes()
            (tmp_path / name / file).write_bytes(data + more)
            (tmp_path / name / file).chmod(0o755)
        return lambda *words: store(*words, env={"LPMX_NATIVE": str(tmp_path / name)})

    old, new = installed("old", b"1"), installed("new", b"2")
    name = f"c.{os.urandom(4).hex()}"
    loop = "until [ -e /go ]; do busybox sleep 0.1; done; busybox date > /went; echo went"
    old("run", "-d", "--name", name, busybox_image, "sh", "-c", loop)
    old_engine = find_engine(store, b"1")
    try:
        shutil.rmtree(tmp_path / "old")
        new("run", busybox_image, "true")
        new("gc")
        new("exec", name, "touch", "/go")
        new("gc")  # what the exec said of the new version is not all
        waiting.until(lambda: new("logs", name).stdout == "went\n", what="the end of the loop")
        assert new("exec", name, "cat", "/went").stdout
        assert old_engine.exists()
    finally:
        new("rm", "-f", name)
    new("gc")
    assert not old_engine.exists()
    assert find_engine(store, b"2").exists()


@pytest.fixture(scope="module")
def other_engine(tmp_path_factory):
    """The folder of an engine that lies at other addresses, as another version's may."""
    source, built = tmp_path_factory.mktemp("preload"), tmp_path_factory.mktemp("other")
    shutil.copytree(users.ROOT / "preload", source, dirs_exist_ok=True)
    script = source / "loader" / "lpmx-exec.ld"
    script.write_text(script.read_text().replace("= 0x7e8000", "= 0x7e8100"))
    make = ["make", "-s", "-C", source, "-j2", f"B={source}/b", f"{source}/b/lpmx-exec"]
    subprocess.run(make, check=True, stdout=subprocess.DEVNULL)
    shutil.copy(source / "b" / "lpmx-exec", built)
    shutil.copy(native.library_path(), built)
    return built


@pytest.mark.needs_checkout
def test_programs_of_two_versions_live_in_one_container(store, busybox_image, other_engine):
    """Each version's filter knows no other's code: what a program starts must be of its own."""
    other = {"LPMX_NATIVE": str(other_engine)}
    name = f"c.{os.urandom(4).hex()}"
    loop = "until [ -e /go ]; do busybox sleep 0.1; done; busybox sh -c 'busybox date' && echo went"
    store("run", "-d", "--name", name, busybox_image, "sh", "-c", loop)
    try:
        assert store("exec", name, "sh", "-c", "busybox date; touch /go", env=other).stdout
        waiting.until(lambda: store("logs", name).stdout.endswith("went\n"), what="the loop's end")
    finally:
        store("rm", "-f", name)


@pytest.mark.needs_checkout
def test_commands_exposed_by_two_versions_live_side_by_side(
    store, busybox_image, other_engine, tmp_path
):
    folder = tmp_path / "bin"
    store("expose", busybox_image, "date", "--to", folder)
    store("expose", busybox_image, "cat", "--to", folder, env={"LPMX_NATIVE": str(other_engine)})
    try:
        for command in ([folder / "date"], [folder / "cat", "/etc/marker"]):
            assert run(command, cwd=tmp_path).stdout
    finally:
        (exposed,) = (
            one["name"]
            for one in json.loads(store("ps", "-a", "--json").stdout)
            if one["name"].startswith("exposed-")
        )
        store("rm", "-f", exposed)


def find_engine(store, end):
    """The engine that the store keeps whose file ends so."""
    (found,) = (
        engine
        for engine in store.home.glob("engine/*/lpmx-exec")
        if engine.read_bytes().endswith(end)
    )
    return found


def test_gc_leaves_a_detached_ephemeral_container_alone(lpmx, busybox_image):
    ident = lpmx("run", "-d", busybox_image, "sleep", "100").stdout.strip()
    lpmx("gc")
    assert lpmx("exec", ident, "cat", "/etc/marker").stdout == "upper\n"
    lpmx("stop", ident)
