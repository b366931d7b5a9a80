"""The files that make a Galaxy use lpmx: programs with the site's settings, and its configuration.

The programs are scripts that say where store and archives are and start the real ones, so that they
work where the environment is wiped (Nextflow) or another user's (a job of a cluster). Their folder
also has `docker`, `apptainer` and `singularity`: Galaxy's server calls the first by that very name
to list images, other systems look for the others.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpmx_runtime.errors import InUseError, NotFoundError, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["PROGRAMS", "RUNNERS", "Site", "write"]

PROGRAMS = {
    "lpmx-docker": "lpmx-docker",
    "docker": "lpmx-docker",
    "podman": "lpmx-docker",
    "lpmx-singularity": "lpmx-singularity",
    "apptainer": "lpmx-singularity",
    "singularity": "lpmx-singularity",
}
# Galaxy's own runners, from its job_conf.yml.sample_advanced; destinations differ by parameters.
RUNNERS = {
    "local": "galaxy.jobs.runners.local:LocalJobRunner",
    "slurm": "galaxy.jobs.runners.slurm:SlurmJobRunner",
    "drmaa": "galaxy.jobs.runners.drmaa:DRMAAJobRunner",
    "cli": "galaxy.jobs.runners.cli:ShellJobRunner",
    "condor": "galaxy.jobs.runners.condor:CondorJobRunner",
    "pulsar-embedded": "galaxy.jobs.runners.pulsar:PulsarEmbeddedJobRunner",
}
_EXTRA = {
    "cli": "      shell_plugin: LocalShell\n      job_plugin: Slurm\n",
    "pulsar-embedded": "      default_file_action: copy\n",
}


@dataclass(frozen=True)
class Site:
    """What the files depend on; all paths absolute."""

    folder: str
    scripts: str  # where the installed lpmx-docker is
    store: str
    runner: str = "local"
    supply: tuple[str, ...] = ()
    cache: str = ""
    accounts: str = ""  # docker's directory with the user's credentials
    config: str = ""  # the user's config.yaml, there or not

    @classmethod
    def here(cls, folder: str, *, runner: str, supply: Iterable[str], cache: str) -> Site:
        """With the lpmx that runs now and the store it uses."""
        from lpmx_runtime.config.values import user_file
        from lpmx_runtime.store.store import default_root

        return cls(
            os.path.abspath(folder),
            _scripts(),
            os.fspath(default_root()),
            runner,
            tuple(map(os.path.abspath, supply)),
            os.path.abspath(cache) if cache else "",
            os.path.abspath(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")),
            os.path.abspath(user_file()),
        )

    @property
    def programs(self) -> str:
        """The folder of the scripts that are written."""
        return os.path.join(self.folder, "bin")

    def advice(self) -> str:
        """What is to be done with the files."""
        return "\n".join([
            "",
            "in galaxy.yml:",
            f"  job_config_file: {self.folder}/job_conf.yml     (or copy its parts into yours)",
            f"  container_resolvers_config_file: {self.folder}/container_resolvers.yml",
            f"start Galaxy with {self.programs} first on its PATH",
            f"then: lpmx galaxy check {self.folder} IMAGE",
        ])  # fmt: skip


def _scripts() -> str:
    """The folder of lpmx-docker: beside the program that runs, or on the PATH."""
    from shutil import which

    for folder in (os.path.dirname(os.path.abspath(sys.argv[0])), os.path.dirname(sys.executable)):
        if os.path.exists(os.path.join(folder, "lpmx-docker")):
            return folder
    found = which("lpmx-docker")
    if found:
        return os.path.dirname(os.path.abspath(found))
    raise NotFoundError("lpmx-docker is not installed", hint="install lpmx-kernels with pip")


def write(site: Site, *, force: bool = False) -> list[str]:
    """Write all files; their paths. InUseError, and nothing written, where one is there."""
    files = dict(_files(site))
    there = [path for path in files if os.path.lexists(path)]
    if there and not force:
        raise InUseError(f"{there[0]} exists already", hint="--force replaces it")
    with storage_errors(site.folder):
        os.makedirs(site.programs, exist_ok=True)
        for path, (text, mode) in files.items():
            temporary = f"{path}.new"
            with open(temporary, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(temporary, mode)
            os.replace(temporary, path)
    return list(files)


def _files(site: Site) -> Iterator[tuple[str, tuple[str, int]]]:
    for name, real in PROGRAMS.items():
        yield os.path.join(site.programs, name), (script(site, real), 0o755)
    yield os.path.join(site.folder, "job_conf.yml"), (job_conf(site), 0o644)
    yield os.path.join(site.folder, "container_resolvers.yml"), (resolvers(site), 0o644)
    yield os.path.join(site.folder, "tpv_lpmx.yml"), (tpv(site), 0o644)


def script(site: Site, program: str) -> str:
    """A shell script that starts @program with the site's settings.

    A job has a HOME of its own, or none: what is found there otherwise is named.
    """
    lines = [
        "#!/bin/sh",
        "# Written by `lpmx galaxy init`.",
        f"export LPMX_HOME={shlex.quote(site.store)}",
    ]
    if site.supply:
        lines.append(f"export LPMX_SUPPLY={shlex.quote(':'.join(site.supply))}")
    if site.accounts:
        lines.append(f'export DOCKER_CONFIG="${{DOCKER_CONFIG:-{_in_quotes(site.accounts)}}}"')
    if site.config:
        path = shlex.quote(site.config)
        lines.append(f'[ -n "$LPMX_CONFIG" ] || [ ! -f {path} ] || export LPMX_CONFIG={path}')
    lines.append(f'exec {shlex.quote(os.path.join(site.scripts, program))} "$@"')
    return "\n".join(lines) + "\n"


def _in_quotes(text: str) -> str:
    """@text as it is written between double quotes."""
    return "".join(f"\\{sign}" if sign in '"$`\\' else sign for sign in text)


def job_conf(site: Site) -> str:
    """A job_conf.yml: containers for tools, the host for Galaxy's own."""
    extra = _EXTRA.get(site.runner, "")
    return f"""\
# Written by `lpmx galaxy init`. Copy the environments into your own, or use it as it is.
runners:
  local:
    load: {RUNNERS["local"]}
    workers: 4
  tools:
    load: {RUNNERS[site.runner]}
execution:
  default: lpmx_docker
  environments:
    local:
      runner: local
    lpmx_docker:
      runner: tools
{extra}      docker_enabled: true
      docker_cmd: {site.programs}/lpmx-docker
      require_container: true
      tmp_dir: true
      # Interactive tools: Galaxy's monitor asks `docker port`
      container_monitor_command: galaxy-container-monitor
      container_monitor_get_ip_method: "command:echo 127.0.0.1"
    lpmx_singularity:
      runner: tools
{extra}      singularity_enabled: true
      singularity_cmd: {site.programs}/lpmx-singularity
      require_container: true
      tmp_dir: true
tools:
# Uploads, converters and whatever needs Galaxy's own Python run on the host.
- class: local
  environment: local
- class: requires_galaxy
  environment: local
"""


