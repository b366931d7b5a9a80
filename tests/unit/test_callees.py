"""What an exec map is decided to mean for a start: places, plans, variables, errors."""

from __future__ import annotations

import os

import pytest
from support import mkimage as mk

from lpmx_runtime.errors import ImageNotFoundError, LpmxError, UsageError
from lpmx_runtime.images.load import load
from lpmx_runtime.launch import start as launch
from lpmx_runtime.launch.start import Options, Surroundings, draft_container, plan_launch
from lpmx_runtime.launch.users import Host
from lpmx_runtime.plans.binds import Place
from lpmx_runtime.plans.execmap import (
    Environment,
    EnvironmentTarget,
    ExecMap,
    HostTarget,
    ImageTarget,
    Mapping,
)
from lpmx_runtime.store.store import Store


def program(name):
    return mk.file(name, b"#!/bin/sh\n", mode=0o755)


CALLER = mk.Spec(
    "caller:1",
    [mk.layer(program("usr/bin/sh"), mk.symlink("bin", "usr/bin"), mk.folder("etc/profile.d"))],
    {"Env": ["PATH=/usr/bin", "JAVA_HOME=/opt/java"]},
)
TOOL = mk.Spec(
    "tool:1",
    [mk.layer(program("opt/bin/tool"), program("opt/bin/other"), mk.file("opt/bin/text"))],
    {"Env": ["PATH=/opt/bin", "LANG=C"]},
)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """start(MAPPING...): the launch of a container of `caller` with these mappings."""
    (tmp_path / "native").mkdir()
    store = Store.open(tmp_path / "store")
    load(store, str(mk.docker_archive(tmp_path / "images.tar", [CALLER, TOOL])))
    monkeypatch.setattr(launch, "engine_path", lambda _store: "/native/lpmx-exec")
    (tmp_path / "host").mkdir()
    command = tmp_path / "host" / "qstat"
    command.write_text("")
    command.chmod(0o755)
    host = Host(os.getuid(), os.getgid(), (), lambda _: "alice", lambda _: "alice")
    environ = {"PATH": str(tmp_path / "host")}
    here = Surroundings(host, Place(str(tmp_path), str(tmp_path), str(tmp_path)), environ)

    def call(*mappings, **options):
        asked = Options(command=("sh",), commands=ExecMap(mappings), **options)
        draft = draft_container(store, store.resolve("caller:1"), asked, here)
        return plan_launch(store, draft.container, here)

    return call


def by_path(plan):
    return {command.path: command for command in plan.commands}


def test_name_is_first_on_path_and_an_absolute_path_at_its_real_place(start):
    made = start(Mapping("tool", ImageTarget("tool:1")), Mapping("/bin/sh", HostTarget("qstat")))
    commands = by_path(made.plan)
    assert commands.keys() == {"/.lpmx/bin/tool", "/usr/bin/sh"}
    assert made.env["PATH"] == "/.lpmx/bin:/usr/bin"
    places = {bind.dst for bind in made.plan.binds if bind.commands}
    assert places == {"/.lpmx", "/usr/bin/sh"}
    assert "/etc/profile.d/zz-lpmx.sh" in {bind.dst for bind in made.plan.binds}


def test_two_commands_of_one_image_share_a_container(start):
    made = start(
        Mapping("tool", ImageTarget("tool:1")),
        Mapping("o", ImageTarget("tool:1", "/opt/bin/other")),
    )
    (callee,) = made.composition.callees
    assert {command.plan for command in made.plan.commands} == {callee.plan_file}
    assert [command.target for command in made.plan.commands] == ["/opt/bin/tool", "/opt/bin/other"]
    assert callee.plan.upper.startswith(made.container.folder)
    assert callee.plan.upper != made.plan.upper
    shown = {bind.dst for bind in made.container.binds}
    assert shown <= {bind.dst for bind in callee.plan.binds}


def test_variables_of_the_callee_are_its_image_s_and_the_mapping_s(start):
    made = start(Mapping("tool", ImageTarget("tool:1"), env={"LANG": "de", "X": "y"}))
    (command,) = made.plan.commands
    assert set(command.env) == {"PATH=/opt/bin:/.lpmx/caller", "LANG=de", "X=y"}
    assert {"PATH", "LD_*", "JAVA_HOME=/opt/java"} <= set(command.env_names)


