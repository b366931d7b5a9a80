"""Kernels of images without ipykernel: a payload shown to their Python, or their shell."""

from __future__ import annotations

import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.jupyter import READY, Jupyter, Session, containers, hide_modules, wait_until

from lpmx_kernels.life import processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.lpmx import Lpmx

CHILD = "__import__('subprocess').run(['python3', '-c', {!r}], capture_output=True, text=True)"


@pytest.fixture
def shell(
    bare_jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str]
) -> Session:
    bare_jupyter.lpmx("kernel", "install", image("biocontainer"), "--name", "bio")
    return start("bio")


def output(kernel: Session, code: str) -> list[tuple[str, str]]:
    """What a cell writes to which stream, or its error."""
    found: list[tuple[str, str]] = []

    def collect(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            before = found.pop()[1] if found and found[-1][0] == content["name"] else ""
            found.append((content["name"], before + content["text"]))
        elif message["msg_type"] == "error":
            found.append((content["ename"], content["evalue"]))

    kernel.client.execute_interactive(code, output_hook=collect, stop_on_error=False, timeout=READY)
    return found


# --- payload


def test_missing_payload_is_a_message_with_the_command(
    empty_store: Lpmx, archive: Callable[[str], os.PathLike[str]]
) -> None:
    empty_store("load", archive("tools"))
    done = empty_store("kernel", "install", "lpmx-test/tools", check=False)
    assert done.returncode == 1
    assert "has no ipykernel, and the store has no kernel payload for cp3" in done.stderr
    assert "`lpmx kernel payload build lpmx-test/tools:latest` makes it" in done.stderr


def test_payload_kernel_runs_in_the_image_and_leaks_nothing(
    bare_jupyter: Jupyter, start: Callable[..., Session], payload_image: str
) -> None:
    done = bare_jupyter.lpmx("kernel", "install", payload_image, "--name", "tools")
    assert "kernel     payload: ipykernel" in done.stdout
    kernel = start("tools")
    assert kernel.value("open('/etc/lpmx-image').read()") == "tools\n"
    assert kernel.value("__import__('ipykernel').__file__").startswith("/run/lpmx-kernel/")
    path = kernel.value("__import__('sys').path")
    assert path[0] == "/run/lpmx-kernel/site"
    child = kernel.value(
        CHILD.format("import os, sys; print(sys.path, dict(os.environ))") + ".stdout"
    )
    assert "lpmx-kernel" not in child
    assert "matplotlib" not in child
    assert "No module named 'ipykernel'" in kernel.value(
        CHILD.format("import ipykernel") + ".stderr"
    )
    assert "Read-only" in kernel.run("open('/run/lpmx-kernel/site/x', 'w')")
    kernel.restart()
    assert kernel.value("1+1") == 2


STATS = """
import os
def look(path, how):
    try:
        return how(path).st_ino
    except OSError as error:
        return error.errno
paths = [f"/run/lpmx-kernel/{name}" for name in NAMES]
# Often, so that the fast path is taken, and by a path relative to an open directory.
found = [[look(path, how) for _ in range(20)] for path in paths for how in (os.stat, os.lstat)]
assert all(len(set(each)) == 1 for each in found), found
folder = os.open("/run/lpmx-kernel", os.O_RDONLY)
found += [[look(name, lambda each: os.stat(each, dir_fd=folder))] for name in NAMES]
print([each[0] for each in found])
"""


def test_files_of_a_payload_are_those_of_the_store(
    bare_jupyter: Jupyter, start: Callable[..., Session], payload_image: str
) -> None:
    bare_jupyter.lpmx("kernel", "install", payload_image, "--name", "tools")
    config = bare_jupyter.spec("tools")["metadata"]["kernel_provisioner"]["config"]
    place = bare_jupyter.store.home / "payloads" / config["payload"]
    names = ["start.py", "site", "site/ipykernel/kernelapp.py", "site/IPython/../IPython",
             "site//IPython", "site/nothing", "site/nothing/x", "start.py/x"]  # fmt: skip

    def look(name: str) -> int:
        try:
            return (place / name).stat().st_ino
        except OSError as error:
            return error.errno or 0

    expected = [look(name) for name in names]
    printed = start("tools").run(f"NAMES = {names}\n{STATS}")
    assert json.loads(printed) == [n for n in expected for _ in range(2)] + expected


def test_payload_is_compiled_and_never_compiled_again(
    bare_jupyter: Jupyter, start: Callable[..., Session], payload_image: str
) -> None:
    bare_jupyter.lpmx(
        "kernel", "install", payload_image, "--name", "tools", "-e", "PYTHONVERBOSE=1"
    )
    kernel = start("tools")
    log = bare_jupyter.lpmx("kernel", "logs", "tools").stdout
    matched = [
        line for line in log.splitlines() if "lpmx-kernel/site" in line and "matches" in line
    ]
    assert len(matched) > 100, log[-2000:]
    assert re.findall(r"code object from '(/run/lpmx-kernel/site[^']*\.py)'", log) == []
    kernel.end()


def test_inline_plots_need_no_variable_that_children_would_see(
    bare_jupyter: Jupyter, start: Callable[..., Session], payload_image: str
) -> None:
    bare_jupyter.lpmx("kernel", "install", payload_image, "--name", "tools")
    kernel = start("tools")
    kernel.run("""
import os
os.makedirs("matplotlib", exist_ok=True)
open("matplotlib/__init__.py", "w").write("import os; seen = os.environ.get('MPLBACKEND')")
""")
    assert kernel.value("__import__('matplotlib').seen").endswith("backend_inline")
    assert kernel.value("__import__('os').environ.get('MPLBACKEND')") is None


def test_payloads_are_listed_and_outlive_gc(store: Lpmx, payload_image: str) -> None:
    store("gc")
    payloads = json.loads(store("kernel", "payload", "list", "--json").stdout)
    # The store is the session's: tests of other Pythons have left theirs.
    (listed,) = [each for each in payloads if (each["tag"], each["libc"]) == ("cp311", "glibc")]
    assert listed["packages"]["ipykernel"]
    assert "jedi" not in listed["packages"]
    assert listed["id"] in store("kernel", "payload", "list").stdout


@pytest.mark.long
def test_payload_is_built_from_a_folder_of_wheels_alone(
    empty_store: Lpmx, archive: Callable[[str], os.PathLike[str]], tmp_path: Any
) -> None:
    import subprocess
    import sys

    platforms = [f"--platform=manylinux_2_{n}_x86_64" for n in (34, 28, 26, 17)]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", *platforms,
         "--python-version", "3.11", "-d", str(tmp_path / "wheels"), "ipykernel", "pip"],
        check=True,
    )  # fmt: skip
    empty_store("load", archive("tools"))
    without = {"PIP_INDEX_URL": "file:///no/where", "PIP_NO_CACHE_DIR": "1"}
    build = ("kernel", "payload", "build", "lpmx-test/tools")
    done = empty_store(*build, "--wheels", str(tmp_path / "wheels"), env=without)
    assert "holds      ipykernel" in done.stdout
    failed = empty_store(*build, "--wheels", str(tmp_path), env=without, check=False)
    assert failed.returncode == 1
    assert "ipykernel" in failed.stderr


