"""A first program that is there and cannot be started: the message says what it lacks."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MACHINE_AT = 18  # bytes into an ELF file
MUSL = "/lib/ld-musl-x86_64.so.1"
GLIBC = "/lib64/ld-linux-x86-64.so.2"


@pytest.fixture
def build(tmp_path: Path) -> Callable[[str], Path]:
    """build(INTERPRETER): a program of this machine with that ELF interpreter."""
    source = tmp_path / "main.c"
    source.write_text("int main(void) { return 7; }\n")
    (tmp_path / "cwd").mkdir()

    def compile_with(interpreter: str) -> Path:
        program = tmp_path / "cwd" / "tool"
        option = f"-Wl,--dynamic-linker={interpreter}"
        subprocess.run(["cc", "-o", program, option, source], check=True)
        return program

    return compile_with


@pytest.fixture
def told(run_lpmx, busybox_image):
    """told(COMMAND..., [options=]): the words and the status of a start that fails."""

    def start(*command, options=(), image=busybox_image):
        done = run_lpmx("run", *options, image, *command, check=False)
        again = run_lpmx("run", "-d", *options, image, *command, check=False)
        assert done.stdout == ""
        assert again.stderr == done.stderr, "also where nobody waits"
        return done.stderr.splitlines(), done.returncode

    return start


def test_missing_elf_interpreter_is_named(build, told):
    program = build(GLIBC)
    lines, status = told("./tool")
    assert lines[0] == f"lpmx: ./tool: needs {GLIBC}, which the container does not have"
    assert "C library" in lines[1]
    assert (status, len(lines)) == (127, 2)
    lines, status = told("tool", options=["-e", f"PATH=/bin:{program.parent}"])
    assert lines[0].startswith(f"lpmx: {program}: needs {GLIBC}, which")
    assert status == 127


def test_the_other_c_library_is_told(build, told, image):
    program = build(MUSL)
    lines, _ = told(program, image=image("demo"))
    assert lines[0] == f"lpmx: {program}: needs {MUSL}, which the container does not have"
    assert "built for musl, and this image has glibc" in lines[1]


def test_program_of_another_machine_is_told(build, told):
    program = build(GLIBC)
    data = bytearray(program.read_bytes())
    data[MACHINE_AT] = 0xB7
    program.write_bytes(data)
    lines, status = told(program)
    assert lines[0] == f"lpmx: {program}: a program for aarch64 (ARM)"
    assert status == 126


def test_missing_interpreter_of_a_script_is_named(tmp_path, told):
    script = tmp_path / "cwd" / "script"
    script.parent.mkdir()
    for text, words in (
        ("#!/usr/bin/perl -w\n", "needs /usr/bin/perl, which the container does not have"),
        ("#!/bin/sh\r\necho\r\n", "its first line ends with a carriage return"),
        ("#!/no\x1b[1m\n", "needs /no\\x1b[1m, which the container does not have"),
    ):
        script.write_text(text)
        script.chmod(0o755)
        lines, status = told(script)
        assert lines[0] == f"lpmx: {script}: {words}"
        assert (status, len(lines)) == (127, 2)


def test_what_a_command_of_another_image_lacks_is_told(build, told, busybox_image, run_lpmx):
    program = build(GLIBC)
    target = f"tool=image:{busybox_image}:{program}"
    done = run_lpmx("run", "-m", target, busybox_image, "tool", check=False)
    assert f"lpmx: {program}: needs {GLIBC}, which" in done.stderr
    assert done.returncode == 127


def test_programs_inside_get_the_kernel_s_answer(build, run_lpmx, busybox_image):
    build(GLIBC)
    done = run_lpmx("run", busybox_image, "sh", "-c", "./tool; echo $?", check=False)
    assert done.stdout == "127\n"
    assert done.stderr == "sh: ./tool: not found\n"
