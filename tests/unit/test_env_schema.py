"""The schema of environment files: our validator says what the `jsonschema` package says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpmx_runtime.compose.envfile import load_schema
from lpmx_runtime.yamlfile import schema
from lpmx_runtime.yamlfile.source import EnvFileError, parse_source

jsonschema = pytest.importorskip("jsonschema")

GOOD = {
    "name": "variants",
    "image": "quay.io/biocontainers/python:3.11",
    "binds": ["/data/reads:/data:ro", ".", {"source": "/x", "target": "/y", "read_only": True}],
    "env": {"LC_ALL": "C.UTF-8", "N": 3, "FROM_HOST": None},
    "commands": {
        "bwa": {"image": "quay.io/biocontainers/bwa:0.7.17", "path": "/usr/local/bin/bwa"},
        "samtools": {"environment": "./samtools.yaml", "command": "samtools"},
        "/opt/old/minimap2": {"image": "lab/minimap2-2.10", "env": {"X": "y"}, "cwd": "/tmp"},
        "hostname": "host",
        "qstat": "host:/opt/sge/bin/qstat",
        "make": {"host": "make", "pass": ["CC", "MY_*"], "paths": True},
    },
    "batch": "auto",
    "gpus": "all",
    "kernel": {"language": "python"},
    "x-notes": {"anything": [1, 2]},
}


def our_verdict(data: object) -> bool:
    return not schema.problems(parse_source(json.dumps(data).encode(), "e.yaml"), load_schema())


def their_verdict(data: object) -> bool:
    return jsonschema.Draft7Validator(load_schema()).is_valid(data)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(load_schema())


def test_the_example_of_the_design_is_allowed() -> None:
    assert our_verdict(GOOD)
    assert their_verdict(GOOD)


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3),
    st.sampled_from(["", "host", "host:", "/a", "a", "all"]),
    st.lists(st.sampled_from(["", "a", 1]), max_size=2),
    st.dictionaries(st.sampled_from(["image", "path", "host", "environment", "A", "a b"]),
                    st.sampled_from(["/x", "y", "", 1]), max_size=2),
)  # fmt: skip
KEYS = [*sorted(load_schema()["properties"]), "imag", "x-a"]


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=3))
def test_any_top_level_value_is_judged_alike(data: dict[str, object]) -> None:
    assert our_verdict(data) == their_verdict(data), data


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["bwa", "/opt/x", "a/b", "/", "", "x y"]),
        st.one_of(
            JUNK,
            st.dictionaries(
                st.sampled_from(["image", "path", "host", "environment", "command", "env", "cwd"]),
                JUNK,
                max_size=3,
            ),
        ),
        max_size=2,
    )
)
def test_any_command_is_judged_alike(commands: dict[str, object]) -> None:
    data = {"image": "a", "commands": commands}
    assert our_verdict(data) == their_verdict(data), data


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("imag: a", "e.yaml:1:1: unknown key 'imag'", "did you mean 'image'?"),
        ("image: [a]", "e.yaml:1:8: image is a list, not text", None),
        (
            "image: a\ncommands:\n  bwa: {imag: q}\n",
            "e.yaml:3:9: commands.bwa needs one of image, environment, host",
            "did you mean 'image'?",
        ),
        (
            "image: a\ncommands:\n  bwa: {image: q, pth: /b}\n",
            "e.yaml:3:19: unknown key 'pth' in commands.bwa",
            "did you mean 'path'?",
        ),
        (
            "commands:\n  bwa: hst\n",
            (
                "e.yaml:2:8: commands.bwa: 'hst' is not host, host:/path, nor a mapping with image,"
                " environment or host"
            ),
            None,
        ),
        ("batch: sgee", "e.yaml:1:8: batch is 'sgee', not one of auto, none, sge, slurm, pbs, lsf",
         "did you mean 'sge'?"),
        ("gpus: -1", "e.yaml:1:7: gpus: -1 is too small", None),
        ("cwd: data", "e.yaml:1:6: cwd: 'data' is not an absolute path", None),
        ("env: {A: [1]}",
         "e.yaml:1:10: env.A is a list, not text or a number or true or false or nothing", None),
        ("commands: {a/b: host}", "e.yaml:1:12: 'a/b' cannot be a key in commands", None),
        ("", "e.yaml:1:1: the file is empty", None),
        ("- a", "e.yaml:1:1: the file is a list, not a mapping", None),
    ],
)  # fmt: skip
def test_an_error_names_key_line_and_what_was_meant(
    text: str, message: str, hint: str | None
) -> None:
    with pytest.raises(EnvFileError) as caught:
        schema.check(parse_source(text.encode(), "e.yaml"), load_schema())
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_all_errors_of_a_file_are_kept() -> None:
    with pytest.raises(EnvFileError) as caught:
        schema.check(parse_source(b"imag: a\nbatch: x\n", "e.yaml"), load_schema())
    assert caught.value.more == (
        "e.yaml:2:8: batch is 'x', not one of auto, none, sge, slurm, pbs, lsf",
    )


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"a: b: c", "e.yaml:1:5: not YAML: mapping values are not allowed in this context"),
        (b"a: &x [*x]", "e.yaml:1:4: an alias to what it lies in"),
        (b"image: x\nimage: y", "e.yaml:2:1: the key 'image' stands here twice"),
        (b"image: \xff", "e.yaml:1:1: not UTF-8"),
        (b"image: !!python/object:os.system x", "the tag"),
        (b"? [a]\n: b", "a key is a word"),
        (b"a: &a {<<: *a}", "e.yaml:1:4: an alias to what it lies in"),
        (b"a: &a {b: c}\n<<: *a\n<<: *a", "e.yaml:3:1: the key '<<' stands here twice"),
        (b"x-a: &a word\nenv:\n  <<: *a", "e.yaml:1:6: `<<` takes in mappings"),
        (b"env:\n  <<: [{A: b}, word]", "e.yaml:2:16: `<<` takes in mappings"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_place(raw: bytes, message: str) -> None:
    with pytest.raises(EnvFileError) as caught:
        parse_source(raw, "e.yaml")
    assert message in caught.value.message


def test_aliases_cannot_blow_a_file_up() -> None:
    lines = ["a0: &a0 [x, x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)
    ]
    with pytest.raises(EnvFileError, match="too many values"):
        parse_source("\n".join(lines).encode(), "e.yaml")


def test_merge_keys_cannot_blow_a_file_up() -> None:
    lines = ["a0: &a0 {x: y}"] + [
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9)
    ]
    with pytest.raises(EnvFileError, match="too many values"):
        parse_source("\n".join(lines).encode(), "e.yaml")


def test_merge_keys_take_in_what_the_mapping_does_not_say() -> None:
    raw = b"""\
