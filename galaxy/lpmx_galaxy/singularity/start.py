"""`lpmx-singularity` exec, run, shell: from Apptainer's flags to a start by lpmx_runtime.

By default a container shows the caller's home, working directory and /tmp; --contain hides them
behind empty folders. The image's own files can be written only with --writable-tmpfs (--compat
means it too) or --writable: what is written goes with the container.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lpmx_galaxy.docker.volumes import bind_text, parse_mount
from lpmx_galaxy.frontend.composition import composed, with_host_environment
from lpmx_galaxy.frontend.goflags import parse
from lpmx_runtime.errors import LpmxError, UsageError

from .accounts import account_of
from .flags import ACTION, FROM_ENVIRONMENT
from .sources import fetching, find_image
from .variables import KEPT, container_variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lpmx_galaxy.frontend.goflags import Parsed
    from lpmx_runtime.container.record import Container
    from lpmx_runtime.launch.start import Draft, Launch, Surroundings
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["Decision", "decide", "exec_command", "read_action", "run_command", "shell_command"]

NAME = "lpmx-singularity"
_TMP = ("/tmp", "/var/tmp")  # noqa: S108  the container's
_RULES = {"tmp": "tmp", "home": "home", "cwd": "cwd", "proc": "proc", "sys": "sys", "dev": "dev"}
_OTHER_RULES = ("hostfs", "bind-paths", "devpts", "localtime", "hosts", "resolv", "passwd", "group")
_WRITABLE = ("writable", "writable-tmpfs", "compat")
_SHELLS = ("/bin/bash", "/bin/sh")


def exec_command(words: Sequence[str]) -> int:
    """Run a program of the image."""
    return _act("exec", words)


def run_command(words: Sequence[str]) -> int:
    """Run what the image is for: ENTRYPOINT and CMD, or the runscript of a SIF."""
    return _act("run", words)


def shell_command(words: Sequence[str]) -> int:
    """Run a shell of the image."""
    return _act("shell", words)


def _act(action: str, words: Sequence[str]) -> int:
    from lpmx_galaxy.frontend import unenforced as notes
    from lpmx_galaxy.frontend.folders import with_folders
    from lpmx_runtime.launch import start as launch
    from lpmx_runtime.store.store import Store

    parsed = read_action(action, words, os.environ)
    if parsed.is_on("help"):
        flags = " ".join(sorted(ACTION))
        print(f"usage: {NAME} {action} [FLAG...] IMAGE [COMMAND [ARG...]]\n\nflags: {flags}")
        return 0
    store = Store.open()
    notes.note(store, f"{NAME} {action}", parsed.unenforced)
    with account_of(parsed):
        image = find_image(store, parsed.rest[0], fetching(parsed))
    wanted = decide(store, image, action, parsed, os.environ)
    _set_processors(parsed)
    container = with_folders(store, wanted.draft, fresh=wanted.fresh)
    with launch.taken_back(container):
        start = _plan(store, container, wanted.here)
    return launch.run_and_wait(start).follow()


def _plan(store: Store, container: Container, here: Surroundings) -> Launch:
    """--nv without a GPU is no error, as with Apptainer: the program can do without."""
    from lpmx_galaxy.frontend import unenforced as notes
    from lpmx_runtime.launch import start as launch

    try:
        start = launch.plan_launch(store, container, here)
    except LpmxError as error:
        if not container.gpus:
            raise
        notes.note(store, NAME, {"--nv": error.message})
        start = launch.plan_launch(store, replace(container, gpus=""), here)
    notes.note(store, NAME, {"--nv": "; ".join(start.notes)} if start.notes else {})
    return with_host_environment(start)


def _set_processors(parsed: Parsed) -> None:
    if parsed.last("cpuset-cpus"):
        from lpmx_galaxy.docker.run import set_processors

        set_processors(parsed.last("cpuset-cpus"))


def read_action(action: str, words: Sequence[str], environ: Mapping[str, str]) -> Parsed:
    """The flags of @words and those that variables set; UsageError for what makes no sense."""
    parsed = parse(words, ACTION, command=f"{NAME} {action}")
    for flag, names in FROM_ENVIRONMENT.items():
        for name in names:
            text = environ.get(f"APPTAINER_{name}") or environ.get(f"SINGULARITY_{name}")
            if text:
                _add(parsed, flag, text)
    if not parsed.rest and not parsed.is_on("help"):
        raise UsageError(f"{NAME} {action}: no image is named")
    if action == "exec" and len(parsed.rest) == 1:
        raise UsageError(f"{NAME} exec: no command is named")
    return parsed


def _add(parsed: Parsed, flag: str, text: str) -> None:
    """A flag from the environment; the command line's own comes later and so wins."""
    spelled = ACTION.get(f"--{flag}")
    if spelled is not None and not spelled.takes_value:
        if text.lower() in ("1", "true", "yes", "y") and flag not in parsed.values:
            parsed.values[flag] = ["true"]
    else:
        parsed.values.setdefault(flag, []).insert(0, text)


