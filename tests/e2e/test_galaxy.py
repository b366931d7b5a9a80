"""A real Galaxy runs its tools in lpmx containers, by docker's name and by singularity's.

All of it as an ordinary user. See support/galaxy.py for what it takes.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import galaxy as stand
from support import users
from support.lpmx import run
from support.waiting import until

IMAGE = "lpmx-test/biocontainer:latest"
PYTHON = "lpmx-test/demo:latest"
PACKAGE = "quay.io/biocontainers/greet:1.0--0"
LOOK = """
<tool id="{name}" name="{name}" version="1.0" profile="23.0">
  <requirements><container type="docker">{image}</container></requirements>
  <command><![CDATA[
    cat '$input' &&
    cat /etc/lpmx-image &&
    echo scratch > /tmp/scratch && cat /tmp/scratch &&
    ( {{ echo no > '$__tool_directory__/written' ; }} 2>/dev/null && echo wrote || echo kept ) &&
    echo "bash \\${{BASH_VERSION:-none}} slots \\$GALAXY_SLOTS" &&
    mkdir made && echo from-work-dir > made/result.txt
  ]]></command>
  <inputs><param name="input" type="data" format="txt"/></inputs>
  <outputs>
    <data name="out" format="txt" from_work_dir="made/result.txt"/>
  </outputs>
</tool>
"""
SIMPLE = """
<tool id="{name}" name="{name}" version="1.0" profile="23.0">
  <requirements>{requirements}</requirements>
  <command detect_errors="exit_code"><![CDATA[ {command} ]]></command>
  <inputs><param name="text" type="text" value="x"/></inputs>
  <outputs><data name="out" format="txt"/></outputs>
  <tests><test expect_num_outputs="1">
    <param name="text" value="x"/>
    <output name="out">
      <assert_contents><has_text text="in the container"/></assert_contents>
    </output>
  </test></tests>
</tool>
"""


def simple(name, command, requirements=f'<container type="docker">{IMAGE}</container>'):
    return SIMPLE.format(name=name, command=command, requirements=requirements)


TOOLS = {
    "look_docker": LOOK.format(name="look_docker", image=IMAGE),
    "look_singularity": LOOK.format(name="look_singularity", image=IMAGE),
    "fails": simple("fails", "echo said >&2; exit 7"),
    "missing": simple(
        "missing", "true", '<container type="docker">localhost:1/no/such-image:1</container>'
    ),
    "package": simple(
        "package", "greet > '$out'", '<requirement type="package" version="1.0">greet</requirement>'
    ),
    "tested": simple("tested", "cat /etc/lpmx-image > '$out'; echo in the container >> '$out'"),
    "sleeps": simple("sleeps", "echo up; sleep 3617"),
}
SERVES = rf"""
<tool id="serves" name="serves" version="1.0" tool_type="interactive" profile="23.0">
  <requirements><container type="docker">{PYTHON}</container></requirements>
  <entry_points>
    <entry_point name="Server" requires_domain="True">
      <port>8888</port><url>hello</url>
    </entry_point>
  </entry_points>
  <command><![CDATA[
    echo "hello \$WHO" > hello && echo said > '$out' && python3 -m http.server 8888 2>/dev/null
  ]]></command>
  <environment_variables>
    <environment_variable name="WHO">$text</environment_variable>
  </environment_variables>
  <inputs><param name="text" type="text" value="x"/></inputs>
  <outputs><data name="out" format="txt"/></outputs>
</tool>
"""
TOOLS["serves"] = SERVES
PLACES = """
- id: look_singularity
  environment: lpmx_singularity
