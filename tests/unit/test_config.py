"""config.yaml: what counts, what is refused and where, and that it costs nothing when absent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lpmx_runtime.cli.main import main
from lpmx_runtime.config import file as configfile
from lpmx_runtime.config import values as config
from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.images.registry.wire.settings import endpoints
from lpmx_runtime.reference import parse_reference
from lpmx_runtime.store.store import default_root
from lpmx_runtime.yamlfile.schema import problems
from lpmx_runtime.yamlfile.source import parse_source

FULL = """\
store: ~/lab
pull: never
jobs: 7
supply: [/data/archives, $LAB_ARCHIVES/more]
mirrors:
  docker.io: mirror.site:5000/hub
  quay.io: [one.site, two.site/quay]
"""
VARIABLES = ("LPMX_HOME", "LPMX_PULL", "LPMX_JOBS", "LPMX_SUPPLY", "LPMX_MIRROR", "LPMX_CONFIG")


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, which is not there yet; nor is the site's."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LAB_ARCHIVES", "/lab")
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", os.devnull)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(config, "SITE_FILE", str(tmp_path / "site.yaml"))
    file = tmp_path / ".config" / "lpmx" / "config.yaml"
    file.parent.mkdir(parents=True)
    return file


def test_every_key_has_its_effect(user: Path, tmp_path: Path) -> None:
    user.write_text(FULL)
    assert default_root() == tmp_path / "lab"
    assert config.pull_policy() == "never"
    assert config.jobs() == 7
    assert config.supply() == ("/data/archives", "/lab/more")
    places = [one.host for one in endpoints(parse_reference("quay.io/lab/x:1"))]
    assert places == ["one.site", "two.site", "quay.io"]
    (mirror, hub) = endpoints(parse_reference("debian:12"))
    assert (mirror.host, mirror.repository) == ("mirror.site:5000", "hub/library/debian")
    assert hub.registry == "docker.io"


def test_a_variable_wins_over_the_file_and_an_option_over_both(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.write_text(FULL)
    monkeypatch.setenv("LPMX_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("LPMX_PULL", "always")
    monkeypatch.setenv("LPMX_JOBS", "2")
    monkeypatch.setenv("LPMX_SUPPLY", "")
    monkeypatch.setenv("LPMX_MIRROR", "quay.io=third.site")
    assert default_root() == tmp_path / "other"
    assert (config.pull_policy(), config.pull_policy("missing")) == ("always", "missing")
    assert (config.jobs(), config.jobs(4)) == (2, 4)
    assert config.supply() == ()
    places = [one.host for one in endpoints(parse_reference("quay.io/lab/x:1"))]
    assert places == ["third.site", "quay.io"]


def test_the_users_file_wins_over_the_sites_key_by_key(user: Path) -> None:
    Path(config.SITE_FILE).write_text("jobs: 9\npull: always\n")
    user.write_text("pull: never\n")
    assert (config.jobs(), config.pull_policy()) == (9, "never")


def test_the_file_that_the_variable_names_is_read_in_place_of_the_users(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.write_text("jobs: 4\n")
    (tmp_path / "mine.yaml").write_text("jobs: 5\n")
    monkeypatch.setenv("LPMX_CONFIG", "~/mine.yaml")
    assert config.jobs() == 5
    monkeypatch.setenv("LPMX_CONFIG", os.devnull)
    assert config.jobs() == config.JOBS
    monkeypatch.setenv("LPMX_CONFIG", "/none.yaml")
    with pytest.raises(LpmxError, match=r"LPMX_CONFIG: /none\.yaml: no such file"):
        config.jobs()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("stor: /x\n", "1:1: unknown key 'stor'", "did you mean 'store'?"),
        ("\npull: newer\n", "2:7: pull is 'newer', not one of missing, always, never", None),
        ("pull: alway\n", "1:7: pull is 'alway', not one of", "did you mean 'always'?"),
        ("store: x/y\n", "1:8: store: 'x/y' is not an absolute path", None),
        ("store: $NONE_SUCH/x\n", "1:8: $NONE_SUCH/x: $NONE_SUCH is not set", None),
        ("jobs: many\n", "1:7: jobs is text, not a whole number", None),
        ("jobs: 0\n", "1:7: jobs: 0 is too small", None),
        ("supply: /x\n", "1:9: supply is text, not a list", None),
        ("mirrors:\n  docker.io: https://x\n", "2:14: mirrors.docker.io: 'https://x' is not", None),
        ("mirrors:\n  https://x: y\n", "2:3: 'https://x' is not a registry", "HOST or HOST:PORT"),
        ("- a\n", "1:1: the file is a list, not a mapping", None),
        ("a: [\n", "not YAML", None),
        ("jobs: 1\njobs: 2\n", "2:1: the key 'jobs'", None),
    ],
)
def test_what_is_wrong_is_named_by_line(
    user: Path, text: str, message: str, hint: str | None
) -> None:
    user.write_text(text)
    with pytest.raises(LpmxError) as error:
        config.read_config()
    assert error.value.message.startswith(f"{user}:")
    assert message in error.value.message
    assert error.value.exit_code == 2
    if hint:
        assert hint in (error.value.hint or "")


@pytest.mark.parametrize("name", ["LPMX_JOBS", "LPMX_PULL"])
def test_a_bad_variable_is_named(user: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert not user.exists()
    monkeypatch.setenv(name, "seldom")
    with pytest.raises(UsageError, match=f"{name}: 'seldom'"):
        config.jobs() if name == "LPMX_JOBS" else config.pull_policy()


@pytest.mark.needs_user
def test_a_file_that_cannot_be_read_is_not_passed_over(user: Path) -> None:
    user.write_text("pull: never\n")
    user.chmod(0)
    with pytest.raises(LpmxError, match=r"config\.yaml: Permission denied"):
        config.pull_policy()


@pytest.mark.parametrize("text", [FULL, "", "stor: 1", "mirrors: {a.b: [1]}", "mirrors: {a: }"])
def test_the_schema_means_what_jsonschema_reads_in_it(text: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = configfile.load_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    value = parse_source(text.encode(), "config.yaml")
    ours = not problems(value, schema)
    assert (
        jsonschema.Draft7Validator(schema).is_valid(json.loads(json.dumps(value.plain()))) == ours
    )


def test_without_a_file_yaml_is_not_imported(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from lpmx_runtime.config import values as config\n"
        "config.SITE_FILE = '/none'\n"
        "config.read_config()\n"
        "print({'yaml', 'lpmx_runtime.config.file'} & set(sys.modules))"
    )
    env = {**os.environ, "HOME": str(tmp_path), "LPMX_CONFIG": "", "XDG_CONFIG_HOME": ""}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=True)
    assert done.stdout == "set()\n"


def test_the_command_says_what_counts_and_why(
    user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(config.SITE_FILE).write_text("jobs: 9\nsupply: [/data/archives]\n")
    user.write_text("store: ~/lab\n")
    monkeypatch.setenv("LPMX_MIRROR", "quay.io=third.site")
    assert main(["config"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["SETTING", "VALUE", "FROM"],
        ["store", str(tmp_path / "lab"), str(user)],
        ["pull", "missing", "default"],
        ["jobs", "9", config.SITE_FILE],
        ["supply", "/data/archives", config.SITE_FILE],
        ["mirrors", "quay.io=third.site", "LPMX_MIRROR"],
    ]
    assert main(["--json", "config"]) == 0
    assert json.loads(capsys.readouterr().out)["jobs"] == {"value": 9, "from": config.SITE_FILE}
    assert main(["config", "--path"]) == 0
    assert capsys.readouterr().out == f"{user}\n"
    assert main(["config", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == configfile.load_schema()