@dataclass(frozen=True)
class Decision:
    """What a command line comes to: a container that is not on disk yet, and what it lacks."""

    draft: Draft
    fresh: tuple[str, ...]
    here: Surroundings


def decide(
    store: Store, image: Image, action: str, parsed: Parsed, environ: Mapping[str, str]
) -> Decision:
    """Decide everything and touch nothing."""
    from lpmx_runtime.launch import start as launch

    everything = parsed.is_on("containall") or parsed.is_on("compat")
    contained = everything or parsed.is_on("contain")
    clean = everything or parsed.is_on("cleanenv")
    kept = {name: environ[name] for name in (*KEPT, "HOME", "PWD", "PATH") if name in environ}
    here = launch.surroundings(kept)
    home_bind, home = _home(parsed, here.place.home)
    env = _variables(store, image, parsed, environ, clean=clean)
    env |= {"HOME": home or "/"} | _names(parsed.rest[0])
    volumes = (*home_bind, *_binds(parsed))
    if not contained and not _has_no_tmp(parsed):
        volumes = (*_host_tmp(volumes), *volumes)
    options = launch.Options(
        command=_command(store, image, action, parsed),
        entrypoint=None if action == "run" else (),
        env=env,
        cwd=parsed.last("pwd"),
        fakeroot=parsed.is_on("fakeroot") and os.getuid() != 0,
        read_only=not any(parsed.is_on(name) for name in _WRITABLE),
        volumes=volumes,
        no_bind=_hidden(parsed, contained=contained, homed=bool(home_bind)),
        gpus=_gpus(parsed),
    )
    image, options = composed(store, image, options, parsed)
    draft = launch.draft_container(store, _without_place(image), options, here, auto_remove=True)
    return Decision(draft, _fresh(parsed, volumes, home if contained else ""), here)


def _has_no_tmp(parsed: Parsed) -> bool:
    return "tmp" in ",".join(parsed.all("no-mount")).split(",")


def _host_tmp(volumes: Sequence[str]) -> list[str]:
    """The second folder is the host's too, unless something else is asked to be there."""
    from lpmx_runtime.plans.binds import parse_volume

    path = _TMP[1]
    asked = {parse_volume(text, cwd="/").dst for text in volumes}
    return [path] if os.path.isdir(path) and path not in asked else []


def _home(parsed: Parsed, own: str) -> tuple[list[str], str]:
    """--home [SRC:]DST: what is bound for it, and where the home is."""
    text = parsed.last("home")
    if not text:
        return [], own
    source, colon, target = text.partition(":")
    target = target if colon else source
    if not target.startswith("/"):
        raise UsageError(f"--home {text}: {target or 'nothing'} is not an absolute path")
    return [bind_text(os.path.abspath(source), target, "")], target


