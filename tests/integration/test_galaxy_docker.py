"""`lpmx-docker` with real containers: what workflow systems rely on, end to end."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.lpmx import clean_environment, run
from support.waiting import until


@pytest.fixture(scope="session")
def docker(store):
    """docker("run", ...): lpmx-docker with the session's store."""
    return dataclasses.replace(store, command=front_end(store, "lpmx-docker"))


def front_end(store, name):
    """The script @name beside the lpmx that @store calls."""
    script = Path(store.command[0]).with_name(name)
    if not script.exists():
        pytest.skip(f"{script} is not installed: install the checkout again")
    return (str(script),)


@pytest.fixture
def start(docker, tmp_path):
    """start(...): lpmx-docker in the background, in a process group of its own."""
    started = []

    def call(*arguments):
        process = subprocess.Popen(
            [*docker.prefix, *docker.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean_environment(docker.environment()),
            cwd=tmp_path,
            start_new_session=True,
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            docker("kill", *docker("ps", "-q").stdout.split(), check=False)  # all, in any group
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)  # what still holds the pipe was left running


def is_running(docker, name):
    return docker("ps", "-q", "--filter", f"name={name}").stdout != ""


def test_three_calls_of_a_galaxy_job(docker, busybox_image, tmp_path):
    job = tmp_path / "job"
    for name in ("working", "outputs", "tmp"):
        (job / name).mkdir(parents=True)
    script = job / "tool_script.sh"
    script.write_text(
        "#!/bin/sh\nset -e\necho out; echo err >&2; echo x > result; echo t > /tmp/scratch\n"
        "if { echo no > ../written; } 2>/dev/null; then echo parent was writable; fi\n"
        "echo $FROM_IMAGE/$GALAXY_SLOTS/$EMPTY; pwd; exit 3\n"
    )
    name = "ce1f10e8fa784fd0b4b1d4da5dbb97f5"
    assert docker("inspect", busybox_image).returncode == 0
    done = docker(
        "run", "-e", "GALAXY_SLOTS=1", "-e", "EMPTY=", "--name", name,
        "-v", f"{job}/tmp:{job}/tmp:rw", "-v", f"{job}/tmp:/tmp:rw", "-v", f"{job}:{job}:ro",
        "-v", f"{job}/working:{job}/working:rw", "--cpus", "1", "-w", f"{job}/working", "--rm",
        "--user", f"{os.getuid()}:{os.getgid()}", busybox_image, "/bin/sh", script, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "err\n")
    assert done.stdout == f"out\nyes/1/\n{job}/working\n"
    assert (job / "working" / "result").read_text() == "x\n"
    assert (job / "tmp" / "scratch").read_text() == "t\n"
    assert not (job / "written").exists()
    assert docker("kill", name, check=False).returncode == 1  # it is gone, and so is its name


def test_kill_by_name_ends_every_process_of_the_container(docker, start, busybox_image):
    # A child in a session of its own, and a grandchild whose parent has gone: no group holds them.
    script = "setsid sleep 600 & (sleep 601 &) ; echo ready; sleep 602"
    process = start("run", "--rm", "--name", "to-kill", busybox_image, "sh", "-c", script)
    assert process.stdout.readline() == "ready\n"
    until(lambda: count_of("sleep", "600", "601", "602") == 3, what="all three")
    begun = time.monotonic()
    assert docker("kill", "to-kill").stdout == "to-kill\n"
    assert process.wait(10) != 0
    assert time.monotonic() - begun < 2
    assert count_of("sleep", "600", "601", "602") == 0
    until(lambda: docker("inspect", "to-kill", check=False).returncode == 1, what="removal")


def count_of(program, *arguments):
    """How many processes have a command line that ends in @program and one of @arguments."""
    lines = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            lines.append(Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")[:-1])
        except OSError:
            continue
    wanted = [[program.encode(), one.encode()] for one in arguments]
    return sum(line[-2:] in wanted for line in lines)


def test_end_of_the_callers_group_ends_the_container(docker, start, busybox_image):
    process = start(
        "run", "--rm", "--name", "grouped", busybox_image, "sh", "-c", "echo up; sleep 603"
    )
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGTERM)  # as Galaxy's local runner does
    assert process.wait(10) in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert count_of("sleep", "603") == 0
    until(lambda: not is_running(docker, "grouped"), what="end of the container")


def test_stop_asks_before_it_kills(docker, start, busybox_image):
    script = "trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    process = start("run", "--rm", "--name", "to-stop", busybox_image, "sh", "-c", script)
    assert process.stdout.readline() == "up\n"
    docker("stop", "-t", "5", "to-stop")
    assert process.communicate(timeout=10)[0] == "asked\n"
    assert process.returncode == 5


def test_stop_kills_what_does_not_listen(docker, start, busybox_image):
    script = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    process = start("run", "--rm", "--name", "unmoved", busybox_image, "sh", "-c", script)
    assert process.stdout.readline() == "up\n"
    docker("stop", "--time=1", "unmoved")
    assert process.wait(10) in (-signal.SIGKILL, 128 + signal.SIGKILL)


def test_statuses_of_the_engine_are_dockers(docker, busybox_image):
    def status(*words):
        return docker("run", "--rm", *words, check=False).returncode

    assert status("localhost:1/no/such:image", "true") == 125
    assert status(busybox_image, "no-such-program") == 127
    assert status(busybox_image, "/etc/marker") == 126
    assert status(busybox_image, "sh", "-c", "exit 42") == 42


def test_container_shows_the_image_and_not_the_host(docker, busybox_image, tmp_path):
    script = "ls /tmp | wc -l; pwd; echo $HOME; env | grep -c SLURM"
    done = docker(
        "run", "--rm", busybox_image, "sh", "-c", script, check=False, env={"SLURM_JOB_ID": "1"},
        cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.splitlines()[:2] == ["0", "/"]
    assert done.stdout.splitlines()[3] == "0"


def test_name_of_the_host_is_a_variable(docker, busybox_image):
    """Docker sets it, and cwltool looks for it; --hostname changes it alone."""
    said = ("sh", "-c", "echo $HOSTNAME")
    assert docker("run", "--rm", busybox_image, *said).stdout == f"{os.uname().nodename}\n"
    named = docker("run", "--rm", "--hostname", "other", busybox_image, *said)
    assert named.stdout == "other\n"
    given = docker("run", "--rm", "-e", "HOSTNAME=mine", busybox_image, *said)
    assert given.stdout == "mine\n"


def test_missing_working_directory_is_made(docker, busybox_image, tmp_path):
    line = docker(
        "run", "--rm", "-w", "/new/deep", busybox_image, "sh", "-c", "pwd; echo x > f; ls"
    )
    assert line.stdout == "/new/deep\nf\n"
    docker(
        "run", "--rm", "-v", f"{tmp_path}:/data", "-w", "/data/a/b", busybox_image,
        "sh", "-c", "echo x > f",
    )  # fmt: skip
    assert (tmp_path / "a/b/f").read_text() == "x\n"


def test_tmpfs_hides_what_the_image_has(docker, busybox_image):
    done = docker("run", "--rm", "--tmpfs", "/etc:size=1m", busybox_image, "sh", "-c", "ls /etc")
    assert "marker" not in done.stdout


def test_cidfile_names_the_container(docker, busybox_image, tmp_path):
    cid = tmp_path / "cid"
    docker("run", "--cidfile", cid, "--name", "with-cid", busybox_image, "true")
    (described,) = json.loads(docker("inspect", cid.read_text()).stdout)
    assert described["Name"] == "/with-cid"
    assert docker("rm", "with-cid").stdout == "with-cid\n"
    assert docker("rm", "with-cid", check=False).returncode == 1


def test_input_and_entrypoint(docker, busybox_image):
    done = docker("run", "-i", "--rm", "--entrypoint", "cat", busybox_image, text="through\n")
    assert done.stdout == "through\n"


def test_volumes_of_another_container(docker, busybox_image, tmp_path):
    (tmp_path / "f").write_text("shared\n")
    docker("run", "--name", "keeper", "-v", f"{tmp_path}:/shared", busybox_image, "true")
    try:
        done = docker(
            "run", "--rm", "--volumes-from", "keeper:ro", busybox_image, "cat", "/shared/f"
        )
        assert done.stdout == "shared\n"
    finally:
        docker("rm", "-f", "keeper")


def test_limits_that_a_process_can_set_itself(docker, busybox_image):
    done = docker("run", "--rm", "--ulimit", "nofile=77:99", busybox_image, "sh", "-c", "ulimit -n")
    assert done.stdout == "77\n"


def test_load_from_stdin_as_galaxy_does(docker, archive, tmp_path):
    empty = dataclasses.replace(docker, home=tmp_path / "store")
    with open(archive("biocontainer"), "rb") as file:
        done = subprocess.run(
            [*empty.command, "load"], stdin=file, capture_output=True, text=True, check=True,
            env=clean_environment(empty.environment()),
        )  # fmt: skip
    assert done.stdout == "Loaded image: lpmx-test/biocontainer:latest\n"
    assert empty("run", "--rm", "lpmx-test/biocontainer", "greet").stdout


def test_save_export_and_cp_are_dockers(docker, busybox_image, tmp_path):
    docker("save", "-o", tmp_path / "image.tar", busybox_image)
    empty = dataclasses.replace(docker, home=tmp_path / "store")
    assert empty("load", "-i", tmp_path / "image.tar").stdout.startswith("Loaded image: ")
    empty("run", "--name", "box", busybox_image, "sh", "-c", "echo written > /own")
    (tmp_path / "in").write_text("in\n")
    empty("cp", tmp_path / "in", "box:/in")
    empty("container", "cp", "-a", "box:/own", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "written\n"
    empty("export", "--output", tmp_path / "box.tar", "box")
    empty("import", tmp_path / "box.tar", "flat:1")
    assert empty("run", "--rm", "flat:1", "cat", "/own", "/in").stdout == "written\nin\n"
    done = empty("export", "no-such-box", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no-such-box: no such container" in done.stderr


def test_ordinary_user_and_denied_user_run_alike(nopriv, user_archive):
    docker = dataclasses.replace(nopriv, command=front_end(nopriv, "lpmx-docker"))
    docker("load", "-i", user_archive("biocontainer"))
    done = docker("run", "--rm", "--user", "0:0", "lpmx-test/biocontainer", "id", "-u")
    assert done.stdout == "0\n"
    assert docker("kill", "nobody", check=False).returncode == 1


def test_frequent_commands_import_little(docker, busybox_image):
    """Galaxy starts three a job. What costs time is not read for a question or a kill."""
    heavy = {
        "argparse",
        "cffi",
        "lpmx_runtime.container.record",
        "lpmx_runtime.launch.start",
        "lpmx_runtime.images.load",
    }
    heavy |= {"lpmx_runtime.plans.plan", "subprocess", "yaml"}
    if sys.version_info < (3, 13):  # where dataclasses itself needs no inspect
        heavy |= {"ast", "inspect"}
    for words in (["inspect", busybox_image], ["kill", "nobody"]):
        code = (
            "import sys\nfrom lpmx_galaxy.docker.main import main\n"
            f"main({words!r})\nprint(*sys.modules, file=sys.stderr)"
        )
        done = run_python(docker, code)
        assert heavy & set(done.stderr.split()) == set()


def run_python(docker, code):
    python = Path(docker.command[0]).with_name("python")
    return run([python, "-c", code], env=docker.environment())
