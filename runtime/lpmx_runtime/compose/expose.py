"""Commands of a container on the PATH of the host: small scripts that need no Python.

`expose` makes one container that is kept, compiles its plan, and writes for each command a script
of a few lines that becomes `lpmx-exec --plan PLAN -- COMMAND`. So a call costs a shell and a start
of a container, milliseconds, and arguments, input, descriptors, status and signals are those of
the command. Calls share the container and may run at the same time.

The working directory of a call is not known beforehand. So the container shows every top folder of
the host that its image does not have (/data, /scratch, /home, ...) at its own path.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lpmx_runtime.container import record as containers
from lpmx_runtime.errors import InUseError, LpmxError, NotFoundError, UsageError, storage_errors
from lpmx_runtime.launch import start as launch
from lpmx_runtime.plans.variables import pass_list
from lpmx_runtime.smallfile import read_small_text
from lpmx_runtime.store.store import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lpmx_runtime.container.record import Container
    from lpmx_runtime.fetch.obtain import Finder
    from lpmx_runtime.launch.start import Options, Surroundings
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .resolve import Composition

__all__ = ["Exposed", "Request", "expose", "list_exposed", "parse_request", "unexpose"]

PLAN = "expose.plan"
RECORD = "exposed.json"
_MARK = "# lpmx exposes "
_CONTAINER = re.compile(r"^# container: ([0-9a-f]+) of the store (.*)$", re.MULTILINE)
# Of the host's top folders, those that mean the system itself, or have a default bind.
_NOT_SHOWN = {
    "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "lost+found", "opt", "proc",
    "root", "run", "sbin", "sys", "tmp", "usr", "var",
}  # fmt: skip

SCRIPT = """\
#!/bin/sh
{mark}{command} of {source}; `lpmx unexpose` removes this file
# container: {container} of the store {store}
loader={loader}
plan={plan}
view={view}
if [ ! -r "$plan" ] || [ ! -r "$view" ] || [ ! -x "$loader" ]; then
    read -r first 2>/dev/null </proc/self/mounts
    case "$first" in
    "lpmx / "*)
        echo "lpmx: $0: a container cannot be started from inside another" >&2
        echo "  (map the command when the outer one is started: "{mapped}")" >&2
        exit 126 ;;
    esac
    gone="the container it runs in has been removed"
    [ -r "$plan" ] && gone="its image has been removed"
    [ -x "$loader" ] || gone="lpmx is not installed there any more ($loader)"
    echo "lpmx: $0: $gone" >&2
    echo "  (make it anew: "{again}")" >&2
    exit 127
fi
exec "$loader" --plan "$plan" --pass {passed} --here "$PWD" -- {words} "$@"
"""


@dataclass(frozen=True)
class Request:
    """One command to expose: the file name it gets, and the command in the container."""

    name: str
    command: str


@dataclass(frozen=True)
class Exposed:
    """One exposed command as the container's record knows it."""

    path: str
    command: str
    source: str
    container: Container

    @property
    def present(self) -> bool:
        """Is the script still there, and still that container's?"""
        return _container_of(self.path) == self.container.id


def parse_request(word: str) -> Request:
    """NAME, NAME=COMMAND, or an absolute path of the container, whose last part is the name."""
    name, sign, command = word.partition("=")
    if not sign:
        name, command = posixpath.basename(word), word
    if not name or not command or "/" in name or command.endswith("/"):
        raise UsageError(
            f"{word}: not the name of a command",
            hint="write NAME, NAME=COMMAND, or an absolute path in the container",
        )
    if "/" in command and not command.startswith("/"):
        raise UsageError(f"{word}: {command} is neither a name nor an absolute path")
    return Request(name, command)


