"""The exec map as values: -m, keys, and the way to disk and back."""

from __future__ import annotations

import json

import pytest

from lpmx_runtime.errors import UsageError
from lpmx_runtime.plans.execmap import (
    Environment,
    EnvironmentTarget,
    ExecMap,
    HostTarget,
    ImageTarget,
    Mapping,
    parse_mapping,
)
from lpmx_runtime.plans.plan import Bind


def load(file):
    return Environment(file, "lab/tools")


@pytest.mark.parametrize(
    ("text", "key", "target"),
    [
        ("qstat=host", "qstat", HostTarget()),
        ("qstat=host:qselect", "qstat", HostTarget("qselect")),
        ("qstat=host:/opt/sge/bin/qstat", "qstat", HostTarget("/opt/sge/bin/qstat")),
        (r"q=host:/opt/a\:b/q", "q", HostTarget("/opt/a:b/q")),
        ("bwa=image:quay.io/x/bwa:1", "bwa", ImageTarget("quay.io/x/bwa:1")),
        ("bwa=image:quay.io/x/bwa:1:/b/bwa", "bwa", ImageTarget("quay.io/x/bwa:1", "/b/bwa")),
        ("bwa=image:localhost:5000/bwa:1", "bwa", ImageTarget("localhost:5000/bwa:1")),
        ("b=image:r:5000/bwa:1:/u/b", "b", ImageTarget("r:5000/bwa:1", "/u/b")),
        ("/opt/old/mm2=image:mm2:/usr/bin/mm2", "/opt/old/mm2", ImageTarget("mm2", "/usr/bin/mm2")),
        ("samtools=env:./s.yaml", "samtools", EnvironmentTarget(load("./s.yaml"))),
        ("st=env:/a/s.yaml:samtools", "st", EnvironmentTarget(load("/a/s.yaml"), "samtools")),
        (r"st=env:a\:b.yaml:/x/y", "st", EnvironmentTarget(load("a:b.yaml"), "/x/y")),
    ],
)
def test_option_names_a_command_and_a_target(text, key, target):
    mapping = parse_mapping(text, load)
    assert (mapping.key, mapping.target) == (key, target)
    assert parse_mapping(str(mapping), load) == mapping


@pytest.mark.parametrize(
    "text",
    ["bwa", "=host", "bwa=", "bwa=bwa:1", "bwa=host:", "bwa=image:", "bwa=image", "bwa=image::/x",
     "bwa=env:", "bwa=env::x", "bwa=env:f:", "bwa=env:f:a:b"],
)  # fmt: skip
def test_malformed_option_shows_the_forms_there_are(text):
    with pytest.raises(UsageError, match="not of a known form") as caught:
        parse_mapping(text, load)
    assert "NAME=host" in (caught.value.hint or "")


@pytest.mark.parametrize("key", [".", "..", "a/b", "/", "/a/../b", "/a/", "//a", "", "a\0", "/a\0"])
def test_key_is_a_bare_name_or_a_plain_path(key):
    with pytest.raises(UsageError, match="command"):
        Mapping(key, HostTarget())


@pytest.mark.parametrize(
    "target",
    [HostTarget("bin/x"), HostTarget("/x/"), ImageTarget("i", "x"), ImageTarget("", "/x"),
     EnvironmentTarget(load("f"), "a/b")],
)  # fmt: skip
def test_target_is_a_name_or_an_absolute_path(target):
    with pytest.raises(UsageError, match="command x"):
        Mapping("x", target)


def test_later_mapping_of_a_key_replaces_the_earlier():
    first, second = Mapping("a", HostTarget()), Mapping("a", ImageTarget("i"))
    other = Mapping("b", HostTarget())
    assert tuple(ExecMap((first, other)) + ExecMap((second,))) == (second, other)
    assert ExecMap((first, second)).get("a") == second
    assert ExecMap((first,)).get("b") is None


def test_map_survives_its_way_to_disk():
    inner = Environment(
        "s.yaml", "lab/s", {"A": "1"}, (Bind("/data", "/d", read_only=True),),
        ExecMap((Mapping("sort", ImageTarget("lab/sort", "/usr/bin/sort")),)),
    )  # fmt: skip
    commands = ExecMap(
        (
            Mapping("s", EnvironmentTarget(inner, "samtools"), {"X": "y"}, cwd="/"),
            Mapping("/opt/q", HostTarget("q", ("Q_*",), translate=True)),
            Mapping("b", ImageTarget("lab/b")),
        )
    )
    assert ExecMap.from_list(json.loads(json.dumps(commands.as_list()))) == commands
