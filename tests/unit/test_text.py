"""Text of strangers: whatever it holds, a terminal gets nothing to obey and no line is forged."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import mkimage as mk

from lpmx_runtime import text
from lpmx_runtime.doctor.finding import Finding
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.store.image import Image, parse_config

if TYPE_CHECKING:
    from pathlib import Path

ANY = st.text(st.characters(codec=None, exclude_categories=[]))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("plain é 漢字", "plain é 漢字"),
        ("\x1b]0;x\x07", "\\x1b]0;x\\x07"),
        ("a\nlpmx: b\r\tc", "a\\nlpmx: b\\r\\tc"),
        ("\x9b2J\x7f", "\\x9b2J\\u007f"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
        ("\udcff", "\\xff"),
        (b"\xff\x1b", "\\xff\\x1b"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_is_not_printable_is_shown_as_an_escape(given: str | bytes, expected: str) -> None:
    assert text.shown(given) == expected


@given(ANY)
def test_shown_text_is_one_printable_line(anything: str) -> None:
    assert text.shown(anything).isprintable()
    assert set(filter(lambda c: not c.isprintable(), text.printable(anything))) <= {"\n", "\t"}
    text.shown(anything).encode()  # no surrogate is left


@given(ANY, st.sampled_from(["ascii", "latin-1", "utf-8"]))
def test_guard_writes_anything_to_any_locale(anything: str, encoding: str) -> None:
    below = io.BytesIO()
    stream = io.TextIOWrapper(below, encoding=encoding)
    guard = text.Guard(stream)
    assert guard.write(anything) == len(anything)
    guard.flush()
    written = below.getvalue().decode(encoding)
    assert set(filter(lambda c: not c.isprintable(), written)) <= {"\n", "\t"}


def test_guard_leaves_json_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    below = io.StringIO()
    monkeypatch.setattr(sys, "stdout", below)
    text.guard_output()
    text.guard_output()  # twice is once
    value = {"".join(map(chr, range(0x20))): "\x7f\x9b\u202e\udcff\ud800"}
    print(json.dumps(value, indent=1))
    assert json.loads(below.getvalue()) == value
    text.raw(sys.stdout).write("\r\x1b[K")
    assert below.getvalue().endswith("\r\x1b[K")


def test_errors_are_a_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    text.say_error("lpmx", LpmxError("x\nlpmx: y\x1b", hint="do\nthat"))
    assert capsys.readouterr().err == "lpmx: x\\nlpmx: y\\x1b\n  (do\\nthat)\n"


def test_no_line_of_a_finding_looks_like_another() -> None:
    finding = Finding("x", "problem", "a\n(v) forged", "do\n(v) that")
    assert str(finding) == "(x) x: a\n    (v) forged\n    do\n    (v) that"


def test_half_a_character_in_a_configuration_is_replaced(tmp_path: Path) -> None:
    config = {"Env": ["A=\ud800", "B=1"], "Labels": {"k\udfff": "\ud83d\ude00"}, "Cmd": ["x"]}
    spec = mk.Spec("surr:1", [mk.layer(mk.file("a"))], config)
    assert b"\\ud800" in spec.raw_config
    parsed, diff_ids = parse_config(spec.raw_config)
    image = Image("1" * 64, (), diff_ids, "2" * 64, parsed, 0)
    assert image.env == {"A": "\ufffd", "B": "1"}
    assert image.labels == {"k\ufffd": "\U0001f600"}
    bytes_ = spec.raw_config.replace(b"B=1", b"B=\xff")
    assert Image("1" * 64, (), diff_ids, "2" * 64, parse_config(bytes_)[0], 0).env["B"] == "\ufffd"


def test_an_image_sets_no_variable_of_the_engine() -> None:
    config = {
        "config": {"Env": ["LPMX_HOST:LD_PRELOAD=/x", "LPMX_EXEC=1", "LPMX_CALLER_A=1", "A=1"]}
    }
    assert Image("1" * 64, (), (), "2" * 64, config, 0).env == {"A": "1"}
