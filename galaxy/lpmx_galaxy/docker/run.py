"""`lpmx-docker run`: from docker's flags to a start by lpmx_runtime.

The container shows what docker's would: the image, the volumes, and of the host only /proc, /dev,
/sys and the files that the network needs; the environment is the image's and what -e sets.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpmx_galaxy.frontend.composition import composed, with_host_environment
from lpmx_galaxy.frontend.goflags import parse
from lpmx_runtime.errors import LpmxError, UsageError, storage_errors

from .flags import RUN
from .volumes import read_volumes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lpmx_galaxy.frontend.goflags import Parsed
    from lpmx_runtime.launch.start import Draft, Options, Surroundings
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .volumes import Volumes

__all__ = ["Decision", "decide", "run_command", "set_processors", "wants_root"]

NAME = "lpmx-docker run"
EXIT_ENGINE = 125  # docker: the engine failed, not the program
_PULL = ("always", "missing", "never")
_HIDDEN = frozenset({"home", "cwd", "tmp"})  # default binds of lpmx that docker does not have
# Of the host's variables: what a batch system grants, how to reach the network, our own switches.
_KEPT = (
    "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
    "http_proxy", "https_proxy", "ftp_proxy", "no_proxy",
    "HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY",
    "LPMX_ENGINE", "LPMX_DEBUG", "LPMX_CDI_DIRS", "LPMX_DRIVER_ROOT", "LPMX_OWNERS",
    "PATH",  # to find commands of the host; the container's is the image's
)  # fmt: skip


def run_command(words: Sequence[str]) -> int:
    """Run it; the result is the program's own status."""
    try:
        return _run(words)
    except LpmxError as error:
        if error.exit_code in (1, 2):
            error.exit_code = EXIT_ENGINE
        raise


def _run(words: Sequence[str]) -> int:
    parsed = parse(words, RUN, command=NAME)
    if parsed.is_on("help"):
        print(f"usage: {NAME} [FLAG...] IMAGE [COMMAND [ARG...]]\n\nflags: {' '.join(sorted(RUN))}")
        return 0
    if not parsed.rest:
        raise UsageError(f"{NAME}: no image is named", hint=f"{NAME} [FLAG...] IMAGE [COMMAND...]")
    _check(parsed)

    from lpmx_galaxy.frontend import unenforced as notes
    from lpmx_runtime.config.values import pull_policy
    from lpmx_runtime.store.store import Store

    from .registries.pull import image_for_run

    store = Store.open()
    notes.note(store, NAME, parsed.unenforced)
    image = image_for_run(
        store,
        parsed.rest[0],
        policy=pull_policy(parsed.last("pull")),
        platform=parsed.last("platform"),
        quiet=parsed.is_on("quiet"),
    )
    return _start(store, image, parsed)


def _check(parsed: Parsed) -> None:
    """Refuse what cannot be done before anything is."""
    if parsed.last("pull", "missing") not in _PULL:
        raise UsageError(f"--pull={parsed.last('pull')}: not one of {', '.join(_PULL)}")
    platform = parsed.last("platform")
    if platform and platform.removeprefix("linux/").split("/")[0] not in ("amd64", "x86_64"):
        raise UsageError(
            f"--platform {platform}: programs of another processor cannot run here",
            hint="this engine runs linux/amd64",
        )
    cidfile = parsed.last("cidfile")
    if cidfile and os.path.exists(cidfile):
        raise UsageError(f"--cidfile {cidfile}: exists already", hint="remove it first")


@dataclass(frozen=True)
class Decision:
    """What a command line comes to: a container that is not on disk yet, and what it lacks."""

    draft: Draft
    volumes: Volumes
    here: Surroundings


def decide(store: Store, image: Image, parsed: Parsed, environ: Mapping[str, str]) -> Decision:
    """Decide everything; of the host only the directories that -v names are made."""
    from lpmx_runtime.launch import start as launch

    volumes = read_volumes(store, parsed)
    kept = {name: environ[name] for name in _KEPT if name in environ}
    if parsed.is_on("tty") and "TERM" in environ:
        kept["TERM"] = environ["TERM"]
    here = launch.surroundings(kept)
    options = _options(store, image, parsed, volumes, environ)
    image, options = composed(store, image, options, parsed)
    draft = launch.draft_container(
        store,
        image,
        options,
        here,
        name=parsed.last("name"),
        auto_remove=parsed.is_on("rm"),
    )
    return Decision(draft, volumes, here)