x-base: &base
  A: base
  B: base
x-more: &more {B: more, C: more}
env:
  B: own
  <<: [*base, *more]
  D: own
commands: {"<<": host}
"""
    value = parse_source(raw, "e.yaml")
    assert value["env"].plain() == {"A": "base", "B": "own", "C": "more", "D": "own"}
    places = {key: (place.line, item.place.line) for key, place, item in value["env"].items()}
    assert places == {"A": (2, 2), "B": (6, 6), "C": (4, 4), "D": (8, 8)}
    assert value["commands"].plain() == {"<<": "host"}, "a quoted one is a word"


def test_an_error_in_what_was_merged_stands_where_it_was_written() -> None:
    raw = b"x-base: &base\n  batch: x\nimage: a\n<<: *base\n"
    with pytest.raises(EnvFileError, match=r"^e.yaml:2:10: batch is 'x', not one of"):
        schema.check(parse_source(raw, "e.yaml"), load_schema())


def test_values_of_variables_are_taken_as_written() -> None:
    value = parse_source(b"env: {A: 1.10, B: yes, C: 0x1F, D: 2024-01-02, E: 1:30}", "e.yaml")
    texts = {name: item.text for name, _, item in value["env"].items()}
    assert texts == {"A": "1.10", "B": "yes", "C": "0x1F", "D": "2024-01-02", "E": "1:30"}