def resolvers(site: Site) -> str:
    """A container_resolvers file that finds images by name, and never waits for a network."""
    cached = (
        f"- type: cached_mulled_singularity\n  cache_directory: {site.cache}\n"
        f"- type: cached_explicit_singularity\n  cache_directory: {site.cache}\n"
        if site.cache
        else ""
    )
    return f"""\
# Written by `lpmx galaxy init`: what a tool names, then what its packages' images are called.
- type: explicit
- type: explicit_singularity
{cached}- type: cached_mulled
"""


def tpv(site: Site) -> str:
    """Destinations for Total Perspective Vortex."""
    return f"""\
# Written by `lpmx galaxy init`: merge it into your TPV configuration. A tool chooses by a tag,
# for example `scheduling: {{require: [docker]}}`.
destinations:
  lpmx_docker:
    runner: tools
    scheduling:
      accept: [docker]
    params:
      docker_enabled: true
      docker_cmd: {site.programs}/lpmx-docker
      require_container: true
      tmp_dir: true
      container_monitor_command: galaxy-container-monitor
      container_monitor_get_ip_method: "command:echo 127.0.0.1"
  lpmx_singularity:
    runner: tools
    scheduling:
      accept: [singularity]
    params:
      singularity_enabled: true
      singularity_cmd: {site.programs}/lpmx-singularity
      require_container: true
      tmp_dir: true
"""