"""


@pytest.fixture(scope="session")
def galaxy(ordinary_user, user_archive):
    """The server, with images loaded and the files that `lpmx galaxy init` wrote."""
    home = Path(users.ensure_user().pw_dir) if os.geteuid() == 0 else Path.home()
    data = stand.fresh_folder(home, "lpmx-test-galaxy")
    site = stand.fresh_folder(home, "lpmx-test-site")
    for name in ("biocontainer", "demo"):
        ordinary_user("load", user_archive(name))
    ordinary_user("tag", IMAGE, PACKAGE)
    ordinary_user("galaxy", "init", site)
    with open(site / "job_conf.yml", "a") as file:
        file.write(PLACES)
    prefix = users.user_command([]) if os.geteuid() == 0 else []
    server = stand.start(data, site, TOOLS, prefix=prefix)
    yield server
    stand.stop(server)


@pytest.fixture(scope="session")
def jobs(galaxy):
    """Every tool but the sleeping one, started at once: what takes time in Galaxy overlaps."""
    dataset = galaxy.upload("uploaded\n")
    data = {"values": [{"src": "hda", "id": dataset}]}
    started = {name: galaxy.start(name, input=data) for name in ("look_docker", "look_singularity")}
    started |= {name: galaxy.start(name) for name in ("fails", "missing", "package")}
    return started


def job_of(answer):
    return answer["jobs"][0]["id"]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["look_docker", "look_singularity"])
def test_tool_runs_in_its_container(galaxy, jobs, name):
    job = galaxy.wait(job_of(jobs[name]))
    assert job["exit_code"] == 0
    said = job["tool_stdout"].splitlines()
    assert said[:3] == ["uploaded", "biocontainer", "scratch"]
    # Galaxy itself asks singularity for a writable bind where anything below it is to be written.
    assert said[3] == ("kept" if name == "look_docker" else "wrote")
    assert said[4].endswith("slots 1")
    assert galaxy.text(jobs[name]["outputs"][0]["id"]) == "from-work-dir\n"


@pytest.mark.timeout(1200)
def test_failing_tool_fails_with_its_own_status(galaxy, jobs):
    job = galaxy.wait(job_of(jobs["fails"]), states=("error",))
    assert (job["exit_code"], job["tool_stderr"]) == (7, "said\n")


@pytest.mark.timeout(1200)
def test_missing_image_says_so_in_the_jobs_stderr(galaxy, jobs):
    job = galaxy.wait(job_of(jobs["missing"]), states=("error",))
    assert "localhost:1/no/such-image:1: no such image" in job["tool_stderr"]
    assert "lpmx load" in job["tool_stderr"]


@pytest.mark.timeout(1200)
def test_packages_image_is_found_by_its_name(galaxy, jobs):
    galaxy.wait(job_of(jobs["package"]))
    assert galaxy.text(jobs["package"]["outputs"][0]["id"])


@pytest.mark.timeout(1200)
def test_galaxys_own_tool_tester_is_content(galaxy, jobs, tmp_path):
    program = stand.environment() / "bin" / "galaxy-tool-test"
    report = tmp_path / "report.json"
    done = run(
        ["nice", program, "-u", galaxy.url, "-k", galaxy.key, "-a", stand.BOOTSTRAP, "-t", "tested",
         "-j", report],
        cwd=tmp_path, check=False, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads(report.read_text())["tests"][0]["data"]["status"] == "success"


@pytest.mark.timeout(1200)
def test_cancelled_job_is_gone_within_two_seconds(galaxy, jobs):
    job = job_of(galaxy.start("sleeps"))
    galaxy.until(sleepers, "start of the tool")
    galaxy.call("DELETE", f"jobs/{job}")
    # Galaxy's monitor looks at cancelled jobs now and then; the container's part is what we time.
    galaxy.until(lambda: galaxy.job(job)["state"] in ("deleted", "deleting"), "cancellation")
    until(lambda: not sleepers(), what="end of the tool's processes", timeout=10)


def sleepers():
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{name}/cmdline").read_bytes() == b"sleep\x003617\0":
                found.append(int(name))
        except OSError:
            continue
    return found


@pytest.mark.timeout(1200)
def test_two_interactive_tools_serve_side_by_side(galaxy, jobs):
    """Both listen on port 8888 of their container; Galaxy learns the host's by `docker port`."""
    started = [job_of(galaxy.start("serves", text=name)) for name in ("one", "two")]
    galaxy.until(lambda: len(entry_points(galaxy)) == 2, "both entry points")
    places = proxied(galaxy)
    assert len({port for _, port in places}) == 2
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
    program, port = stand.proxy_program(), stand.free_port()
    if program is None:
        pytest.skip("no npm on this machine, for Galaxy's proxy")
    table = galaxy.data / "interactivetools_map.sqlite"
    process = subprocess.Popen(
        [program, "--ip", "127.0.0.1", "--port", str(port), "--sessions", table],
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
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return answer.read().decode()
