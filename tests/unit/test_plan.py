"""The compiled plan is what preload/engine/plan.h says, and nothing senseless is compiled."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from lpmx_runtime.errors import LpmxError
from lpmx_runtime.plans.plan import (
    ENGINES,
    Bind,
    Identity,
    LaunchPlan,
    PlanCommand,
    PlanError,
    compile_plan,
    parse_plan,
)

PLAN = LaunchPlan(
    loader="/usr/lib/lpmx/lpmx-exec",
    view="/store/views/ab.view",
    layers=("/store/layers/aa/fs", "/store/layers/bb/fs"),
    stores=("/store/layers",),
    argv=("sh", "-c", "echo \udcff", ""),
    env=("PATH=/bin", "EMPTY=", "EQUALS=a=b"),
    binds=(
        Bind("/proc", "/proc", proc=True),
        Bind("/data/x", "/x", read_only=True),
        Bind("/c/seed/passwd", "/etc/passwd", file=True, seed=True),
        Bind("/data/p", "/p", read_only=True, no_links=True),
    ),
    upper="/store/containers/1/upper",
    work="/store/containers/1/work",
    dirty="/store/containers/1/dirty",
    cwd="/x/y",
    container="0123456789ab",
    identity=Identity(1000, 100, (100, 27)),
    read_only=True,
    clear_env=True,
    engine="trap",
    commands=(
        PlanCommand("/.lpmx/bin/q", "q", "the host", "/opt/q", translate=True, env_names=("Q_*",)),
        PlanCommand("/o/b", "/o/b", "image b", "/u/b", plan="/p", cwd="/x", env=("A=1", "B=2")),
    ),
    agent=True,
    ports=((8888, 40001),),
)


def test_plan_survives_compiling_and_parsing():
    assert parse_plan(compile_plan(PLAN)) == PLAN
    assert parse_plan(compile_plan(replace(PLAN, identity=None))).identity is None
    for engine in ENGINES:
        assert parse_plan(compile_plan(replace(PLAN, engine=engine))).engine == engine


def test_header_is_laid_out_as_in_plan_h():
    data = compile_plan(PLAN)
    magic, version, size, flags, uid, gid = struct.unpack_from("<8s5I", data)
    assert (magic, version, size) == (b"LPMXPLAN", 3, len(data))
    assert flags == 1 | 2 | 4 | 8 | 64, "READ_ONLY, IDENTITY, CLEAR_ENV, TRAP, AGENT"
    assert (uid, gid) == (1000, 100)
    groups, n_groups = struct.unpack_from("<2I", data, 28)
    assert struct.unpack_from("<2I", data, groups) == (100, 27)
    assert n_groups == 2


def test_strings_end_in_nul_and_tables_are_aligned():
    data = compile_plan(PLAN)
    pairs = struct.unpack_from("<30I", data, 28)
    loader, length = pairs[2:4]
    assert data[loader : loader + length + 1] == b"/usr/lib/lpmx/lpmx-exec\0"
    for table in (0, 12, 14, 16, 18, 20):
        assert pairs[table] % 4 == 0, f"table {table // 2} at {pairs[table]}"
    binds, count = pairs[16:18]
    assert count == 4
    rows = [struct.unpack_from("<5I", data, binds + 20 * row) for row in range(4)]
    assert [row[4] for row in rows] == [4, 1, 2 | 8, 1 | 128]
    dst, dst_len, src, src_len, _ = rows[1]
    assert (data[dst : dst + dst_len], data[src : src + src_len]) == (b"/x", b"/data/x")


def test_absent_strings_have_length_zero():
    data = compile_plan(replace(PLAN, upper="", work="", dirty=""))
    pairs = struct.unpack_from("<30I", data, 28)
    for field in (6, 8, 10):
        offset, length = pairs[field : field + 2]
        assert length == 0
        assert data[offset] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loader": "lpmx-exec"}, "not an absolute path"),
        ({"cwd": "x"}, "not an absolute path"),
        ({"layers": ("x",)}, "not an absolute path"),
        ({"binds": (Bind("/a", "b"),)}, "not an absolute path"),
        ({"binds": (Bind("/a", "/b"), Bind("/c", "/b"))}, "two binds at /b"),
        ({"cwd": "/" + "x" * 4096}, "longer than 4095 bytes"),
        ({"env": ("NOVALUE",)}, "not NAME=VALUE"),
        ({"argv": ("a\0b",)}, "NUL"),
        ({"argv": ("",)}, "empty"),
        ({"work": ""}, "needs a work directory"),
        ({"identity": Identity(-1, 0)}, "not a user or group id"),
        ({"identity": Identity(0, 0xFFFFFFFF)}, "not a user or group id"),
    ],
)
def test_senseless_plans_are_refused(change, message):
    with pytest.raises(LpmxError, match=message):
        compile_plan(replace(PLAN, **change))


def test_damaged_plan_files_are_refused():
    data = compile_plan(PLAN)
    for damaged in (b"", data[:100], data[:-1], b"X" + data[1:], data[:8] + b"\x7f" + data[9:]):
        with pytest.raises(PlanError):
            parse_plan(damaged)


def test_description_names_what_matters():
    text = PLAN.describe()
    for word in ("sh -c", "/data/x:/x:ro", "uid=1000 gid=100 groups=100,27", "/store/layers/bb/fs"):
        assert word in text
