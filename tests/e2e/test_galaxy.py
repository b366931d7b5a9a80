"""A real Galaxy runs its tools in lpmx containers, by docker's name and by singularity's.

All of it as an ordinary user. See conftest.py, support/galaxy*.py for what it takes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import galaxy as stand
from support.waiting import until

# The first test waits for pip, npm and the server's start too.
pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("name", "image", "shell"),
    [
        ("look_docker", "biocontainer", "bash none slots 1 prefix none"),  # busybox is its sh
        ("look_singularity", "bioconda", "bash 5."),  # bash is its sh; no entry point with `exec`
    ],
)
def test_tool_runs_in_its_container(jobs, name, image, shell):
    job = jobs.wait(name)
    assert job["exit_code"] == 0
    said = job["tool_stdout"].splitlines()
    assert said[:4] == ["uploaded", image, "scratch", "genome"]
    assert said[4] == "Read-only file system"
    assert said[5].startswith(shell)
    assert jobs.text(name) == "from-work-dir\n"


@pytest.mark.parametrize(
    ("name", "image"), [("pulled_docker", "biocontainer"), ("pulled_singularity", "bioconda")]
)
def test_image_that_only_a_registry_has_comes_with_the_job(jobs, name, image):
    assert jobs.text(name) == f"{image}\n"


def test_failing_tool_fails_with_its_own_status(jobs):
    assert jobs.stderr("fails") == "said\n"
    assert jobs.wait("fails", "error")["exit_code"] == 7


def test_missing_image_says_so_in_the_jobs_stderr(jobs):
    said = jobs.stderr("missing")
    assert "localhost:1/no/such-image:1: no such image" in said
    assert "lpmx load" in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("package_old", ["greetings from a prefix in biocontainer", ""]),
        # the entry point has set the variable
        ("package_new", ["greetings from a prefix in bioconda", "/usr/local", ""]),
    ],
)
def test_packages_image_is_found_by_its_name(jobs, name, said):
    assert jobs.text(name).split("\n") == said


def test_packages_image_is_found_in_a_cache_of_image_files(jobs):
    """`lpmx galaxy prefetch --cache` wrote a file that stands for it, for singularity."""
    assert jobs.text("package_cached") == "greetings from a prefix in bioconda\n"


def test_tool_calls_a_program_of_another_image_by_a_tpv_rule(jobs):
    assert jobs.text("composed") == "bioconda\nc\t4\t3\t4\t5\n"


def test_tool_submits_to_slurm_and_its_job_runs_in_the_same_image(jobs):
    image, job, number = jobs.text("submits").split()
    assert (image, job) == ("bioconda", "job")
    assert number.isdigit()


@pytest.mark.parametrize("front", ["docker", "singularity"])
def test_cancelled_job_is_gone_within_two_seconds(galaxy, jobs, front):
    seconds = {"docker": "3617", "singularity": "3618"}[front]
    job = galaxy.start(f"sleeps_{front}")["jobs"][0]["id"]
    line, folder = f"sleep\0{seconds}\0".encode(), galaxy.data / "jobs_directory"
    galaxy.until(lambda: processes(line, folder), "start of the tool")
    (sleeper,) = processes(line, folder)
    group = os.getpgid(sleeper)
    before = in_group(group)
    galaxy.call("DELETE", f"jobs/{job}")
    # When Galaxy looks at cancelled jobs is its own affair. We time from the first end to the last.
    until(lambda: in_group(group) != before, what="Galaxy's signal", timeout=120)
    begun = time.monotonic()
    until(lambda: not in_group(group), what="end of the job's processes", timeout=20)
    assert time.monotonic() - begun < 2


def processes(line, folder):
    """Those whose command line is @line, and that work below @folder."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        place = Path("/proc", name)
        with contextlib.suppress(OSError):
            if (place / "cmdline").read_bytes() == line and (
                (place / "cwd").resolve().is_relative_to(folder)
            ):
                found.append(int(name))
    return found


def in_group(group):
    """The living processes of a process group."""
    found = set()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            state, _, pgid = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[:3]
            if int(pgid) == group and state != "Z":
                found.add(int(name))
    return found


def test_two_interactive_tools_serve_side_by_side(galaxy, jobs):
    """Both listen on port 8888 of their container; Galaxy learns the host's by `docker port`."""
    started = [galaxy.start("serves", text=name)["jobs"][0]["id"] for name in ("one", "two")]
    galaxy.until(lambda: len(entry_points(galaxy)) == 2, "both entry points")
    places = proxied(galaxy)
    assert len({port for _, port in places}) == 2
    for _, port in places:  # Galaxy knows the port before the program listens
        until(lambda port=port: listens(port), what="the tool's server", timeout=60)
    assert sorted(get(f"http://{host}:{port}/hello") for host, port in places) == [
        "hello one\n", "hello two\n",
    ]  # fmt: skip
    targets = [one["target"] for one in entry_points(galaxy)]
    with proxy(galaxy) as address:
        said = [through(address, urlsplit(target).netloc) for target in targets]
    assert sorted(said) == ["hello one\n", "hello two\n"]
    for job in started:
        galaxy.call("DELETE", f"jobs/{job}")


def through(address, host):
    """What the proxy answers for @host, once it has read Galaxy's table: until then it is 502."""

    def answer():
        try:
            return get(address + "/hello", Host=host)
        except urllib.error.HTTPError as error:
            if error.code != 502:
                raise
            return ""

    return until(answer, what=f"the proxy's way to {host}", timeout=60)


@contextlib.contextmanager
def proxy(galaxy):
    """The address at which Galaxy's proxy listens: where users' browsers arrive."""
    program, port = stand.proxy_command(), stand.free_port()
    table = galaxy.data / "interactivetools_map.sqlite"
    process = subprocess.Popen(
        [*program, "--ip", "127.0.0.1", "--port", str(port), "--sessions", table],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: listens(port), what="the proxy", timeout=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def entry_points(galaxy):
    return [one for one in galaxy.call("GET", "entry_points?running=true") if one["active"]]


def proxied(galaxy):
    """Host and port of each entry point, where Galaxy's proxy reads them."""
    with sqlite3.connect(galaxy.data / "interactivetools_map.sqlite") as table:
        return list(table.execute("SELECT host, port FROM gxitproxy"))


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return answer.read().decode()
