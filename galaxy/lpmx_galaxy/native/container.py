"""The command line of a job in a container of type `lpmx`, as text for Galaxy's job script."""

from __future__ import annotations

import shlex
from typing import Any

from .typename import TYPE

__all__ = ["container_class"]

PROVENANCE = "lpmx_provenance.json"  # in the job's directory


def container_class() -> type:
    """The class; made here because its base is in the Galaxy that runs."""
    from galaxy.tool_util.deps.container_classes import DockerContainer

    class LpmxContainer(DockerContainer):  # type: ignore[misc]
        """Galaxy's docker container, started by one lpmx-docker run."""

        container_type = TYPE

        def containerize_command(self, command: str) -> str:
            """@command, to run in the container, as one line of sh."""
            return run_line(self, command)

    return LpmxContainer


def run_line(container: Any, command: str) -> str:
    """The line of @container, an LpmxContainer. Only names of variables are on it."""
    from galaxy.tool_util.deps.container_classes import _parse_volumes

    job, info = container.job_info, container.destination_info
    if not job or not job.working_directory:
        raise ValueError("a container needs the job's working directory")
    given = {
        key.removeprefix(f"{TYPE}_env_"): value
        for key, value in info.items()
        if key.startswith(f"{TYPE}_env_")
    }
    words = [f"{name}={shlex.quote(str(value))}" for name, value in given.items()]
    words += [shlex.quote(container.prop("cmd", "lpmx-docker")), "run", "--rm"]
    for name in dict.fromkeys((*container.tool_info.env_pass_through, *given)):
        words += ["-e", shlex.quote(name)]
    words += _ports(container.tool_info.guest_ports)
    if container.container_name:
        words += ["--name", shlex.quote(container.container_name)]
    raw = container._expand_volume_str(info.get(f"{TYPE}_volumes", "$defaults"))  # noqa: SLF001
    for volume in _parse_volumes(raw, "docker"):  # the words that docker's volumes are written in
        words += ["-v", str(volume)]
    words += ["-w", shlex.quote(job.working_directory)]
    if job.job_directory:
        words += ["--lpmx-provenance", shlex.quote(f"{job.job_directory}/{PROVENANCE}")]
    extra = container.prop("run_extra_arguments", None)
    if extra:
        words.append(extra)  # as it stands: it may hold variables of the job script
    # Behind `--`, what the tool calls its image is a name, whatever it looks like.
    words += ["--user", '"$(id -u):$(id -g)"', "--", shlex.quote(container.container_id), command]
    return " ".join(words)


def _ports(asked: object) -> list[str]:
    """-P for all ports of the image, or -p for each that the tool names."""
    if asked is True:
        return ["-P"]
    ports = asked if isinstance(asked, list) else [asked] if asked else []
    return [word for port in ports for word in ("-p", shlex.quote(str(port)))]