def test_callee_finds_last_what_its_caller_maps(start):
    made = start(Mapping("tool", ImageTarget("tool:1")), Mapping("qstat", HostTarget()))
    (callee,) = made.composition.callees
    commands = by_path(callee.plan)
    assert commands.keys() == {"/.lpmx/caller/tool", "/.lpmx/caller/qstat"}
    assert commands["/.lpmx/caller/qstat"].is_host


def test_environment_has_its_own_map_before_its_caller_s(start):
    inner = ExecMap((Mapping("qstat", ImageTarget("tool:1", "/opt/bin/other")),))
    environment = Environment("e.yaml", "tool:1", {"A": "1"}, commands=inner)
    made = start(
        Mapping("x", EnvironmentTarget(environment, "qstat")), Mapping("qstat", HostTarget())
    )
    callees = {one.plan_file: one.plan for one in made.composition.callees}
    rule = by_path(made.plan)["/.lpmx/bin/x"]
    assert rule.target == "/.lpmx/bin/qstat"
    assert {"A=1", "PATH=/.lpmx/bin:/opt/bin:/.lpmx/caller"} <= set(rule.env)
    commands = by_path(callees[rule.plan])
    assert commands["/.lpmx/bin/qstat"].target == "/opt/bin/other"
    assert "/.lpmx/caller/qstat" not in commands


def test_agent_is_asked_for_where_any_command_leads_to_the_host(start):
    assert not start(Mapping("tool", ImageTarget("tool:1"))).plan.agent
    assert start(Mapping("qstat", HostTarget())).plan.agent
    inner = Environment("e", "tool:1", commands=ExecMap((Mapping("qstat", HostTarget()),)))
    made = start(Mapping("tool", EnvironmentTarget(inner, "/opt/bin/tool")))
    assert made.plan.agent
    assert made.env["LPMX_HOST:PATH"].endswith("/host")


def test_circle_of_environments_ends(start):
    """Files with one are refused; the map as values could hold one by its images."""
    inner = Environment(
        "e", "caller:1", commands=ExecMap((Mapping("a", ImageTarget("tool:1", "/opt/bin/tool")),))
    )
    made = start(
        Mapping("tool", ImageTarget("tool:1")), Mapping("b", EnvironmentTarget(inner, "a"))
    )
    assert len(made.composition.callees) == 2


@pytest.mark.parametrize(
    ("mapping", "error", "message"),
    [
        (Mapping("x", ImageTarget("no:1")), ImageNotFoundError, "command x: no:1: no such image"),
        (Mapping("x", ImageTarget("tool:1")), LpmxError, "has no program x on its PATH"),
        (Mapping("x", ImageTarget("tool:1", "/opt/bin/text")), LpmxError, "no program /opt/bin/te"),
        (Mapping("x", ImageTarget("tool:1", "/opt/bin")), LpmxError, "has no program /opt/bin"),
        (Mapping("x", HostTarget()), LpmxError, "the host's PATH has no program x"),
        (Mapping("x", HostTarget("/no/x")), LpmxError, "the host has no program /no/x"),
        (Mapping("/tmp", HostTarget("qstat")), UsageError, "/tmp: something is bound there"),
        (Mapping("x" * 256, HostTarget("qstat")), UsageError, "the name is too long"),
    ],
)  # fmt: skip
def test_mapping_that_cannot_work_is_an_error_of_the_start(start, mapping, error, message):
    with pytest.raises(error, match=message) as caught:
        start(mapping)
    assert caught.value.message.startswith("command ")


def test_program_that_a_bind_of_the_caller_hides_is_said(start, tmp_path):
    with pytest.raises(LpmxError, match="has no program /opt/bin/tool") as caught:
        start(Mapping("x", ImageTarget("tool:1", "/opt/bin/tool")), volumes=(f"{tmp_path}:/opt",))
    assert "/opt shows" in (caught.value.hint or "")


def test_preparing_writes_the_files_once(start):
    made = start(Mapping("tool", ImageTarget("tool:1")))
    os.makedirs(made.container.folder)
    made.composition.prepare()
    path = os.path.join(made.container.folder, "commands", "bin", "tool")
    with open(path, encoding="ascii") as file:
        assert file.read() == (
            "#!/bin/sh\n# lpmx: tool runs /opt/bin/tool of image tool:1\n"
            'exec /.lpmx/bin/tool "$@"\n'
        )
    before = os.stat(path)
    made.composition.prepare()
    assert os.stat(path).st_ino == before.st_ino
    assert before.st_mode & 0o777 == 0o555