def expose(
    store: Store,
    source: str,
    requests: Sequence[Request],
    folder: str,
    here: Surroundings,
    *,
    force: bool = False,
    find: Finder | None = None,
) -> list[str]:
    """Write a script for each of @requests of image or environment @source into @folder.

    @find brings in images that are missing. The paths of the scripts. UsageError when a command is
    not there or is the host's own, InUseError when a file is in the way and @force is not given.
    """
    folder = os.path.abspath(os.path.expanduser(folder))
    paths = [os.path.join(folder, request.name) for request in requests]
    for path in paths:
        _check_free(path, force=force)
    image, options, passed = _decide(store, source, requests, here, find)
    with _container(store, image, options, source, here) as container:
        with storage_errors(folder):
            os.makedirs(folder, exist_ok=True)
            for path, request in zip(paths, requests, strict=True):
                text = _script(store, container, source, request, options, passed).encode(
                    "utf-8", "surrogateescape"
                )
                atomic_write(path, text, mode=0o755, durable=False)
                os.chmod(path, 0o755)  # noqa: S103  for others to call; umask does not matter
        _record(container, source, dict(zip(paths, [r.command for r in requests], strict=True)))
    return paths


def _check_free(path: str, *, force: bool) -> None:
    if os.path.isdir(path):
        raise InUseError(f"{path}: a directory is in the way")
    if os.path.lexists(path) and not force and not _container_of(path):
        raise InUseError(f"{path}: exists already", hint="--force replaces it")


# ---- the container


def _decide(
    store: Store,
    source: str,
    requests: Iterable[Request],
    here: Surroundings,
    find: Finder | None,
) -> tuple[Image, Options, str]:
    """Image and options of the container, and the variables that a call brings along."""
    from .envfile import is_environment_file

    asked = launch.Options(no_bind=frozenset({"cwd"}))
    open_names: list[str] = []  # variables whose value is the host's at each call
    if is_environment_file(source):
        from .resolve import compose
        from .start import environment_options, merge_options

        composition = compose(store, source, here.environ, find=find)
        environment = composition.top.environment
        assert environment is not None
        open_names = [name for name, value in environment.env.items() if value is None]
        image = composition.top.image
        options = merge_options(environment_options(composition, {}), asked)
        _check(store, image, requests, composition)
    else:
        image, options = (find or store.resolve)(source), asked
        _check(store, image, requests)
    volumes = (*_host_folders(store, image), *options.volumes)
    passed = pass_list({**image.env, **options.env}, open_names)
    prefix = options.entrypoint or ()
    return image, replace(options, volumes=volumes, entrypoint=prefix, command=("true",)), passed


def _check(
    store: Store, image: Image, requests: Iterable[Request], composition: Composition | None = None
) -> None:
    """Raise UsageError unless each of @requests is a program of @image or mapped to a container.

    @composition: the environment, when @image is that of one.
    """
    from lpmx_runtime.union.programs import find_program
    from lpmx_runtime.union.tree import Tree

    from .resolve import HostProgram

    commands = composition.top.commands if composition else {}
    environment = composition.top.environment if composition else None
    search_path = (environment.env.get("PATH") if environment else "") or image.env.get("PATH", "")
    with Tree.of_image(store, image) as tree:
        for request in requests:
            mapped = commands.get(request.command)
            if isinstance(mapped, HostProgram):
                raise UsageError(
                    f"{request.command}: runs on the host already ({mapped.path})",
                    hint="expose only what runs in a container",
                )
            if mapped is None and find_program(tree, request.command, search_path) is None:
                found = find_program(tree, os.path.basename(request.command), search_path)
                raise UsageError(
                    f"{request.command}: {image.name} has no such program",
                    hint=f"there is {found}" if found else None,
                )


def _host_folders(store: Store, image: Image) -> list[str]:
    """As volumes: the host's top folders that the image does not have, or has empty."""
    from lpmx_runtime.union.view import View

    found = []
    with View(store.view_path(image.chain_id)) as view:
        for name in (*sorted(set(os.listdir("/")) - _NOT_SHOWN), "var/tmp"):
            node = view.lookup(f"/{name}")
            if os.path.isdir(f"/{name}") and (node is None or not view.children(node)):
                found.append(f"/{name}".replace(":", "\\:"))
    return found


