"""Tool files: what a tool names its image, variables and ports stays a name, whatever it looks like."""

from __future__ import annotations

import shlex
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.offline import go_offline

from lpmx_galaxy.docker.flags import RUN
from lpmx_galaxy.frontend import supply
from lpmx_galaxy.frontend.goflags import parse
from lpmx_galaxy.native.container import run_line
from lpmx_galaxy.singularity.sif import read_config
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = (
    "--lpmx-map=sh=host", "-v/:/host", "$(touch x)", "x; touch y", "`id`", "a b", "'", '"', "\\", "\n",
    "--lpmx-env=lab.yaml", "lab.yaml", "./lab.yaml", "/home/ada/lab.yaml", "../x", "$HOME", "",
)  # fmt: skip


def galaxy_container(reference: str, variables: list[str], ports: list[Any], name: str) -> Any:
    """What Galaxy hands over for a tool that names these."""
    space = types.SimpleNamespace
    return space(
        job_info=space(working_directory="/job/work", job_directory="/job"),
        tool_info=space(env_pass_through=variables, guest_ports=ports),
        destination_info={},
        container_name=name,
        container_id=reference,
        prop=lambda _name, default: default,
        _expand_volume_str=lambda text: text,
    )


@pytest.fixture(autouse=True)
def _galaxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one function of Galaxy that is needed; volumes are the site's."""
    parts = "galaxy.tool_util.deps.container_classes".split(".")
    for count in range(1, len(parts) + 1):
        module: Any = types.ModuleType(parts[count - 1])
        module._parse_volumes = lambda *_: []
        monkeypatch.setitem(sys.modules, ".".join(parts[:count]), module)


TEXTS = st.sampled_from(HOSTILE) | st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=9
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(TEXTS, st.lists(TEXTS, max_size=2), st.lists(TEXTS, max_size=2), TEXTS)
def test_words_of_a_tool_are_arguments_and_never_flags_or_shell(
    reference: str, variables: list[str], ports: list[str], name: str
) -> None:
    container = galaxy_container(reference, variables, ports, name)
    line = run_line(container, "/bin/sh script")
    words = shlex.split(line.replace('"$(id -u):$(id -g)"', "USER"))
    assert words[:3] == ["lpmx-docker", "run", "--rm"]
    parsed = parse(words[2:], RUN, command="run")
    assert parsed.rest == [reference, "/bin/sh", "script"]
    assert parsed.all("env") == list(dict.fromkeys(variables))
    assert parsed.all("publish") == ports
    assert not {"lpmx-map", "lpmx-env", "lpmx-batch"} & set(parsed.values)


@pytest.mark.parametrize("reference", HOSTILE)
def test_an_image_of_a_tool_is_a_name_and_no_environment_file(
    reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    go_offline(monkeypatch)
    for name in ("lab.yaml", "x"):
        (tmp_path / name).write_text("image: a\ncommands: {sh: host}\n")
    with pytest.raises(LpmxError):
        supply.obtain(Store.open(tmp_path / "store"), reference)


@pytest.mark.parametrize("link", ["", "env", "env/x.sh"])
def test_variables_of_a_sif_are_read_in_it_alone(tmp_path: Path, link: str) -> None:
    host = tmp_path / "host"
    (host / "env").mkdir(parents=True)
    (host / "env" / "x.sh").write_text("export TOKEN=secret\n")
    place = tmp_path / "tree" / ".singularity.d" / link
    place.parent.mkdir(parents=True)
    target = {"": host, "env": host / "env", "env/x.sh": host / "env" / "x.sh"}[link]
    (place if link else place.parent / ".singularity.d").symlink_to(target)
    assert read_config(tmp_path / "tree") == {"Env": []}
