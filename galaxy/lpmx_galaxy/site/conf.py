"""`lpmx galaxy check` reads the site's own files: job_conf, container resolvers, TPV destinations.

What it looks for are the mistakes that Galaxy itself finds only when a job fails, or not at all: a
program that is not there, a flag that lpmx does not know, a resolver that ends Galaxy at its start.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

from lpmx_galaxy.frontend.goflags import parse
from lpmx_runtime.doctor.finding import Finding
from lpmx_runtime.errors import UsageError
from lpmx_runtime.smallfile import read_small_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["destinations", "examine_file", "resolvers"]

_FRONTS = {"docker": "docker", "singularity": "singularity", "lpmx": "lpmx-docker"}
_OWN_RUNNERS = "lpmx_galaxy.runner:"
# Galaxy 26.1's container_resolvers, each with its twin for singularity
_RESOLVERS = {"mapping", "null", "explicit", "cached_explicit_singularity"} | {
    f"{name}{twin}"
    for name in (
        "explicit", "cached_mulled", "mulled", "build_mulled", "fallback",
        "fallback_no_requirements", "requires_galaxy_environment",
    )
    for twin in ("", "_singularity")
}  # fmt: skip


def examine_file(path: str) -> Iterator[Finding]:
    """Look at @path, whichever of the three kinds it is."""
    import yaml

    name = os.path.basename(path)
    try:
        content = yaml.safe_load(read_small_text(path))
    except OSError as error:
        yield Finding(name, "problem", f"{path}: {error.strerror}")
        return
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        yield Finding(name, "problem", f"{path}: not YAML: {' '.join(str(error).split())}")
        return
    if isinstance(content, list):
        found = list(resolvers(content))
    elif isinstance(content, dict) and ("execution" in content or "destinations" in content):
        found = list(destinations(content))
    else:
        yield Finding(name, "problem", f"{path}: neither job_conf, nor resolvers, nor TPV's")
        return
    for finding in found:
        yield Finding(f"{name}: {finding.what}", finding.verdict, finding.detail, finding.advice)
    if not found:
        yield Finding(name, "ok", path)


def destinations(conf: Mapping[str, Any]) -> Iterator[Finding]:
    """What is wrong with the environments of a job_conf, or the destinations of TPV."""
    runners = conf.get("runners")
    execution = conf.get("execution") or {}
    places = execution.get("environments") or conf.get("destinations") or {}
    for name, place in places.items():
        if not isinstance(place, dict):
            continue
        runner = str(place.get("runner", ""))
        load = ""
        if isinstance(runners, dict) and runner != "dynamic":
            if runner not in runners:
                yield Finding(name, "problem", f"there is no runner {runner!r}")
            load = str((runners.get(runner) or {}).get("load", ""))
        known = load if isinstance(runners, dict) else None
        yield from _place(name, {**place, **(place.get("params") or {})}, known)
    default = places.get(execution.get("default"), {})
    mapped = {tool.get("class") for tool in conf.get("tools") or () if isinstance(tool, dict)}
    if _on(default.get("require_container")) and "local" not in mapped:
        yield Finding(
            "tools",
            "problem",
            "uploads and converters have no container, and the default environment requires one",
            "add `- {class: local, environment: ...}` below `tools`",
        )


def _on(value: object) -> bool:
    """As Galaxy reads a switch."""
    return str(value).lower() in ("true", "yes", "on", "1")


def _place(name: str, params: Mapping[str, Any], load: str | None) -> Iterator[Finding]:
    """One environment; @load is what its runner is, None where that is not to be seen."""
    for front, usual in _FRONTS.items():
        if not _on(params.get(f"{front}_enabled")):
            continue
        command = str(params.get(f"{front}_cmd", usual))
        if not _is_program(command):
            yield Finding(
                name, "problem", f"{front}_cmd: {command} is no program here",
                "`lpmx galaxy init` writes programs, and a job_conf that names them",
            )  # fmt: skip
        if _on(params.get(f"{front}_sudo")):
            yield Finding(name, "problem", f"{front}_sudo: lpmx needs no sudo, and root's store is"
                          " another", f"remove {front}_sudo")  # fmt: skip
        yield from _extra(name, front, str(params.get(f"{front}_run_extra_arguments") or ""))
    if _on(params.get("lpmx_enabled")):
        yield from _native(name, params, load)


def _is_program(command: str) -> bool:
    from shutil import which

    return which(command) is not None


def _extra(name: str, front: str, text: str) -> Iterator[Finding]:
    """The flags that a site adds: an unknown one fails each job."""
    if front == "singularity":
        from lpmx_galaxy.singularity.flags import ACTION as FLAGS
    else:
        from lpmx_galaxy.docker.flags import RUN as FLAGS
    setting = f"{front}_run_extra_arguments"
    try:
        # The image comes after them, so that a flag without its value is seen.
        parsed = parse([*shlex.split(text), "--"], FLAGS, command=setting)
    except (UsageError, ValueError) as error:
        yield Finding(name, "problem", getattr(error, "message", f"{setting}: {error}"))
        return
    if parsed.rest:
        yield Finding(name, "problem", f"{setting}: {parsed.rest[0]} would be taken for the image")
    for flag, why in parsed.unenforced.items():
        yield Finding(name, "note", f"{setting}: {flag} has no effect here: {why}")


def _native(name: str, params: Mapping[str, Any], load: str | None) -> Iterator[Finding]:
    if load is not None and not load.startswith(_OWN_RUNNERS):
        yield Finding(
            name, "problem", "lpmx_enabled with a runner that does not know this type",
            f"load one of {_OWN_RUNNERS}Lpmx...JobRunner",
        )  # fmt: skip
    own = params.get("container_resolvers") or ()
    if "explicit_lpmx" not in {one.get("type") for one in own if isinstance(one, dict)}:
        yield Finding(
            name, "problem", "lpmx_enabled without a resolver of its own",
            "add `container_resolvers: [{type: explicit_lpmx}]`",
        )  # fmt: skip


def resolvers(entries: list[Any]) -> Iterator[Finding]:
    """What is wrong with a global container_resolvers file: Galaxy ends at its start with those."""
    for entry in entries:
        kind = entry.get("type") if isinstance(entry, dict) else entry
        if kind == "explicit_lpmx":
            yield Finding(
                kind, "problem", "not known yet when Galaxy reads this file, and ends it",
                "put it into the environment's own container_resolvers",
            )  # fmt: skip
        elif kind not in _RESOLVERS:
            yield Finding(str(kind), "problem", "there is no such resolver, and Galaxy ends by it")
        folder = entry.get("cache_directory") if isinstance(entry, dict) else None
        if folder and not os.path.isdir(folder):
            yield Finding(
                str(kind), "note", f"cache_directory {folder} is not there",
                "`lpmx galaxy prefetch --cache` makes and fills it",
            )  # fmt: skip