@contextlib.contextmanager
def _container(
    store: Store, image: Image, options: Options, source: str, here: Surroundings
) -> Iterator[Container]:
    """The container for just these options: the one that is there already, or a new one.

    A new one goes again if what is done with it fails.
    """
    quiet = replace(here, environ={})  # variables come with each call
    draft = launch.draft_container(store, image, options, quiet)
    settled = {
        key: value
        for key, value in draft.container.as_dict().items()
        if key not in ("id", "name", "created", "creator", "image_name")
    }
    digest = hashlib.sha256(json.dumps(settled, sort_keys=True).encode()).hexdigest()[:8]
    stem = re.sub(r"[^A-Za-z0-9_.-]", "-", posixpath.basename(source))[:60]
    name = f"exposed-{stem}-{digest}"
    with contextlib.ExitStack() as undo:
        try:
            container = containers.find(store, name)
        except NotFoundError:
            named = replace(draft, container=replace(draft.container, name=name))
            launch.plan_launch(store, named.container, quiet)  # what cannot be is not made
            container = named.create(store)
            undo.enter_context(launch.taken_back(container))
        start = launch.plan_launch(store, container, quiet)
        with storage_errors(f"container {container.label}"):
            start.prepare()
            atomic_write(container.path(PLAN), start.whole_plan())
        yield container


def _script(
    store: Store,
    container: Container,
    source: str,
    request: Request,
    options: Options,
    passed: str,
) -> str:
    from lpmx_runtime.container.engine import engine_path

    words = (*(options.entrypoint or ()), request.command)
    shown = source if not os.path.exists(source) else os.path.abspath(source)
    same = posixpath.basename(request.command) == request.name
    word = request.command if same else f"{request.name}={request.command}"
    kind = "env" if os.path.exists(source) else "image"
    mapping = f"{request.name}={kind}:{shown}" + ("" if same else f":{request.command}")
    return SCRIPT.format(
        mark=_MARK,
        command=_one_line(request.command),
        source=_one_line(shown),
        container=container.id,
        store=_one_line(os.fspath(store.root)),
        loader=shlex.quote(engine_path(store)),
        plan=shlex.quote(container.path(PLAN)),
        view=shlex.quote(os.fspath(store.view_path(container.chain_id))),
        again=shlex.quote(f"lpmx expose --force {_one_line(shown)} {word} --to DIR"),
        mapped=shlex.quote(f"`lpmx run -m {_one_line(mapping)} ...`"),
        passed=shlex.quote(passed),
        words=shlex.join(words),
    )


def _one_line(text: str) -> str:
    return text.replace("\n", "?")


# ---- the record


def _record(container: Container, source: str, commands: Mapping[str, str]) -> None:
    """Remember the scripts in the container's folder."""
    known = _read_record(container)
    known.update(
        {path: {"command": command, "source": source} for path, command in commands.items()}
    )
    atomic_write(container.path(RECORD), json.dumps(known, indent=1).encode())


def _read_record(container: Container) -> dict[str, dict[str, str]]:
    try:
        with open(container.path(RECORD), "rb") as file:
            data = json.load(file)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _container_of(path: str) -> str:
    """The id of the container that script @path runs in; "" for what is no script of ours."""
    try:
        head = read_small_text(path, errors="surrogateescape")[:8192]
    except OSError:
        return ""
    found = _CONTAINER.search(head)
    return found[1] if found and _MARK in head else ""


def list_exposed(store: Store) -> list[Exposed]:
    """All exposed commands of @store, also those whose script somebody has removed."""
    return [
        Exposed(path, row["command"], row["source"], container)
        for container in containers.list_containers(store)
        for path, row in sorted(_read_record(container).items())
    ]


def unexpose(store: Store, path: str) -> None:
    """Remove script @path, and the container with the last script that used it."""
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.lexists(path):
        raise NotFoundError(f"{path}: no such file", hint="`lpmx expose --list` lists them")
    identifier = _container_of(path)
    if not identifier:
        raise UsageError(f"{path}: not a script of `lpmx expose`", hint="it is left alone")
    with storage_errors(path):
        os.unlink(path)
    try:
        container = containers.find(store, identifier)
    except LpmxError:
        return  # gone already
    record = _read_record(container)
    record.pop(path, None)
    if any(_container_of(other) == identifier for other in record):
        atomic_write(container.path(RECORD), json.dumps(record, indent=1).encode())
    else:
        containers.remove(store, container)
