"""What a site's administrator adds to the files that `lpmx galaxy init` wrote: the tests' Galaxy.

Reference data bound read-only, a tool composed by a TPV rule, one that may submit to Slurm, and the
native container type with Galaxy's runners: local, Slurm and Grid Engine by command line, Pulsar.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import yaml

from support.galaxy_tools import SAMTOOLS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NATIVE = {
    "native_local": ("LpmxLocalJobRunner", {}),
    "native_slurm": (
        "LpmxShellJobRunner",
        {"shell_plugin": "LocalShell", "job_plugin": "Slurm"},
    ),
    "native_sge": ("LpmxDRMAAJobRunner", {}),
    "native_pulsar": ("LpmxPulsarEmbeddedJobRunner", {"default_file_action": "copy"}),
}
_COMPOSED = f"--lpmx-map samtools=image:{SAMTOOLS}"
_RULES = {
    "tools": {
        "default": {"abstract": True, "scheduling": {"require": ["docker"]}},
        "composed": {"inherits": "default", "params": {"docker_run_extra_arguments": _COMPOSED}},
    }
}


def adapt(site: Path, references: Path, *, batch: Mapping[str, str], drmaa: str = "") -> None:
    """Add all of that to the files of @site. With @drmaa, that library, also a DRMAA runner.

    @batch: the variables by which Slurm's commands find Slurm. Galaxy's local runner gives its jobs
    none but those of the environment that job_conf sets.
    """
    path = site / "job_conf.yml"
    conf = yaml.safe_load(path.read_text())
    places = conf["execution"]["environments"]
    bound = f"$defaults,{references}:{references}:ro"
    places["lpmx_docker"]["docker_volumes"] = bound
    places["lpmx_singularity"]["singularity_volumes"] = bound
    places["submits"] = copy.deepcopy(places["lpmx_docker"])
    places["submits"]["docker_run_extra_arguments"] = "--lpmx-batch slurm"
    places["submits"]["env"] = [{"name": name, "value": value} for name, value in batch.items()]
    (site / "tpv_rules.yml").write_text(yaml.safe_dump(_RULES))
    places["tpv"] = {
        "runner": "dynamic",
        "type": "python",
        "function": "map_tool_to_destination",
        "rules_module": "tpv.rules",
        "tpv_config_files": [f"{site}/tpv_lpmx.yml", f"{site}/tpv_rules.yml"],
    }
    chosen = {"composed": "tpv", "submits": "submits"}
    chosen |= {f"{what}_singularity": "lpmx_singularity" for what in ("look", "sleeps", "pulled")}
    chosen["package_cached"] = "lpmx_singularity"
    for name in _NATIVE:
        if name == "native_sge" and not drmaa:
            continue
        conf["runners"][name], places[name] = _native(site, name, drmaa)
        chosen[name] = name
    conf["tools"] += [{"id": tool, "environment": place} for tool, place in chosen.items()]
    path.write_text(yaml.safe_dump(conf))


def _native(site: Path, name: str, drmaa: str) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The runner and the environment @name."""
    plugin, parameters = _NATIVE[name]
    runner: dict[str, Any] = {"load": f"lpmx_galaxy.runner:{plugin}", "workers": 1}
    if name == "native_sge":
        runner["drmaa_library_path"] = drmaa
    if name == "native_pulsar":
        runner["pulsar_app_config"] = {
            "staging_directory": f"{site}/pulsar",
            "persistence_directory": f"{site}/pulsar-state",
            "conda_auto_init": False,
        }
    place = {
        "runner": name,
        "lpmx_enabled": True,
        "lpmx_cmd": f"{site}/bin/lpmx-docker",
        "require_container": True,
        "tmp_dir": True,
        "container_resolvers": [{"type": "explicit_lpmx"}],
        **parameters,
    }
    return runner, place
