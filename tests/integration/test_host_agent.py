"""Commands of the host, called from a container: as if the caller had executed them there."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest
from support import users, waiting
from support.lpmx import clean_environment

SH = "hsh=host:sh"
STATUS = re.compile(r"^(?:NoNewPrivs|Seccomp):\s*\d+$", re.MULTILINE)


@pytest.fixture
def host(busybox_image, run_lpmx):
    """host(SCRIPT, MAP...): busybox's sh in a container that calls commands of the host."""

    def call(script, *maps, options=(), **more):
        words = [word for one in maps or (SH,) for word in ("-m", one)]
        return run_lpmx("run", *options, *words, busybox_image, "sh", "-c", script, **more)

    return call


@pytest.fixture
def begin(store, busybox_image):
    """begin(SCRIPT): the same in the background, its output to be read; ended with the test."""
    started = []

    def call(script, *words):
        command = [*store.command, "run", "-m", SH, busybox_image, "sh", "-c", script, *words]
        process = subprocess.Popen(
            command, env=clean_environment(store.environment()), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE,
        )  # fmt: skip
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate(timeout=20)


def lines(done):
    return done.stdout.splitlines()


def agents(store):
    """The agents of this store's containers; their command line is that of the start."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            is_agent = entry.name.isdigit() and (entry / "comm").read_text() == "lpmx-agent\n"
            if is_agent and os.fsencode(store.home) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def only_agent(store):
    """The pid of the agent there is, once it has settled and those of earlier tests are gone."""
    waiting.until(lambda: len(agents(store)) == 1, what="one agent")
    return agents(store)[0]


def word(process):
    return int(process.stdout.readline().split()[1])


# ---- a plain process of the host


def test_command_has_neither_our_filter_nor_no_new_privs(host):
    here = STATUS.findall(Path("/proc/self/status").read_text())
    done = host("grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status; echo; "
                "hsh -c 'cat /proc/self/status'")  # fmt: skip
    inside, outside = done.stdout.split("\n\n")
    assert STATUS.findall(inside) == ["NoNewPrivs:\t1", "Seccomp:\t2"]
    assert STATUS.findall(outside) == here


SETUID = """
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%d %d\\n", (int)getuid(), (int)geteuid()); return 0; }
"""


@pytest.mark.needs_root
def test_setuid_program_of_the_host_gains_its_user(ordinary_user, tmp_path, busybox_image):
    place = Path("/usr/local/libexec") / f"lpmx-test-{os.getpid()}"
    place.parent.mkdir(exist_ok=True)
    source = tmp_path / "ids.c"
    source.write_text(SETUID)
    subprocess.run(["cc", "-o", place, source], check=True)
    home = users.ensure_user()
    archive = Path(home.pw_dir) / "lpmx-test-busybox.tar"
    try:
        place.chmod(0o4755)
        _share_busybox(ordinary_user, archive)
        direct = subprocess.run(
            users.user_command([str(place)]), capture_output=True, text=True, check=True
        )
        done = ordinary_user("run", "-m", f"ids=host:{place}", "busybox:test", "ids")
    finally:
        place.unlink()
        archive.unlink(missing_ok=True)
    assert direct.stdout == f"{home.pw_uid} 0\n"
    assert done.stdout == direct.stdout


def _share_busybox(lpmx, archive):
    from support import busybox

    busybox.write_archive(archive)
    archive.chmod(0o644)
    lpmx("load", archive)


def test_arguments_streams_and_status_are_exact(host):
    script = """
    hsh -c 'for a; do printf "<%s>" "$a"; done; echo' x "" "a b" '*' "q'" '$HOME'
    echo to stdin | hsh -c 'cat; echo to stderr >&2'
    hsh -c 'exit 42'; echo $?; hsh -c 'kill -TERM $$'; echo $?
    hsh -c 'echo first'; hsh -c 'echo second' | tr a-z A-Z
    """
    done = host(script)
    assert lines(done) == ["<><a b><*><q'><$HOME>", "to stdin", "42", "143", "first", "SECOND"]
    assert "to stderr" in done.stderr


def test_descriptors_of_any_number_reach_the_command(host, tmp_path):
    script = "exec 7>seven 9<nine; hsh -c 'cat <&9 >&7; ls /proc/self/fd' 2>&1"
    (tmp_path / "cwd").mkdir()
    (tmp_path / "cwd" / "nine").write_text("through\n")
    numbers = lines(host(script))
    assert (tmp_path / "cwd" / "seven").read_text() == "through\n"
    assert {"0", "1", "2", "7", "9"} <= set(numbers)
    assert "4" not in numbers, f"nothing of ours, 3 is ls's own: {numbers}"


def test_many_and_long_arguments(host, tmp_path):
    words = " ".join(str(n) for n in range(20000))
    script = f"hsh -c 'echo $# ${{#1}}' x {words}; A=$(head -c 100000 /dev/zero | tr '\\0' a)"
    done = host(script + "; hsh -c 'echo ${#1}' x $A; exec /bin/echo end")
    assert lines(done) == ["20000 1", "100000", "end"]


def test_three_hundred_descriptors(host):
    body = (
        "import os,sys; print(sum(1 for n in range(1000) if os.path.exists(f'/proc/self/fd/{n}')))"
    )
    script = (
        f'i=10; while [ $i -lt 310 ]; do eval "exec $i</dev/null"; i=$((i+1)); done; py -c "{body}"'
    )
    done = host(script, f"py=host:{sys.executable}")
    assert 303 <= int(done.stdout) <= 305


def test_directory_umask_limits_and_niceness_are_the_caller_s(host, tmp_path):
    work = tmp_path / "cwd" / "sub dir"
    work.mkdir(parents=True)
    script = """
    umask 027; ulimit -n 77; ulimit -c 0; cd 'sub dir'
    hsh -c 'umask; ulimit -n; ulimit -c; pwd; cut -d" " -f19 /proc/self/stat; touch made'
    """
    niceness = str(os.getpriority(os.PRIO_PROCESS, 0))
    assert lines(host(script)) == ["0027", "77", "0", str(work), niceness]
    assert (work / "made").stat().st_mode & 0o777 == 0o640


def test_command_is_in_the_caller_s_process_group_and_session(host):
    script = "cut -d' ' -f5,6 /proc/self/stat; hsh -c 'cut -d\" \" -f5,6 /proc/self/stat'"
    inside, outside = lines(host(script))
    assert inside == outside


def test_environment_is_the_host_s_and_what_the_map_lets_through(host):
    script = """
    export OWN=container SLURM_JOB_ID=7 LC_ALL=C PATH=/nowhere:$PATH
    hsh -c 'echo $ON_HOST,$OWN,$SLURM_JOB_ID,$LC_ALL,$LPMX_EXEC; echo $PATH; env'
    """
    env = {"ON_HOST": "host", "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    done = host(script, env=env)
    assert lines(done)[:2] == ["host,,7,C,", os.environ["PATH"]]
    assert "LPMX_HOST" not in done.stdout
    inside = host("env; cat /proc/self/environ", SH, env=env).stdout
    assert "LPMX_HOST" not in inside
    assert "ON_HOST" not in inside


def test_environment_file_says_what_else_passes(run_lpmx, tmp_path, busybox_image):
    work = tmp_path / "cwd"
    work.mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("")
    (work / "e.yaml").write_text(
        f"image: {busybox_image}\nbinds: ['{tmp_path}/data:/in']\ncommands:\n"
        "  show: {host: sh, pass: [OWN, MY_*], env: {SET: by map}, paths: true}\n"
        "  plain: host:sh\n"
    )
    script = """
    export OWN=1 MY_A=2 NOT=3; cd /in
    show -c 'echo $OWN$MY_A$NOT $SET; for a; do echo $a; done' x /in/file --o=/in/new in/file /no
    plain -c 'echo $0' /in/file
    """
    done = run_lpmx("run", "e.yaml", "sh", "-c", script)
    data = f"{tmp_path}/data"
    assert lines(done) == [
        "12 by map", f"{data}/file", f"--o={data}/new", "in/file", "/no", "/in/file"
    ]  # fmt: skip


def test_directory_that_the_host_does_not_have_is_named(host):
    done = host("cd /bin; hsh -c pwd; echo $?; cd /; hsh -c pwd")
    assert lines(done) == ["126", "/"]
    assert "the host has no such directory as the working directory /bin" in done.stderr


def test_text_without_a_first_line_is_run_by_the_shell(host, tmp_path):
    program = tmp_path / "text"
    program.write_text("echo $0 $1\n")
    program.chmod(0o755)
    assert lines(host("t word", f"t=host:{program}")) == [f"{program} word"]


def test_command_that_vanished_since_the_start(host, tmp_path):
    (tmp_path / "cwd").mkdir()
    shutil.copy("/bin/true", tmp_path / "cwd" / "gone")
    done = host("gone && rm ./gone; gone; echo $?", f"gone=host:{tmp_path}/cwd/gone")
    assert lines(done) == ["127"]
    assert "gone: no such command on the host" in done.stderr


def test_many_commands_at_once(host):
    script = """
    i=0; while [ $i -lt 40 ]; do hsh -c "sleep 0.2; echo $i; exit $((i % 5))" & i=$((i+1)); done
    n=0; for p in $(jobs -p); do wait $p || n=$((n+1)); done; wait; echo failed $n
    """
    found = lines(host(script))
    assert sorted(found[:-1], key=int) == [str(n) for n in range(40)]
    assert found[-1] == "failed 32"


# ---- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_signal_to_the_proxy_reaches_the_command(begin, number):
    name = signal.Signals(number).name.removeprefix("SIG")
    process = begin(f"exec hsh -c 'trap \"echo got {name}; exit 3\" {name}; echo ready $PPID; "
                    "while :; do sleep 0.05; done'")  # fmt: skip
    process.stdout.readline()
    process.send_signal(number)
    assert process.stdout.readline() == f"got {name}\n"
    assert process.wait(timeout=20) == 3


def test_command_called_from_another_session_gets_its_own(begin):
    command = (
        "trap 'echo got; exit 3' TERM; set -- $(cat /proc/self/stat); echo ready $5 $6;"
        " while :; do sleep 0.05; done"
    )
    process = begin('busybox setsid hsh -c "$0" & echo pid $!; wait $!; echo $?', command)
    found = dict(process.stdout.readline().split(maxsplit=1) for _ in range(2))
    group, session = found["ready"].split()
    assert group == session != str(os.getsid(int(found["pid"])))
    os.kill(int(found["pid"]), signal.SIGTERM)
    assert [process.stdout.readline() for _ in range(2)] == ["got\n", "3\n"]


def test_signal_to_the_parent_does_not_end_the_agent(host):
    assert lines(host("hsh -c 'kill -TERM $PPID; kill -INT $PPID'; hsh -c 'echo on'")) == ["on"]


def test_command_that_dies_by_a_signal_takes_the_proxy_along(begin):
    process = begin("exec hsh -c 'echo ready $$; exec sleep 100'")
    os.kill(word(process), signal.SIGKILL)
    assert process.wait(timeout=20) == -signal.SIGKILL


def test_killed_proxy_takes_the_command_along(begin):
    process = begin("hsh -c 'echo ready $$; exec sleep 100' & echo pid $!; wait $!; echo $?")
    numbers = dict(process.stdout.readline().split() for _ in range(2))
    os.kill(int(numbers["pid"]), signal.SIGKILL)
    assert process.stdout.readline() == "137\n"
    waiting.until(lambda: not alive(int(numbers["ready"])), what="the command's end")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_ignored_signals_stay_ignored(begin):
    process = begin("trap '' TERM; hsh -c 'echo ready $$; sleep 0.5; echo end'")
    os.kill(word(process), signal.SIGTERM)
    assert process.stdout.readline() == "end\n"


@pytest.fixture
def shell(store):
    """An interactive shell with job control in a terminal."""
    env = clean_environment({**store.environment(), "PS1": "prompt> ", "TERM": "dumb"})
    child = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], env=env, encoding="utf-8", timeout=20, echo=False
    )
    child.expect_exact("prompt> ")
    yield child
    child.close(force=True)


@pytest.fixture
def terminal(shell, store, busybox_image):
    """A shell of a container, with job control, in the terminal."""
    words = [*store.command, "run", "-m", SH, "-e", "PS1=inner> ", busybox_image, "sh", "-i"]
    shell.sendline(shlex.join(words))
    shell.expect_exact("inner> ")
    return shell


def test_command_reads_the_terminal_and_ctrl_c_reaches_it_once(terminal):
    terminal.sendline(
        "hsh -c 'trap \"n=\\$((n+1)); echo got \\$n\" INT; tty; read a; read b; echo end $n$b'"
    )
    terminal.expect(r"/dev/pts/\d+")
    terminal.sendintr()
    terminal.expect_exact("got 1")
    terminal.sendline("x")
    terminal.sendline("y")
    terminal.expect_exact("end 1")
    terminal.expect_exact("inner> ")


def test_ctrl_c_ends_the_command(terminal):
    terminal.sendline("hsh -c 'echo re''ady; exec sleep 100'")
    terminal.expect_exact("ready")
    terminal.sendintr()
    terminal.expect_exact("inner> ")
    terminal.sendline("echo status $?")
    terminal.expect_exact("status 130")


def test_ctrl_z_stops_the_command_and_fg_resumes_it(terminal):
    terminal.sendline("hsh -c 'echo re''ady; read line; echo got $line'")
    terminal.expect_exact("ready")
    terminal.send("\x1a")
    terminal.expect("Stopped")
    terminal.expect_exact("inner> ")
    terminal.sendline("fg")
    terminal.expect_exact("hsh")
    terminal.sendline("word")
    terminal.expect_exact("got word")
    terminal.expect_exact("inner> ")


# ---- the agent's life


def test_agent_is_no_child_of_the_program_and_ends_with_it(host, store):
    script = "hsh -c true; cat /proc/self/task/*/children; cat /proc/$$/task/$$/children; echo end"
    done = host(script)
    children = [word for word in done.stdout.split() if word != "end"]
    assert len(children) == 1, f"only cat itself: {children}"
    waiting.until(lambda: not agents(store), what="the agent's end")


def test_agent_is_forked_only_where_the_map_needs_it(begin, store, busybox_image):
    waiting.until(lambda: not agents(store), what="the end of earlier agents")
    words = ["-m", f"x=image:{busybox_image}:/bin/true", busybox_image, "sh", "-c"]
    other = subprocess.Popen(
        [*store.command, "run", *words, "echo ready; read x"], text=True,
        env=clean_environment(store.environment()), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert other.stdout.readline() == "ready\n"
    assert agents(store) == []
    other.communicate("\n", timeout=20)
    process = begin("echo ready $$; exec sleep 100")
    word(process)
    only_agent(store)


def test_agent_serves_what_the_program_leaves_running(host, store):
    script = "(sleep 0.7; hsh -c 'echo late > late') > /dev/null 2>&1 & echo left"
    name = f"t.{os.urandom(4).hex()}"
    done = host(script, options=["--name", name])
    assert lines(done) == ["left"]
    only_agent(store)
    waiting.until(lambda: not agents(store), what="the agent's end")
    store("rm", name)


def test_output_ends_with_the_program_though_the_agent_lives_a_moment_longer(host):
    before = time.monotonic()
    host("hsh -c true")
    assert time.monotonic() - before < 20


def test_commands_fail_clearly_when_the_agent_died_and_the_next_start_is_fresh(begin, store, host):
    process = begin("hsh -c 'echo ready $$; exec sleep 100'; echo $?; hsh -c true; echo $?; read x")
    command = word(process)
    agent = only_agent(store)
    os.kill(agent, signal.SIGKILL)
    assert [process.stdout.readline() for _ in range(2)] == ["126\n", "126\n"]
    waiting.until(lambda: not alive(command), what="the command's end")
    said = process.communicate(timeout=20)[1]
    assert "hsh: the host agent died, and the command with it" in said
    assert "hsh: the host agent of this container has ended" in said
    assert lines(host("hsh -c 'echo fresh'")) == ["fresh"]


def test_what_a_command_has_started_outlives_a_killed_agent_as_it_does_a_killed_shell(begin, store):
    """Documented: nobody is left who could know whether it was meant to go on."""
    process = begin("hsh -c 'sleep 100 & echo ready $!; wait'; echo $?; read x")
    started = word(process)
    os.kill(only_agent(store), signal.SIGKILL)
    assert process.stdout.readline() == "126\n"
    assert alive(started)
    os.kill(started, signal.SIGKILL)


def test_exec_into_a_kept_container_has_an_agent_of_its_own(store, run_lpmx, busybox_image):
    name = f"t.{os.urandom(4).hex()}"
    run_lpmx("run", "-d", "--name", name, "-m", SH, busybox_image, "sh", "-c",
             "hsh -c 'echo from the start'; exec sleep 100")  # fmt: skip
    try:
        waiting.until(lambda: run_lpmx("logs", name).stdout == "from the start\n", what="the log")
        done = run_lpmx("exec", name, "hsh", "-c", "echo from exec $0", "word")
        assert lines(done) == ["from exec word"]
    finally:
        run_lpmx("rm", "-f", name)
    waiting.until(lambda: not agents(store), what="the agents' end")


def test_plan_without_python_has_the_host_s_environment(run_lpmx, store, busybox_image, tmp_path):
    from lpmx_runtime.native import loader_path

    plan = tmp_path / "plan"
    made = run_lpmx("create", "--plan", plan, "-m", SH, busybox_image, "hsh", "-c", "echo $MINE")
    done = subprocess.run(
        [loader_path(), "--plan", plan], env=clean_environment({"MINE": "host's"}),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "host's\n"
    run_lpmx("rm", made.stdout.strip())


# ---- whose it is


def agent_name(store):
    """The socket of the only agent: what its listening descriptor is in /proc/net/unix."""
    agent = only_agent(store)
    inodes = set()
    for fd in Path(f"/proc/{agent}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(os.readlink(fd))
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if f"socket:[{fields[6]}]" in inodes and fields[-1].startswith("@lpmx-"):
            return fields[-1]
    raise AssertionError("no socket")


KNOCK = """
import socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(10)
s.connect("\\0" + sys.argv[1][1:])
try:
    s.send(struct.pack("ii", 0, 0))
    print("answer", s.recv(100))
