"""`lpmx galaxy check`: a job as Galaxy would start it, and what came of it.

The command line is the one of Galaxy 26.1 (see tests/unit/test_galaxy_docker_lines.py), the tool a
shell script that looks around and reports.
"""

# ruff: noqa: S108
# Every /tmp here is the container's.
from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

from lpmx_runtime.doctor.finding import Finding
from lpmx_runtime.process.proc import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from subprocess import CompletedProcess

    from lpmx_runtime.doctor.finding import Verdict

__all__ = ["docker_line", "examine", "singularity_line"]

_SCRIPT = """\
echo ran
{ echo x > "$JOB/read-only"; } 2>/dev/null && echo wrote-read-only
echo x > /tmp/lpmx-check && echo wrote-tmp
echo x > result && echo wrote-working
[ -x /bin/bash ] && echo has-bash
echo "locale ${LC_ALL:-${LANG:-none}}"
echo "home $HOME"
[ -w "$HOME" ] && echo wrote-home
exit 3
"""
_SLOW = 1.0  # seconds: a start that takes longer is worth a word


def docker_line(program: str, job: str, name: str, image: str) -> list[str]:
    """The command line of a job in folder @job, as Galaxy's docker destination writes it."""
    line = [program, "run", "-e", "GALAXY_SLOTS=1", "-e", "GALAXY_MEMORY_MB=", "-e", f"JOB={job}"]
    line += ["-e", f"HOME={job}/home", "-e", f"TMPDIR={job}/tmp", "--name", name]
    line += ["-v", f"{job}/tmp:{job}/tmp:rw", "-v", f"{job}/tmp:/tmp:rw", "-v", f"{job}:{job}:ro"]
    line += ["-v", f"{job}/home:{job}/home:rw", "-v", f"{job}/working:{job}/working:rw"]
    line += ["--cpus", "1", "-w", f"{job}/working", "--rm"]
    return [
        *line,
        "--user",
        f"{os.getuid()}:{os.getgid()}",
        image,
        "/bin/sh",
        f"{job}/tool_script.sh",
    ]


def singularity_line(program: str, job: str, image: str) -> list[str]:
    """The same of Galaxy's singularity destination."""
    line = [program, "-s", "exec", "--contain", "--pwd", f"{job}/working", "--cleanenv", "--ipc"]
    line += ["--pid", "--no-mount", "tmp", "-B", f"{job}/tmp:/tmp", "-B", f"{job}:{job}:ro"]
    line += ["-B", f"{job}/working:{job}/working", "--home", f"{job}/home:{job}/home"]
    return [*line, f"docker://{image}", "/bin/sh", f"{job}/tool_script.sh"]


FILES = ("job_conf.yml", "container_resolvers.yml", "tpv_lpmx.yml")


def examine(folder: str, image: str, files: Sequence[str] = ()) -> Iterator[Finding]:
    """Look at @files (none: those of @folder) and programs, and run a job of @image by each."""
    from .conf import examine_file

    for path in files or [os.path.join(folder, name) for name in FILES]:
        yield from examine_file(path)
    programs = os.path.join(os.path.abspath(folder), "bin")
    docker = os.path.join(programs, "lpmx-docker")
    if not os.access(docker, os.X_OK):
        yield Finding(
            "programs", "problem", f"{docker} is not there", f"write it: lpmx galaxy init {folder}"
        )
        return
    yield Finding("programs", "ok", programs)
    done = run([docker, "inspect", image], check=False)
    if done.returncode:
        done = run([docker, "pull", image], check=False)
    if done.returncode:
        yield Finding("image", "problem", *_reason(done))
        return
    yield Finding("image", "ok", image)
    with tempfile.TemporaryDirectory(prefix="lpmx-check-", dir=_place()) as job:
        for name in ("tmp", "home", "working"):
            os.mkdir(os.path.join(job, name))
        with open(os.path.join(job, "tool_script.sh"), "w", encoding="ascii") as file:
            file.write(_SCRIPT)
        name = f"lpmx-check-{os.getpid()}"
        yield from _job("docker", docker_line(docker, job, name, image), job)
        yield _gone(docker, name)
        line = singularity_line(os.path.join(programs, "lpmx-singularity"), job, image)
        env = {**os.environ, "SINGULARITYENV_JOB": job}
        yield from _job("singularity", line, job, env)
    yield _gpus(docker, image)


