"""What a user reads when a kernel does not start, and the logs it comes from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lpmx_kernels.errors import KernelStartError
from lpmx_kernels.life import explain, logs
from lpmx_runtime.errors import LpmxError


def subject(*last_words: str) -> explain.Subject:
    return explain.Subject("Tools (LPMX)", "tools", last_words, Path("/logs/1.log"))


def test_whole_message() -> None:
    text = explain.ended(subject("python3: No module named ipykernel_launcher"), 1)
    assert text.splitlines() == [
        'The kernel "Tools (LPMX)" did not start: it ended with exit status 1 before it was ready',
        "",
        "    python3: No module named ipykernel_launcher",
        "",
        f"What to do: {explain.REMEDIES[0][1]}",
        "Full log: /logs/1.log",
    ]


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("OSError: [Errno 98] Address already in use", "start the kernel again"),
        ("No space left on device", "make room"),
        ("nobody knows", "`lpmx kernel doctor tools`"),
    ],
)
def test_remedies(words: str, remedy: str) -> None:
    assert remedy in explain.ended(subject(words), 1)


def test_unknown_signal_has_a_number() -> None:
    assert "ended by signal 60" in explain.ended(subject(), -60)


def test_error_with_hint_becomes_one_text() -> None:
    error = KernelStartError.of("Tools", LpmxError("x: no such image", hint="load it"))
    assert str(error) == 'The kernel "Tools" cannot start: x: no such image\n\nWhat to do: load it'
    assert KernelStartError.of("Tools", error) is error


def test_tail_is_of_this_start_and_without_what_every_kernel_says(tmp_path: Path) -> None:
    log = tmp_path / "k.log"
    log.write_text("old words\n")
    start = log.stat().st_size
    with log.open("a") as file:
        file.write("WARNING Kernel is running over TCP without encryption. All\n\nreason\n")
    assert logs.tail(log, start=start) == ["reason"]
    assert logs.tail(tmp_path / "none") == []


def test_only_the_last_logs_are_kept(tmp_path: Path) -> None:
    for number in range(logs.KEPT + 3):
        path = logs.new_log(tmp_path, "tools", f"{number:08}-kernel")
        path.write_text(str(number))
        os.utime(path, (number, number))
    kept = [path.read_text() for path in logs.list_logs(tmp_path, "tools")]
    assert kept == [str(number) for number in reversed(range(3, logs.KEPT + 3))]