def _start(store: Store, image: Image, parsed: Parsed) -> int:
    from lpmx_galaxy.frontend import unenforced as notes
    from lpmx_galaxy.frontend.folders import with_folders
    from lpmx_runtime.launch import start as launch

    wanted = decide(store, image, parsed, os.environ)
    _limit(parsed)
    container = with_folders(
        store, wanted.draft, fresh=wanted.volumes.fresh, missing=wanted.volumes.anonymous
    )
    with launch.taken_back(container):
        start = with_host_environment(launch.plan_launch(store, container, wanted.here))
        notes.note(store, NAME, {"--gpus": "; ".join(start.notes)} if start.notes else {})
        if parsed.is_on("detach") or not container.auto_remove:
            launch.check_start(start)
        if parsed.last("lpmx-provenance"):
            from lpmx_galaxy.frontend import provenance

            provenance.write(parsed.last("lpmx-provenance"), store, container)
        if parsed.last("cidfile"):
            _write_id(parsed.last("cidfile"), container.id)
        if parsed.is_on("detach"):
            launch.start_detached(start)
        elif not container.auto_remove:
            launch.exec_in_place(start)
    if parsed.is_on("detach"):
        print(container.id)
        return 0
    return launch.run_and_wait(start).follow()


def _write_id(path: str, identifier: str) -> None:
    with storage_errors(f"--cidfile {path}"), open(path, "x", encoding="ascii") as file:
        file.write(identifier)


def _options(
    store: Store, image: Image, parsed: Parsed, volumes: Volumes, environ: Mapping[str, str]
) -> Options:
    from lpmx_galaxy.frontend import ports
    from lpmx_galaxy.frontend.default_locale import default_locale
    from lpmx_runtime.launch.start import Options

    entrypoint: tuple[str, ...] | None = None
    if parsed.all("entrypoint"):
        text = parsed.last("entrypoint")
        entrypoint = (text,) if text else ()
    env = _environment(parsed, environ)
    user = parsed.last("user")
    root = wants_root(user)
    return Options(
        command=tuple(parsed.rest[1:]),
        entrypoint=entrypoint,
        # Docker sets it in every container, and programs ask it rather than the kernel.
        env={
            "HOSTNAME": parsed.last("hostname") or os.uname().nodename,
            **default_locale(store, image, env),
            **env,
        },
        cwd=parsed.last("workdir") or os.path.join("/", image.workdir),
        user="" if root else user,
        fakeroot=root,
        volumes=volumes.binds,
        no_bind=_HIDDEN,
        read_only=parsed.is_on("read-only"),
        gpus=_gpus(parsed),
        ports=ports.choose(
            ports.asked(image, parsed.all("publish"), everything=parsed.is_on("publish-all"))
        ),
    )


def wants_root(user: str) -> bool:
    """Is root asked for by somebody who is not? Then it is emulated."""
    return os.getuid() != 0 and user.partition(":")[0] in ("0", "root")


def _gpus(parsed: Parsed) -> str:
    """--gpus, or the CDI names among --device; device files are visible without being asked for."""
    named = [text for text in parsed.all("device") if not text.startswith("/")]
    return parsed.last("gpus") or ",".join(named)


def _environment(parsed: Parsed, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of --env-file and -e; -e wins."""
    from lpmx_runtime.plans.variables import parse_env, parse_env_file
    from lpmx_runtime.smallfile import read_small_text

    env: dict[str, str] = {}
    for name in parsed.all("env-file"):
        try:
            text = read_small_text(name, errors="surrogateescape")
        except OSError as error:
            raise UsageError(f"--env-file {name}: {error.strerror}") from error
        env.update(parse_env_file(text, environ, name=name))
    env.update(parse_env(parsed.all("env"), environ))
    return env


def _limit(parsed: Parsed) -> None:
    """--ulimit and --cpuset-cpus: a process may set these for itself and its children."""
    for text in parsed.all("ulimit"):
        _set_ulimit(text)
    if parsed.last("cpuset-cpus"):
        set_processors(parsed.last("cpuset-cpus"))


def set_processors(text: str) -> None:
    """Let this process and what it starts run on the processors of `0-3,7` alone."""
    try:
        os.sched_setaffinity(0, _cpus(text))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--cpuset-cpus {text}: not processors of this job",
            hint=f"these are: {','.join(map(str, sorted(os.sched_getaffinity(0))))}",
        ) from error


def _set_ulimit(text: str) -> None:
    import resource

    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    which = getattr(resource, f"RLIMIT_{name.upper()}", None)
    try:
        pair = (int(soft), int(hard or soft))
        if which is None:
            raise ValueError(name)
        resource.setrlimit(which, pair)
    except (ValueError, OSError) as error:
        raise UsageError(f"--ulimit {text}: cannot be set here", hint="NAME=SOFT[:HARD]") from error


def _cpus(text: str) -> set[int]:
    """The numbers of `0-3,7`."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found