def _gpus(docker: str, image: str) -> Finding:
    """Would a job that asks for GPUs get them here? It is no problem where there are none."""
    done = run([docker, "run", "--rm", "--gpus", "all", image, "/bin/true"], check=False)
    if done.returncode == 0:
        return Finding("GPU", "ok", "a job that asks for GPUs gets them")
    reason, hint = _reason(done)
    return Finding("GPU", "note", f"none for jobs on this machine: {reason}", hint)


def _place() -> str:
    """Where jobs are: not /tmp, which a job sees otherwise."""
    return os.getcwd() if os.access(".", os.W_OK) else tempfile.gettempdir()


def _reason(done: CompletedProcess[bytes]) -> tuple[str, str]:
    """The message and hint that a program of ours printed."""
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
    hint = lines[1].strip(" ()") if len(lines) > 1 else ""
    return lines[0].partition(": ")[2] or lines[0], hint


def _job(
    what: str, line: list[str], job: str, env: dict[str, str] | None = None
) -> Iterator[Finding]:
    begun = time.monotonic()
    done = run(line, check=False, env=env)
    took = time.monotonic() - begun
    said = done.stdout.decode(errors="replace").splitlines()
    if "ran" not in said:
        yield Finding(f"{what}: tool script", "problem", *_reason(done))
        return
    if done.returncode == 3:
        verdict: Verdict = "note" if took > _SLOW else "ok"
        yield Finding(f"{what}: start and exit status", verdict, f"kept, in {took:.2f} s")
    else:
        yield Finding(f"{what}: exit status", "problem", f"3 became {done.returncode}")
    written = os.path.exists(os.path.join(job, "working", "result"))
    yield _fact(f"{what}: working directory", written, "written", "cannot be written")
    kept = "wrote-read-only" not in said and not os.path.exists(os.path.join(job, "read-only"))
    yield _fact(f"{what}: read-only binds", kept, "kept", "were written")
    yield _fact(f"{what}: /tmp", "wrote-tmp" in said, "written", "cannot be written")
    yield _fact(f"{what}: HOME", f"home {job}/home" in said, "the job's own", "not the job's")
    yield from _image_facts(what, said)


def _fact(what: str, good: bool, yes: str, no: str) -> Finding:
    return Finding(what, "ok" if good else "problem", yes if good else no)


def _image_facts(what: str, said: list[str]) -> Iterator[Finding]:
    """What the image itself lacks: nothing that we can mend."""
    if what != "docker":
        return
    if "has-bash" not in said:
        yield Finding(
            "image: shell", "note", "no /bin/bash", "tools with shell=bash fail in this image"
        )
    locale = next((line.partition(" ")[2] for line in said if line.startswith("locale ")), "none")
    if "utf" in locale.lower():
        yield Finding("image: locale", "ok", locale)
    else:
        yield Finding(
            "image: locale", "note", f"{locale}: no UTF-8", "set docker_env_LANG if it has one"
        )


def _gone(docker: str, name: str) -> Finding:
    """Galaxy kills each container after its job: it must be fast, and no error of ours."""
    begun = time.monotonic()
    done = run([docker, "kill", name], check=False)
    took = time.monotonic() - begun
    if done.returncode == 1 and b"No such container" in done.stderr:
        return Finding("kill after the end", "ok" if took < _SLOW else "note", f"{took:.2f} s")
    return Finding("kill after the end", "problem", _reason(done)[0])
