"""`lpmx galaxy`: the files it writes, and which images tools want."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest
import yaml
from support import mkimage as mk
from support.offline import go_offline

from lpmx_galaxy import builds
from lpmx_galaxy.site.files import PROGRAMS, RUNNERS, Site, job_conf, resolvers, script, tpv, write
from lpmx_galaxy.site.prefetch import fetch, mulled_name, requirements, wanted
from lpmx_runtime.errors import InUseError, UsageError
from lpmx_runtime.images.load import load
from lpmx_runtime.store.store import Store

TOOL = """<tool id="t">
  <macros>
    <import>macros.xml</import>
    <token name="@IMAGE@">Org/Tool</token>
  </macros>
  <requirements>{}</requirements>
</tool>"""
MACROS = """<macros>
  <token name="@VERSION@">1.17</token>
  <token name="@TOOL@">samtools</token>
  <xml name="more"><requirement type="package" version="0.7.17">bwa</requirement></xml>
</macros>"""


@pytest.fixture
def site(tmp_path):
    return Site(str(tmp_path / "site"), "/opt/lpmx/bin", "/data/it's", supply=("/a", "/b"))


@pytest.fixture
def tool(tmp_path):
    """tool(requirements): a tool's file beside its macros."""
    (tmp_path / "macros.xml").write_text(MACROS)

    def make(text, name="tool.xml"):
        (tmp_path / name).write_text(TOOL.format(text))
        return str(tmp_path / name)

    return make


@pytest.fixture
def store(tmp_path, monkeypatch):
    store = Store.open(tmp_path / "store")
    monkeypatch.setenv("LPMX_HOME", str(store.root))
    go_offline(monkeypatch)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("LPMX_SUPPLY", raising=False)
    return store


def put(store, tmp_path, name):
    spec = mk.Spec(name, [mk.layer(mk.file("name", name.encode()))], {"Cmd": ["x"]})
    load(store, mk.docker_archive(tmp_path / "put.tar", [spec], style="v1"))
    return spec.id


@pytest.mark.parametrize("runner", RUNNERS)
def test_job_conf_sends_tools_to_lpmx_and_galaxys_own_to_the_host(site, runner):
    conf = yaml.safe_load(job_conf(Site(**{**vars(site), "runner": runner})))
    places = conf["execution"]["environments"]
    assert conf["runners"]["tools"]["load"] == RUNNERS[runner]
    assert places["lpmx_docker"]["docker_cmd"] == f"{site.folder}/bin/lpmx-docker"
    assert places["lpmx_singularity"]["singularity_cmd"] == f"{site.folder}/bin/lpmx-singularity"
    assert conf["execution"]["default"] in places
    assert {tool["environment"] for tool in conf["tools"]} == {"local"}


def test_resolvers_and_tpv_are_yaml(site):
    assert [one["type"] for one in yaml.safe_load(resolvers(site))] == [
        "explicit", "explicit_singularity", "cached_mulled",
    ]  # fmt: skip
    cached = yaml.safe_load(resolvers(Site(**{**vars(site), "cache": "/cache"})))
    assert {one.get("cache_directory") for one in cached} == {None, "/cache"}
    assert "lpmx_docker" in yaml.safe_load(tpv(site))["destinations"]


def test_programs_know_their_store_whatever_the_environment(site):
    text = script(site, "lpmx-docker")
    assert "export LPMX_HOME='/data/it'\"'\"'s'\n" in text
    assert "export LPMX_SUPPLY=/a:/b\n" in text
    assert text.endswith('exec /opt/lpmx/bin/lpmx-docker "$@"\n')


@pytest.mark.parametrize("given", ["", "/of/the/job"])
def test_programs_find_the_users_accounts_and_settings_in_a_job(site, tmp_path, given):
    accounts, config = tmp_path / 'a "$HOME" `x`', tmp_path / "c d.yaml"
    echo = tmp_path / "lpmx-docker"
    echo.write_text('#!/bin/sh\necho "$DOCKER_CONFIG|$LPMX_CONFIG"\n')
    echo.chmod(0o755)
    made = replace(site, scripts=str(tmp_path), accounts=str(accounts), config=str(config))
    program = tmp_path / "program"
    program.write_text(script(made, "lpmx-docker"))
    env = {"HOME": "/job", "DOCKER_CONFIG": given}

    def said():
        return subprocess.check_output(["sh", program], env=env, text=True)

    assert said() == f"{given or accounts}|\n"
    config.write_text("pull: never\n")
    assert said() == f"{given or accounts}|{config}\n"


