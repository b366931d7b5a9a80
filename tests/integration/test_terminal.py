"""Signals and terminals: a program is interrupted, stopped and resumed as a plain one is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pexpect
import pytest
from support import waiting
from support.lpmx import clean_environment

LOOP = "echo ready $$; i=0; while [ $i -lt 400 ]; do sleep 0.05; i=$((i+1)); done"
HANDLER = "trap 'echo got {0}' {0}; " + LOOP
COUNT = "trap 'n=$((n+1)); echo got $n' {0}; " + LOOP


@pytest.fixture
def env(store):
    return clean_environment({**store.environment(), "PS1": "prompt> ", "TERM": "dumb"})


@pytest.fixture(params=["ephemeral", "named"])
def command(request, store, busybox_image, run_lpmx):
    """The two ways to run: watched over by lpmx, and in place of it."""
    name = f"t.{os.urandom(4).hex()}"
    options = ["--name", name] if request.param == "named" else []
    yield [*store.command, "run", *options, busybox_image, "sh", "-c"]
    run_lpmx("rm", "-f", name)


def start(command, script, env, **options):
    pipes = {"stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, script], env=env, **pipes, **options)


def end(process):
    process.kill()
    process.communicate(timeout=20)


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "USR1", "USR2", "QUIT"])
def test_signal_to_lpmx_reaches_the_program(command, env, name):
    process = start(command, HANDLER.format(name), env)
    assert process.stdout.readline().startswith("ready")
    process.send_signal(getattr(signal, f"SIG{name}"))
    assert process.stdout.readline() == f"got {name}\n"
    end(process)


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "USR1"])
def test_signal_that_kills_the_program_is_lpmx_s_end_too(command, env, name):
    process = start(command, "echo ready; exec sleep 100", env)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, f"SIG{name}"))
    process.communicate(timeout=20)
    assert process.returncode == -getattr(signal, f"SIG{name}")


def test_signal_to_the_group_reaches_the_program_once(command, env):
    """As a batch system sends it; here lpmx does not lead the group."""
    if sys.stdin.isatty() or _has_terminal():
        pytest.skip("with a terminal lpmx has to stay in the group")
    shell = ["sh", "-c", 'trap : USR1; "$@" & wait; wait', "sh", *command, COUNT.format("USR1")]
    process = subprocess.Popen(
        shell, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    pid = int(process.stdout.readline().split()[1])
    os.killpg(process.pid, signal.SIGUSR1)
    assert process.stdout.readline() == "got 1\n"
    os.kill(pid, signal.SIGUSR1)
    assert process.stdout.readline() == "got 2\n"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)


def _has_terminal():
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY))
    except OSError:
        return False
    return True


def test_ignored_signals_stay_ignored(command, env):
    ignored = ["sh", "-c", "trap '' HUP TERM; exec \"$@\"", "sh"]
    process = start(
        [*ignored, *command], "echo ready; read line; echo end", env, stdin=subprocess.PIPE
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.communicate("\n", timeout=20)[0] == "end\n"
    assert process.returncode == 0


def test_broken_pipe_kills_quietly(command, env):
    process = start(command, "trap - PIPE; while :; do echo y; done", env)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=20) == -signal.SIGPIPE


# ---- in a terminal


@pytest.fixture
def shell(env):
    """An interactive shell with job control in a terminal."""
    child = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], env=env, encoding="utf-8", timeout=20, echo=False
    )
    child.expect_exact("prompt> ")
    yield child
    child.close(force=True)


def say(shell, words):
    shell.sendline(" ".join(words) if isinstance(words, list) else words)


def quoted(command, script):
    import shlex

    return shlex.join([*command, script])


def test_program_has_the_terminal(shell, command):
    say(shell, quoted(command, "tty; test -t 0 && test -t 1 && echo both"))
    shell.expect(r"/dev/pts/\d+")
    shell.expect_exact("both")
    shell.expect_exact("prompt> ")


def test_ctrl_c_interrupts_the_program_and_the_shell_goes_on(shell, command):
    say(shell, quoted(command, "echo ready; sleep 100"))
    shell.expect_exact("ready")
    shell.sendintr()
    shell.expect_exact("prompt> ")
    say(shell, "echo status $?")
    shell.expect_exact("status 130")


def test_ctrl_c_may_be_handled_and_comes_once(shell, command):
    script = "trap 'n=$((n+1)); echo got $n' INT; echo ready; read line; read line; echo end $n"
    say(shell, quoted(command, script))
    shell.expect_exact("ready")
    shell.sendintr()
    shell.expect_exact("got 1")
    shell.sendintr()
    shell.expect_exact("got 2")
    say(shell, "x")
    say(shell, "x")
    shell.expect_exact("end 2")
    shell.expect_exact("prompt> ")


def test_ctrl_backslash_quits(shell, command):
    say(shell, quoted(command, "ulimit -c 0; echo ready; exec sleep 100"))
    shell.expect_exact("ready")
    shell.send("\x1c")
    shell.expect_exact("prompt> ")
    say(shell, "echo status $?")
    shell.expect_exact("status 131")


def test_ctrl_z_stops_and_fg_resumes(shell, command):
    say(shell, quoted(command, "echo ready; read line; echo got $line"))
    shell.expect_exact("ready")
    shell.send("\x1a")
    shell.expect("Stopped")
    shell.expect_exact("prompt> ")
    say(shell, "jobs -l")
    shell.expect("Stopped")
    shell.expect_exact("prompt> ")
    say(shell, "fg")
    say(shell, "word")
    shell.expect_exact("got word")
    shell.expect_exact("prompt> ")


def test_background_program_that_reads_is_stopped_until_it_is_brought_back(shell, command):
    say(shell, quoted(command, "echo ready; read line; echo got $line") + " &")
    shell.expect_exact("ready")
    waiting.until(lambda: _stopped(shell), what="the job to stop at its read")
    say(shell, "fg")
    say(shell, "word")
    shell.expect_exact("got word")


def _stopped(shell):
    say(shell, "jobs; echo listed")
    shell.expect_exact("listed")
    found = "Stopped" in shell.before
    shell.expect_exact("prompt> ")
    return found


def test_ctrl_z_in_a_pipeline(shell, command):
    say(shell, "cat | " + quoted(command, "read line; echo got $line; read line; echo then $line"))
    say(shell, "one")
    shell.expect_exact("got one")
    shell.send("\x1a")
    shell.expect("Stopped")
    say(shell, "fg")
    say(shell, "two")
    shell.expect_exact("then two")


def test_window_size_reaches_the_program(shell, command):
    say(shell, quoted(command, "trap 'stty size' WINCH; echo ready; read line; read line"))
    shell.expect_exact("ready")
    shell.setwinsize(33, 77)
    shell.expect_exact("33 77")
    shell.sendintr()