except (BrokenPipeError, ConnectionResetError):
    print("answer", b"")
"""


@pytest.mark.needs_root
def test_another_user_is_turned_away(begin, store):
    process = begin("echo ready $$; read x; exec sleep 100 < /dev/zero")
    word(process)
    name = agent_name(store)
    other = users.user_command([users.SYSTEM_PYTHON, "-c", KNOCK, name])
    users.ensure_user()
    done = subprocess.run(other, capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout == "answer b''\n"
    assert agents(store), "and the agent is none the worse for it"


@pytest.mark.parametrize("data", [b"", b"x", b"\0" * 8, b"\xff" * 8, b"\2" + b"\0" * 7])
def test_agent_survives_nonsense(begin, store, data):
    process = begin("echo ready $$; read x; hsh -c 'echo well'")
    word(process)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as knock:
        knock.settimeout(10)
        knock.connect("\0" + agent_name(store)[1:])
        with contextlib.suppress(BrokenPipeError):
            knock.send(data)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "well\n"


HEAD = "<5I 2I 2I 3i 2I 4x 2Q 32Q 1024s"  # struct agent_request of preload/agent/protocol.h


def request(size, *, argc=1, argv=0, n_fds=0, fds=0, command=0):
    """The start of a request; what an honest one would say of it is in the default values."""
    end = struct.calcsize(HEAD)
    return struct.pack(
        HEAD, size, argc, argv or end, 0, end, n_fds, fds or end, command or end, end + 5, 0, 0, 0,
        0, 0, 0, 0, *[2**64 - 1] * 32, b"",
    )  # fmt: skip


SIZE = struct.calcsize(HEAD)
HOSTILE = {
    "nothing": b"",
    "short": b"\0" * 100,
    "noise": bytes(range(256)) * 16,
    "no arguments": request(SIZE + 8, argc=0) + b"true\0\0\0\0",
    "more arguments than there are": request(SIZE + 8, argc=100) + b"true\0\0\0\0",
    "arguments elsewhere": request(SIZE + 8, argv=1 << 31) + b"true\0\0\0\0",
    "no end": request(SIZE + 8) + b"aaaaaaaa",
    "descriptors elsewhere": request(SIZE + 8, n_fds=1 << 30, fds=4) + b"true\0\0\0\0",
    "another size": request(SIZE + 9) + b"true\0\0\0\0",
    "no command": request(SIZE + 8) + b"\0" * 8,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_agent_survives_hostile_requests(begin, store, data):
    process = begin("echo ready $$; read x; hsh -c 'echo well'")
    word(process)
    memory = os.memfd_create("request")
    os.write(memory, data)
    folder = os.open("/", os.O_PATH)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as knock:
        knock.settimeout(10)
        knock.connect("\0" + agent_name(store)[1:])
        socket.send_fds(knock, [struct.pack("ii", 0, 0)], [memory, folder])
        assert knock.recv(100) == b"", "refused"
    os.close(memory)
    os.close(folder)
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "well\n"


def test_request_of_this_page_is_what_the_agent_takes(begin, store):
    """Else the hostile ones would be refused for the wrong reason."""
    process = begin("echo ready $$; exec sleep 100")
    word(process)
    memory = os.memfd_create("request")
    os.write(memory, request(SIZE + 8) + b"true\0\0\0\0")
    folder = os.open("/", os.O_PATH)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as knock:
        knock.settimeout(10)
        knock.connect("\0" + agent_name(store)[1:])
        socket.send_fds(knock, [struct.pack("ii", 0, 0)], [memory, folder])
        assert struct.unpack("ii", knock.recv(100))[0] == 3, "AGENT_STARTED"
        assert struct.unpack("ii", knock.recv(100)) == (6, 0), "AGENT_ENDED, well"
