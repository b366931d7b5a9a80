"""`lpmx-singularity` with real containers: what workflow systems rely on, end to end."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.lpmx import clean_environment, run
from support.sif import write_sif


@pytest.fixture(scope="session")
def singularity(store):
    """singularity("exec", ...): lpmx-singularity with the session's store."""
    script = Path(store.command[0]).with_name("lpmx-singularity")
    if not script.exists():
        pytest.skip(f"{script} is not installed: install the checkout again")
    return dataclasses.replace(store, command=(str(script),))


@pytest.fixture
def sif(singularity, busybox_image, tmp_path):
    path = tmp_path / "image.sif"
    singularity("pull", "--name", path, f"docker://{busybox_image}")
    return path


def test_job_of_galaxy(singularity, sif, tmp_path):
    job = tmp_path / "job"
    for name in ("working", "home", "tmp"):
        (job / name).mkdir(parents=True)
    (job / "tool_script.sh").write_text(
        "echo $HOME $SLOTS; pwd; echo x > result; ls /tmp; exit 4\n"
    )
    done = singularity(
        "-s", "exec", "--contain", "--pwd", f"{job}/working", "--cleanenv", "--ipc", "--pid",
        "--no-mount", "tmp", "-B", f"{job}:{job}", "--home", f"{job}/home:{job}/home", sif,
        "/bin/sh", job / "tool_script.sh", env={"SINGULARITYENV_SLOTS": "2"}, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (4, "")
    assert done.stdout.splitlines()[:2] == [f"{job}/home 2", f"{job}/working"]
    assert (job / "working" / "result").read_text() == "x\n"


def test_nextflow_wipes_every_variable(singularity, sif, tmp_path):
    """HOME, LPMX_HOME and all: a wrapper on the PATH says where the store is."""
    wrapper = tmp_path / "bin" / "singularity"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\nexport LPMX_HOME={singularity.home}\nexec {singularity.command[0]} "$@"\n'
    )
    wrapper.chmod(0o755)
    line = 'env - PATH="$PATH" SINGULARITYENV_TMP=/t singularity exec --no-home --pid '
    line += f"-B {tmp_path} {sif} /bin/sh -c 'cd {tmp_path}; pwd; echo $TMP'"
    done = run(["sh", "-c", line], env={"PATH": f"{wrapper.parent}:{os.environ['PATH']}"})
    assert done.stdout == f"{tmp_path}\n/t\n"


def test_host_is_seen_unless_contained(singularity, sif, tmp_path):
    (tmp_path / "here").write_text("x")
    assert singularity("exec", sif, "ls", "here", cwd=tmp_path).stdout == "here\n"
    contained = singularity("exec", "-c", sif, "sh", "-c", "ls /tmp | wc -l", cwd=tmp_path)
    assert contained.stdout == "0\n"


def test_image_s_files_are_read_only_unless_asked(singularity, sif, tmp_path):
    script = "touch /usr-x /etc/x 2>&1; touch here /tmp/lpmx-x /var/tmp/lpmx-x && rm /tmp/lpmx-x"
    script += " /var/tmp/lpmx-x && echo ok"
    done = singularity("exec", sif, "sh", "-c", script, cwd=tmp_path)
    assert done.stdout == (
        "touch: /usr-x: Read-only file system\ntouch: /etc/x: Read-only file system\nok\n"
    )
    assert (tmp_path / "here").exists()
    contained = ("-c", "--home", f"{tmp_path}:/home/ada", "-B", f"{tmp_path}:/data")
    script = "touch ~/a /data/b /tmp/c /var/tmp/d && ! touch /etc/x 2>/dev/null && echo ok"
    assert singularity("exec", *contained, sif, "sh", "-c", script).stdout == "ok\n"
    for flag in ("--writable-tmpfs", "--writable", "--compat"):
        singularity("exec", flag, sif, "touch", "/usr-x", "/etc/x")
    env = {"APPTAINER_WRITABLE_TMPFS": "1"}
    singularity("exec", sif, "touch", "/usr-x", env=env)


def test_single_file_is_bound_to_a_place_that_the_image_does_not_have(singularity, sif, tmp_path):
    (tmp_path / "file").write_text("before\n")
    singularity(
        "exec", "-B", f"{tmp_path}/file:/var/lib/cwl/stg/file", sif,
        "sh", "-c", "cat /var/lib/cwl/stg/*; echo after > /var/lib/cwl/stg/file",
    )  # fmt: skip
    assert (tmp_path / "file").read_text() == "after\n"


def test_errors_of_the_engine_end_with_255_and_the_programs_keep_theirs(singularity, sif):
    def status(*words):
        return singularity(*words, check=False).returncode

    assert status("exec", "nothing.sif", "true") == 255
    assert status("exec", "-B", "/no/such/place", sif, "true") == 255
    assert status("exec", sif, "sh", "-c", "exit 7") == 7
    assert status("exec", sif, "no-such-program") == 127


def test_group_of_the_caller_is_kept_and_its_signal_ends_all(singularity, sif):
    process = subprocess.Popen(
        [*singularity.command, "exec", sif, "sh", "-c", "echo up; sleep 611 & sleep 612"],
        stdout=subprocess.PIPE, start_new_session=True, text=True,
        env=clean_environment(singularity.environment()),
    )  # fmt: skip
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(10) in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert process.communicate(timeout=10)[0] == ""  # the pipe is closed: nobody has it any more


def test_script_is_started_by_its_reference_file(singularity, sif, tmp_path):
    """A reference file is executable, as a SIF is: it runs the image."""
    names = tmp_path / "bin"
    names.mkdir()
    (names / "lpmx-singularity").symlink_to(singularity.command[0])
    path = f"{names}:{os.environ['PATH']}"
    done = run([sif, "echo", "ran"], env={**singularity.environment(), "PATH": path})
    assert done.stdout == "ran\n"


def test_denied_user_runs_alike(nopriv, user_archive, tmp_path):
    script = Path(nopriv.command[0]).with_name("lpmx-singularity")
    singularity = dataclasses.replace(nopriv, command=(str(script),))
    source = f"docker-archive:{user_archive('biocontainer')}"
    done = singularity("exec", "--fakeroot", source, "/bin/bash", "-c", "id -u; echo $BASH_VERSION")
    assert done.stdout.startswith("0\n5.")


@pytest.fixture
def real_sif(tmp_path):
    return write_sif(tmp_path)


def test_real_sif_is_unpacked_once_and_runs(singularity, real_sif):
    first = singularity("run", "--cleanenv", real_sif, "a", "b")
    assert first.stdout == "from a SIF\nby the image a b\n"
    assert "unpacking" in first.stderr
    again = singularity("exec", real_sif, "/bin/busybox", "cat", "/etc/marker")
    assert (again.stdout, again.stderr) == ("from a SIF\n", "")