# --- shell


def test_cells_of_a_shell_kernel_share_a_shell_in_the_image(shell: Session) -> None:
    assert output(shell, "read -r image < /etc/lpmx-image; cd /usr/local; x=5") == []
    assert output(shell, "echo $image $PWD $x") == [("stdout", "biocontainer /usr/local 5\n")]
    found = output(shell, "greet >/dev/null; echo one >&2; echo two")
    assert sorted(found) == [("stderr", "one\n"), ("stdout", "two\n")]
    assert output(shell, "for i in 1 2; do\n  echo $i\ndone\ncat") == [("stdout", "1\n2\n")]
    assert output(shell, "echo ${LPMX_KERNEL:+set} ${PYTHONPATH-unset}")[0][1] == "set unset\n"


def test_status_of_a_cell_is_its_error(shell: Session) -> None:
    assert output(shell, "(exit 3)") == [("ExitStatus", "3")]
    found = output(shell, "if then fi")
    assert found[0][1].startswith("bash: cell-")
    assert found[-1] == ("ExitStatus", "2")
    assert output(shell, "return 0; echo no") == []
    (lost,) = output(shell, "x=1; exit 4")
    assert lost[0] == "ShellEnded"
    assert "status 4" in lost[1]
    assert output(shell, "echo ${x-gone}") == [("stdout", "gone\n")]
    assert output(shell, "PS1='mine> '; set -u") == []
    assert output(shell, "echo on") == [("stdout", "on\n")]


def test_interrupt_stops_a_cell_and_its_program_and_keeps_the_shell(shell: Session) -> None:
    output(shell, "x=kept")
    request = shell.start_busy_shell("busybox sleep 600; echo not reached")
    shell.manager.interrupt_kernel()
    assert shell.reply(request)["ename"] == "KeyboardInterrupt"
    assert output(shell, "echo $x") == [("stdout", "kept\n")]
    wait_until(lambda: len(processes.find(shell.marker)) == 2, "kernel and shell alone are left")


def test_shell_completes_and_knows_unfinished_code(shell: Session) -> None:
    def matches(code: str) -> list[str]:
        content = shell.client.complete(code, len(code), reply=True, timeout=READY)["content"]
        return list(content["matches"])

    assert "/etc/lpmx-image" in matches("cat /etc/lpmx-im")
    assert "/usr/" in matches("ls /us")
    output(shell, "some_variable=1; some_function() { :; }")
    assert "$some_variable" in matches("echo $some_v")
    assert "some_function" in matches("some_f")
    assert matches("no-such-th") == []


