"""Command lines of Go programs: every way to write a flag, and refusal of unknown ones."""

from __future__ import annotations

import pytest

from lpmx_galaxy.docker.flags import RUN
from lpmx_galaxy.docker.volumes import parse_mount, parse_volume
from lpmx_galaxy.frontend.go_template import render, render_rows
from lpmx_galaxy.frontend.goflags import parse
from lpmx_galaxy.frontend.ports import parse_publish
from lpmx_galaxy.frontend.rootfs import read_changes
from lpmx_galaxy.frontend.supply import split_transport
from lpmx_runtime.errors import UsageError


def read(*words):
    return parse(words, RUN, command="lpmx-docker run")


@pytest.mark.parametrize(
    "words",
    [
        ["-e", "A=1"], ["-eA=1"], ["-e=A=1"], ["--env", "A=1"], ["--env=A=1"], ["-ite", "A=1"],
        ["-iteA=1"],
    ],
)  # fmt: skip
def test_every_spelling_of_a_value_is_read(words):
    assert read(*words, "image").all("env") == ["A=1"]


def test_flags_end_at_the_image():
    parsed = read("--rm", "image", "sh", "--rm=false", "-e", "x")
    assert parsed.is_on("rm")
    assert parsed.rest == ["image", "sh", "--rm=false", "-e", "x"]


def test_two_dashes_end_flags():
    assert read("--rm", "--", "image", "-e").rest == ["image", "-e"]


def test_interspersed_flags_are_found_behind_names():
    parsed = parse(["a", "--rm", "b"], RUN, command="x", interspersed=True)
    assert parsed.rest == ["a", "b"]
    assert parsed.is_on("rm")


@pytest.mark.parametrize(("text", "on"), [("true", True), ("false", False), ("1", True)])
def test_a_switch_may_say_what_it_is(text, on):
    assert read(f"--read-only={text}", "image").is_on("read-only") is on


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--no-such-flag", "image"], "unknown flag --no-such-flag"),
        (["-Q", "image"], "unknown flag -Q"),
        (["-iQ", "image"], "unknown flag -Q"),
        (["--name"], "--name needs a value"),
        (["--rm=perhaps", "image"], "neither true nor false"),
    ],
)
def test_what_is_not_known_is_refused_by_name(words, said):
    with pytest.raises(UsageError, match=said):
        read(*words)


def test_unenforceable_flags_are_noted_as_written_and_only_when_on():
    parsed = read("--memory=1g", "--privileged=false", "--net", "none", "image")
    assert set(parsed.unenforced) == {"--memory", "--net"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("/a:/b", ("/a", "/b", "")),
        ("/a:/b:ro", ("/a", "/b", "ro")),
        ("/a:/b:rw,z", ("/a", "/b", "")),
        ("/only", ("", "/only", "")),
        # what docker refuses although it can be one thing only
        ("/a:1:/b", ("/a:1", "/b", "")),
        ("/x/a:1:/y/a:1", ("/x/a:1", "/y/a:1", "")),
        ("/x/a:1:/y/a:1:ro", ("/x/a:1", "/y/a:1", "ro")),
    ],
)
def test_volumes(text, parts):
    assert parse_volume(text) == parts


@pytest.mark.parametrize(
    "text", ["name:/b", "a:1:/b", "/a:b", "/a:/b:wrong", "/a:/b:ro:x", "/a:1:/b:/c", ":/b"]
)
def test_volumes_that_mean_nothing_here_are_refused(text):
    with pytest.raises(UsageError):
        parse_volume(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("type=bind,source=/a,target=/b", ("bind", "/a", "/b", False)),
        ("type=bind,src=/a,dst=/b,readonly", ("bind", "/a", "/b", True)),
        ('type=bind,"source=/a,b",target=/c', ("bind", "/a,b", "/c", False)),
        ("type=tmpfs,destination=/t,tmpfs-size=1m", ("tmpfs", "", "/t", False)),
    ],
)
def test_mounts(text, parts):
    assert parse_mount(text) == parts


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("8888", [(8888, 0)]),
        ("9000:8888", [(8888, 9000)]),
        ("127.0.0.1:9000:8888/tcp", [(8888, 9000)]),
        ("[::1]:9000:8888", [(8888, 9000)]),
        ("127.0.0.1::8888", [(8888, 0)]),
        ("7000-7001:80-81", [(80, 7000), (81, 7001)]),
    ],
)
def test_published_ports(text, ports):
    assert parse_publish(text) == ports


@pytest.mark.parametrize("text", ["x", "0", "70000", "1-2:3", "80/icmp"])
def test_bad_ports_are_refused(text):
    with pytest.raises(UsageError):
        parse_publish(text)


def test_templates():
    row = {"Id": "x", "Config": {"Env": ["A=1"]}, "RW": True}
    assert render(row, "{{.Id}}\\t{{ .RW }}") == "x\ttrue"
    assert render(row, "{{json .Config.Env}}") == '["A=1"]'
    assert render_rows([row], "table {{.Id}}") == "ID\nx"
    with pytest.raises(UsageError, match="more template code"):
        render(row, "{{range .Config.Env}}{{.}}{{end}}")
    with pytest.raises(UsageError, match=r"no field \.Nothing"):
        render(row, "{{.Nothing}}")


def test_changes_of_an_imported_image():
    lines = ['CMD ["a", "b c"]', "ENV X=y z", "ENV A b", "WORKDIR /w", "entrypoint run it"]
    assert read_changes(lines) == {
        "Cmd": ["a", "b c"],
        "Env": ["X=y z", "A=b"],
        "WorkingDir": "/w",
        "Entrypoint": ["/bin/sh", "-c", "run it"],
    }


def test_transports():
    assert split_transport("docker://quay.io/a/b:1") == ("docker", "quay.io/a/b:1")
    assert split_transport("docker-archive:/x.tar") == ("docker-archive", "/x.tar")
    assert split_transport("image.sif") == ("", "image.sif")
