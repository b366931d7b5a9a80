"""`lpmx galaxy check` finds in a site's files what would fail later."""

from __future__ import annotations

import pytest
import yaml

from lpmx_galaxy.site.conf import examine_file
from lpmx_galaxy.site.files import Site, write


@pytest.fixture
def check(tmp_path):
    """check(content): verdict and words of what is found in a file with that content."""

    def call(content):
        path = tmp_path / "conf.yml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return [(one.verdict, f"{one.what}: {one.detail}") for one in examine_file(str(path))]

    return call


def conf(**params):
    """A job_conf with one environment of these parameters."""
    return {
        "runners": {"tools": {"load": "galaxy.jobs.runners.local:LocalJobRunner"}},
        "execution": {"default": "e", "environments": {"e": {"runner": "tools", **params}}},
        "tools": [{"class": "local", "environment": "local"}],
    }


@pytest.mark.parametrize("runner", ["local", "slurm", "cli", "pulsar-embedded"])
def test_what_init_writes_is_good(tmp_path, runner):
    site = Site(str(tmp_path / "site"), "/opt/bin", "/store", runner, cache=str(tmp_path))
    written = [path for path in write(site) if path.endswith(".yml")]
    found = [one for path in written for one in examine_file(path)]
    assert [one.verdict for one in found] == ["ok"] * 3, found


NATIVE = {"lpmx_enabled": True, "lpmx_cmd": "/bin/true"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "not YAML"),
        ({"x": 1}, "neither job_conf, nor resolvers"),
        (conf(runner="other"), "e: there is no runner 'other'"),
        (conf(docker_enabled=True, docker_cmd="/no/lpmx-docker"), "/no/lpmx-docker is no program"),
        (conf(docker_enabled="true", docker_cmd="true", docker_sudo=True), "needs no sudo"),
        (
            conf(docker_enabled=True, docker_cmd="true", docker_run_extra_arguments="--frob 1"),
            "unknown flag --frob",
        ),
        (
            conf(docker_enabled=True, docker_cmd="true", docker_run_extra_arguments="ubuntu"),
            "ubuntu would be taken for the image",
        ),
        (
            conf(singularity_enabled=True, singularity_cmd="true",
                 singularity_run_extra_arguments="--overlay x"),
            "unknown flag --overlay",
        ),
        (conf(**NATIVE), "a runner that does not know this type"),
        (conf(**NATIVE), "without a resolver of its own"),
        ({**conf(require_container=True), "tools": []}, "uploads and converters"),
        ([{"type": "explicit_lpmx"}], "explicit_lpmx: not known yet"),
        ([{"type": "mulled_docker"}], "mulled_docker: there is no such resolver"),
        ({"destinations": {"d": {"params": {"docker_enabled": True, "docker_cmd": "/no"}}}}, "/no"),
    ],
)  # fmt: skip
def test_what_would_fail_is_a_problem(check, content, said):
    problems = [words for verdict, words in check(content) if verdict == "problem"]
    assert any(said in words for words in problems), problems


def test_what_has_no_effect_is_a_note(check):
    params = {"docker_enabled": True, "docker_cmd": "true"}
    found = check(conf(**params, docker_run_extra_arguments="--memory 1g --gpus all"))
    assert [verdict for verdict, _ in found] == ["note"]
    assert "--memory has no effect" in found[0][1]
    found = check([{"type": "cached_mulled_singularity", "cache_directory": "/not/there"}])
    assert [verdict for verdict, _ in found] == ["note"]


def test_native_environment_that_is_right_passes(check):
    good = conf(**NATIVE, container_resolvers=[{"type": "explicit_lpmx"}])
    good["runners"]["tools"]["load"] = "lpmx_galaxy.runner:LpmxLocalJobRunner"
    assert [verdict for verdict, _ in check(good)] == ["ok"]
