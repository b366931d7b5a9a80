"""A tool's container calls programs of another image and of the host, by the front ends' flags."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from support.slurm import Slurm
from support.waiting import until


@pytest.fixture
def front(store):
    """front(name): one of the front ends."""

    def call(name):
        return dataclasses.replace(store, command=(str(Path(store.command[0]).with_name(name)),))

    return call


@pytest.fixture
def flags(image):
    return [f"--lpmx-map=greet=image:{image('biocontainer')}", "--lpmx-map", "tell=host:printenv"]


SCRIPT = "greet >/dev/null && echo greeted; tell ONLY_OF_THE_HOST; echo ${ONLY_OF_THE_HOST:-hidden}"


def test_docker_tool_calls_another_image_and_the_host(front, flags, busybox_image):
    done = front("lpmx-docker")(
        "run", "--rm", *flags, busybox_image, "sh", "-c", SCRIPT, env={"ONLY_OF_THE_HOST": "yes"}
    )
    assert done.stdout == "greeted\nyes\nhidden\n", done.stderr


def test_singularity_tool_does_too(front, flags, busybox_image):
    done = front("lpmx-singularity")(
        "exec", "--contain", "--cleanenv", *flags, f"docker://{busybox_image}", "sh", "-c", SCRIPT,
        env={"ONLY_OF_THE_HOST": "yes"},
    )  # fmt: skip
    assert done.stdout == "greeted\nyes\nhidden\n", done.stderr


def test_environment_stands_for_a_tools_image(front, image, busybox_image, tmp_path):
    (tmp_path / "env.yaml").write_text(
        f"image: {busybox_image}\ncommands:\n  greet: {{image: {image('biocontainer')}}}\n"
    )
    done = front("lpmx-docker")(
        "run", "--rm", "--lpmx-env", tmp_path / "env.yaml", busybox_image, "sh", "-c", "greet",
    )  # fmt: skip
    assert done.stdout


def test_image_that_a_command_needs_is_asked_for(front, busybox_image):
    done = front("lpmx-docker")(
        "run", "--rm", "--lpmx-map", "x=image:localhost:1/no/such:1", busybox_image, "true",
        check=False,
    )  # fmt: skip
    assert done.returncode == 125
    assert "localhost:1/no/such:1" in done.stderr


def test_docker_tool_submits_to_slurm_and_its_job_runs_in_the_tools_image(
    front, busybox_image, store, tmp_path
):
    def left():
        """Containers after a cleaning: until Slurm calls the job over, its container stays."""
        store("gc", env=slurm.variables)
        return json.loads(store("--json", "ps", "-a").stdout)

    with Slurm(tmp_path / "slurm") as slurm:
        work = tmp_path / "work"
        work.mkdir()
        (work / "job.sh").write_text(
            "#!/bin/sh\ncat /etc/marker > out; echo $SLURM_JOB_ID >> out\n"
        )
        front("lpmx-docker")(
            "run", "--rm", "--lpmx-batch", "slurm", "-v", f"{work}:{work}", "-w", work,
            busybox_image, "sh", "-c", "sbatch --wait -o log job.sh", env=slurm.variables,
        )  # fmt: skip
        assert [line.isdigit() for line in (work / "out").read_text().split()][-1]
        until(lambda: not left(), what="the container of the job is gone")