def _hidden(parsed: Parsed, *, contained: bool, homed: bool) -> frozenset[str]:
    """The default binds of lpmx that are left out."""
    hidden = {"home", "cwd", "tmp"} if contained else set()
    if parsed.is_on("no-home") or homed:
        hidden.add("home")
    for text in parsed.all("no-mount"):
        for name in filter(None, text.split(",")):
            if name in _RULES:
                hidden.add(_RULES[name])
            elif name not in _OTHER_RULES and not name.startswith("/"):
                raise UsageError(
                    f"--no-mount {text}: {name!r} is not known", hint=", ".join(_RULES)
                )
    return frozenset(hidden)


def _binds(parsed: Parsed) -> list[str]:
    """-B SRC[:DST[:OPTIONS]][,...] and --mount."""
    binds = [
        _bind(one)
        for text in parsed.all("bind")
        for one in text.split(",")
        if one not in ("", "ro", "rw")  # options are themselves a comma list: S:D:rw,ro
    ]
    for text in parsed.all("mount"):
        kind, source, target, read_only = parse_mount(text)
        if kind != "bind":
            raise UsageError(f"--mount {text}: type {kind} is not known", hint="bind")
        binds.append(bind_text(os.path.abspath(source), target, "ro" if read_only else ""))
    return binds


def _bind(text: str) -> str:
    source, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    if mode not in ("", "ro", "rw"):
        raise UsageError(f"--bind {text}: option {mode!r} is not known", hint="ro or rw")
    source = os.path.abspath(source)
    return bind_text(source, target or source, mode.replace("rw", ""))


def _fresh(parsed: Parsed, volumes: Sequence[str], home: str) -> tuple[str, ...]:
    """Folders that begin empty: those of --scratch, and with --contain home and /tmp."""
    from lpmx_runtime.plans.binds import parse_volume

    asked = {parse_volume(text, cwd="/").dst for text in volumes}
    wanted = [path for text in parsed.all("scratch") for path in text.split(",")]
    if home:
        wanted += [home, *(() if _has_no_tmp(parsed) else _TMP)]
    return tuple(path for path in dict.fromkeys(wanted) if path not in asked and path != "/")


def _variables(
    store: Store, image: Image, parsed: Parsed, environ: Mapping[str, str], *, clean: bool
) -> dict[str, str]:
    from lpmx_galaxy.frontend.default_locale import default_locale

    env = container_variables(
        image.env,
        environ,
        clean=clean,
        env=parsed.all("env"),
        env_files=parsed.all("env-file"),
    )
    return {**default_locale(store, image, env), **env}


def _names(text: str) -> dict[str, str]:
    """How a program may know that it runs in a container, and in which."""
    base = os.path.basename(text)
    return {
        "APPTAINER_CONTAINER": text,
        "APPTAINER_NAME": base,
        "SINGULARITY_CONTAINER": text,
        "SINGULARITY_NAME": base,
    }


def _command(store: Store, image: Image, action: str, parsed: Parsed) -> tuple[str, ...]:
    command = tuple(parsed.rest[1:])
    if action != "shell":
        return command
    from lpmx_runtime.union.view import View

    shell = parsed.last("shell")
    if not shell:
        with View(store.view_path(image.chain_id)) as view:
            shell = next((path for path in _SHELLS if view.lookup(path)), _SHELLS[-1])
    return (shell, *command)


def _gpus(parsed: Parsed) -> str:
    named = [text for text in parsed.all("device") if not text.startswith("/")]
    wanted = any(parsed.is_on(name) for name in ("nv", "nvccli", "rocm"))
    return ",".join(named) or ("all" if wanted else "")


def _without_place(image: Image) -> Image:
    """@image without WORKDIR and USER, which Apptainer does not follow."""
    run = image.config.get("config")
    run = {**run, "WorkingDir": "", "User": ""} if isinstance(run, dict) else {}
    return replace(image, config={**image.config, "config": run})