def test_files_are_written_once_unless_forced(site):
    paths = write(site)
    assert len(paths) == len(PROGRAMS) + 3
    assert all(os.access(path, os.X_OK) for path in paths if "/bin/" in path)
    with pytest.raises(InUseError, match="exists already"):
        write(site)
    assert write(site, force=True) == paths


# ---- which images


def test_names_of_images_of_packages_are_biocontainers():
    """As Galaxy's v2_image_name answers for the same packages."""
    assert mulled_name([("samtools", "1.17")]) == "samtools:1.17"
    both = [("samtools", "1.17"), ("bwa", "0.7.17")]
    base = "mulled-v2-fe8faa35dbf6dc65a0f7f5d4ea12e31a79f73e40"
    assert mulled_name(both) == f"{base}:49f21fe4737f78633ac5b610f847c089b6251c74"
    assert mulled_name([("bwa", "0.7.17"), ("samtools", "")]) == (
        f"{base}:a0233381d9c48d09101953e0cd966cd9b5fd0a77"
    )


def test_tokens_and_macros_of_a_tool_are_followed(tool):
    path = tool('<container type="docker">quay.io/@IMAGE@:@VERSION@</container>')
    assert requirements(path) == (["quay.io/Org/tool:1.17"], [])
    path = tool('<requirement type="package" version="@VERSION@">@TOOL@</requirement>'
                '<expand macro="more"/>')  # fmt: skip
    assert requirements(path) == ([], [("samtools", "1.17"), ("bwa", "0.7.17")])


def test_tool_list_names_each_image_once(tool, tmp_path):
    tool('<container type="docker">org/a:1</container>', "one.xml")
    tool('<container type="docker">org/a:1</container>', "two.xml")
    tool('<requirement type="package" version="1.17">samtools</requirement>', "three.xml")
    names = "".join(f'<tool file="{name}.xml"/>' for name in ("one", "two", "three"))
    (tmp_path / "conf.xml").write_text(f"<toolbox><section>{names}</section></toolbox>")
    needs = wanted([str(tmp_path / "conf.xml")])
    assert [(need.name, need.tools) for need in needs] == [
        ("org/a:1", ("one.xml", "two.xml")),
        ("quay.io/biocontainers/samtools:1.17", ("three.xml",)),
    ]


def test_what_is_no_tool_is_refused(tmp_path):
    (tmp_path / "x.xml").write_text("<other/>")
    with pytest.raises(UsageError, match="neither a tool nor a tool list"):
        wanted([str(tmp_path / "x.xml")])
    (tmp_path / "y.xml").write_text("no xml")
    with pytest.raises(UsageError, match="not XML"):
        wanted([str(tmp_path / "y.xml")])


def test_latest_build_of_a_package_is_taken(store, tmp_path):
    base = "quay.io/biocontainers/samtools:1.17--"
    for build in ("h00cdaf9_0", "hd87286a_2", "hd87286a_1"):
        put(store, tmp_path, base + build)
    put(store, tmp_path, "quay.io/biocontainers/samtools:1.170--h0_9")
    assert builds.best_build(store, "quay.io/biocontainers/samtools:1.17") == f"{base}hd87286a_2"


def test_prefetch_fills_galaxys_cache_and_says_what_is_missing(store, tmp_path, tool):
    put(store, tmp_path, "quay.io/biocontainers/samtools:1.17--h0_0")
    package = tool('<requirement type="package" version="1.17">samtools</requirement>', "p.xml")
    other = tool('<container type="docker">no/where:1</container>', "o.xml")
    found = {need.name: problem for need, problem in fetch(
        wanted([package, other]), cache=str(tmp_path / "cache")
    )}  # fmt: skip
    assert found["quay.io/biocontainers/samtools:1.17"] == ""
    assert "no such image" in found["no/where:1"]
    assert os.listdir(tmp_path / "cache") == ["samtools:1.17--h0_0"]