def test_end_of_a_shell_kernel_leaves_nothing(bare_jupyter: Jupyter, shell: Session) -> None:
    output(shell, "busybox setsid busybox sleep 600 & busybox sleep 600 &")
    wait_until(lambda: len(processes.find(shell.marker)) >= 4, "the jobs run")
    shell.end()
    assert processes.find(shell.marker) == []
    assert containers(bare_jupyter) == []


def test_shell_that_cannot_start_says_why(
    bare_jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str]
) -> None:
    bare_jupyter.lpmx("kernel", "install", image("biocontainer"), "--name", "bio")
    bare_jupyter.change_stanza("bio", command=["/bin/no-shell", "-i"])
    begin = time.monotonic()
    with pytest.raises(Exception, match=r"(?s)did not start.*no-shell"):
        start("bio")
    assert time.monotonic() - begin < 30
    examined = bare_jupyter.lpmx("kernel", "doctor", "bio", check=False)
    assert "(x) start" in examined.stdout


def test_modules_beside_the_notebook_are_not_the_shell_kernels(
    bare_jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str]
) -> None:
    hide_modules()
    bare_jupyter.lpmx("kernel", "install", image("biocontainer"), "--name", "bio")
    shell = start("bio")
    assert output(shell, "echo *.py") == [("stdout", "json.py psutil.py\n")]


def test_musl_image_has_a_shell_kernel_too(
    bare_jupyter: Jupyter, image: Callable[[str], str]
) -> None:
    bare_jupyter.lpmx("kernel", "install", image("musl"), "--name", "musl")
    assert "1+1 = 2" in bare_jupyter.lpmx("kernel", "doctor", "musl").stdout


# --- installation


def test_install_is_idempotent_and_plain_needs_no_provisioner(
    bare_jupyter: Jupyter, image: Callable[[str], str]
) -> None:
    arguments = ("kernel", "install", image("demo"), "--name", "demo")
    first = bare_jupyter.lpmx(*arguments)
    spec = bare_jupyter.spec("demo")
    assert bare_jupyter.lpmx(*arguments).stdout == first.stdout
    assert bare_jupyter.spec("demo") == spec
    bare_jupyter.lpmx(*arguments, "--plain")
    assert "kernel_provisioner" not in bare_jupyter.spec("demo")["metadata"]
    done = bare_jupyter.lpmx("kernel", "doctor", "demo")
    assert "provisioner: none (--plain)" in done.stdout
    assert "1+1 = 2" in done.stdout


def test_sync_makes_kernels_of_images_and_removes_those_of_gone_ones(
    bare_jupyter: Jupyter, image: Callable[[str], str]
) -> None:
    image("demo"), image("musl"), image("biocontainer")
    bare_jupyter.lpmx("kernel", "install", image("musl"), "--display-name", "By hand")
    done = bare_jupyter.lpmx("kernel", "sync", "*/musl:*", "*/biocontainer:*")
    assert "kernel biocontainer: lpmx-test/biocontainer:latest, shell" in done.stdout
    assert "the kernel musl is there already" in done.stdout
    assert bare_jupyter.spec("musl")["display_name"] == "By hand"
    spec = bare_jupyter.spec("biocontainer")
    spec["metadata"]["kernel_provisioner"]["config"]["image"] = "lab/gone:latest"
    (bare_jupyter.kernels / "biocontainer" / "kernel.json").write_text(json.dumps(spec))
    done = bare_jupyter.lpmx("kernel", "sync", "no-such-image")
    assert "kernel biocontainer removed" in done.stdout
    assert sorted(os.listdir(bare_jupyter.kernels)) == ["musl"]


def test_reset_forgets_what_was_kept(
    bare_jupyter: Jupyter, start: Callable[..., Session], image: Callable[[str], str]
) -> None:
    name = ("kernel", "install", image("musl"), "--name", "kept")
    bare_jupyter.lpmx(*name)
    refused = bare_jupyter.lpmx("kernel", "reset", "kept", check=False)
    assert refused.returncode == 2
    assert "keeps nothing" in refused.stderr
    bare_jupyter.lpmx(*name, "--persist", "kept-by-test")
    first = start("kept")
    output(first, "echo here > /srv-file")
    busy = bare_jupyter.lpmx("kernel", "reset", "kept", check=False)
    assert "in use" in busy.stderr
    first.end()
    second = start("kept")
    assert output(second, "cat /srv-file") == [("stdout", "here\n")]
    second.end()
    assert "begins afresh" in bare_jupyter.lpmx("kernel", "reset", "kept").stdout
    third = start("kept")
    assert output(third, "test -e /srv-file || echo gone") == [("stdout", "gone\n")]
    third.end()
    bare_jupyter.lpmx("kernel", "reset", "kept")
