"""Names of programs that look like the union's marks, and what the upper calls them."""

from __future__ import annotations

import itertools

import pytest

from lpmx_runtime.container.marks import (
    PREFIX,
    escape,
    host_path,
    marks,
    shown_path,
    unescape,
    whiteout,
)

NAMES = [
    b".wh" + bytes(rest) for n in range(4) for rest in itertools.product(b".+=x", repeat=n)
] + [b"x", b".", b"...", b".w", b".whiteout", b".wh\xff"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_comes_back_and_is_no_mark(name: bytes) -> None:
    assert unescape(escape(name)) == name
    assert not escape(name).startswith(PREFIX)


def test_no_two_names_are_one_on_the_disk() -> None:
    assert len({escape(name) for name in NAMES}) == len(set(NAMES))


def test_paths() -> None:
    assert host_path("/up", "/a/.wh.b/.wh+c") == "/up/a/.wh+b/.wh=+c"
    assert shown_path("/up", "/up/a/.wh+b/.wh=+c") == "/a/.wh.b/.wh+c"
    assert (host_path("/up", "/"), shown_path("/up", "/up")) == ("/up", "/")
    assert whiteout("/up", "/.wh.d/f") == "/up/.wh+d/.wh.f"
    assert list(marks("/up", "/d/f")) == [
        "/up/.wh.d", "/up/.wh..wh..opq", "/up/d/.wh.f", "/up/d/.wh..wh..opq",
    ]  # fmt: skip
