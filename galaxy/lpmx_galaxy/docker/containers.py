"""`lpmx-docker` kill, stop, rm, ps, port: containers by name, from any process of the node."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from lpmx_galaxy.frontend.goflags import Flag, parse, table
from lpmx_runtime.container.names import meant
from lpmx_runtime.errors import LpmxError, NotFoundError, UsageError
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lpmx_runtime.container.record import Container
    from lpmx_runtime.store.store import Store

__all__ = ["kill_command", "port_command", "ps_command", "rm_command", "stop_command"]

_SIGNAL = Flag("signal", ("-s", "--signal"))
_KILL = table([_SIGNAL])
_STOP = table([_SIGNAL, Flag("time", ("-t", "--time", "--timeout"))])
_RM = table([
    Flag("force", ("-f", "--force"), takes_value=False),
    Flag("volumes", ("-v", "--volumes"), takes_value=False),
    Flag("link", ("-l", "--link"), takes_value=False),
])  # fmt: skip
_PS = table([
    Flag("all", ("-a", "--all"), takes_value=False),
    Flag("quiet", ("-q", "--quiet"), takes_value=False),
    Flag("no-trunc", ("--no-trunc",), takes_value=False),
    Flag("format", ("--format",)),
    Flag("filter", ("-f", "--filter")),
    Flag("last", ("-n", "--last")),
    Flag("latest", ("-l", "--latest"), takes_value=False),
    Flag("size", ("-s", "--size"), takes_value=False),
])  # fmt: skip
_GRACE = 10.0  # seconds, docker's default


def _store() -> Store:
    from lpmx_runtime.store.store import Store

    return Store.open()


def _each(names: Sequence[str], command: str, action: Callable[[Store, str], None]) -> int:
    """Do @action for each name, print it, go on after an error; 1 when there was one."""
    if not names:
        raise UsageError(f"lpmx-docker {command}: no container is named")
    store, status = _store(), 0
    for name in names:
        try:
            action(store, name)
        except NotFoundError:
            print(f"Error response: No such container: {shown(name)}", file=sys.stderr)
            status = 1
        except LpmxError as error:
            print(f"Error response: {shown(error.message)}", file=sys.stderr)
            status = 1
        else:
            print(name)
    return status


def _find(store: Store, name: str) -> Container:
    """The container; what reads them is imported only where there may be one."""
    if not any(meant(os.fspath(store.containers_dir), name)):
        raise NotFoundError(f"{name}: no such container")
    from lpmx_runtime.container.record import find

    return find(store, name)


# ---- kill, stop, rm


def kill_command(words: Sequence[str]) -> int:
    """Send a signal to the container's command; SIGKILL to all of its processes."""
    from lpmx_runtime.container.stop import parse_signal, send

    parsed = parse(words, _KILL, command="lpmx-docker kill", interspersed=True)
    number = parse_signal(parsed.last("signal", "KILL"))

    def kill(store: Store, name: str) -> None:
        container = _find(store, name)
        if not send(container, number):
            raise LpmxError(f"container {name} is not running")

    return _each(parsed.rest, "kill", kill)


def stop_command(words: Sequence[str]) -> int:
    """SIGTERM, and SIGKILL to what is left after a while."""
    from lpmx_runtime.container.stop import parse_signal, stop

    parsed = parse(words, _STOP, command="lpmx-docker stop", interspersed=True)
    first = parse_signal(parsed.last("signal", "TERM"))
    try:
        grace = float(parsed.last("time", str(_GRACE)))
    except ValueError as error:
        raise UsageError(f"--time {parsed.last('time')}: not a number of seconds") from error

    def end(store: Store, name: str) -> None:
        stop(_find(store, name), first, grace)

    return _each(parsed.rest, "stop", end)


def rm_command(words: Sequence[str]) -> int:
    """Remove containers; -f kills what runs in them."""
    from lpmx_runtime.container import record as containers

    parsed = parse(words, _RM, command="lpmx-docker rm", interspersed=True)

    def remove(store: Store, name: str) -> None:
        container = _find(store, name)
        containers.remove(store, container, force=parsed.is_on("force"))

    return _each(parsed.rest, "rm", remove)


# ---- ps


def ps_command(words: Sequence[str]) -> int:
    """List containers, newest first; without -a those in which something runs."""
    from lpmx_runtime.container.record import list_containers

    parsed = parse(words, _PS, command="lpmx-docker ps", interspersed=True)
    store = _store()
    filters = [text.partition("=")[::2] for text in parsed.all("filter")]
    rows = []
    for container in reversed(list_containers(store)):
        row = _row(container, full=parsed.is_on("no-trunc"))
        everything = parsed.is_on("all") or parsed.is_on("latest") or parsed.last("last")
        if (everything or row["State"] == "running") and _passes(row, filters):
            rows.append(row)
    count = 1 if parsed.is_on("latest") else int(parsed.last("last") or len(rows))
    rows = rows[:count]
    if parsed.last("format"):
        from lpmx_galaxy.frontend.go_template import render_rows

        if rows:
            print(render_rows(rows, parsed.last("format")))
    elif parsed.is_on("quiet"):
        for row in rows:
            print(row["ID"])
    else:
        from lpmx_runtime.columns import table as columns

        head = ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES")
        fields = ("ID", "Image", "Command", "CreatedAt", "Status", "Ports", "Names")
        print(columns(head, [tuple(row[field] for field in fields) for row in rows]))
    return 0


def _row(container: Container, *, full: bool) -> dict[str, str]:
    import shlex
    import time

    running = bool(container.runs())
    last = container.last_exit() or {}
    state = "running" if running else "exited" if last else "created"
    command = shown(shlex.join(container.argv))
    if not full and len(command) > 22:
        command = command[:21] + "\u2026"
    status = {"running": "Up", "created": "Created"}.get(state, f"Exited ({last.get('status')})")
    return {
        "ID": container.id,
        "Image": container.image_name,
        "Command": f'"{command}"',
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(container.created)),
        "State": state,
        "Status": status,
        "Ports": ", ".join(
            f"0.0.0.0:{outside}->{inside}/tcp" for inside, outside in container.ports
        ),
        "Names": container.label,
    }


def _passes(row: dict[str, str], filters: Sequence[tuple[str, str]]) -> bool:
    for key, value in filters:
        if key == "name":
            if value not in row["Names"]:
                return False
        elif key == "status":
            if value != row["State"]:
                return False
        elif key == "id":
            if not row["ID"].startswith(value):
                return False
        else:
            raise UsageError(f"--filter {key}: not known here", hint="name=, status= or id=")
    return True


# ---- ports


def port_command(words: Sequence[str]) -> int:
    """Say where the container's ports are to be reached on the host."""
    parsed = parse(words, {}, command="lpmx-docker port", interspersed=True)
    if not 1 <= len(parsed.rest) <= 2:
        raise UsageError("lpmx-docker port: CONTAINER [PORT[/PROTOCOL]]")
    pairs = _find(_store(), parsed.rest[0]).ports
    if len(parsed.rest) == 1:
        for inside, outside in pairs:
            print(f"{inside}/tcp -> 0.0.0.0:{outside}")
        return 0
    wanted = parsed.rest[1].removesuffix("/tcp")
    for inside, outside in pairs:
        if str(inside) == wanted:
            print(f"0.0.0.0:{outside}")
            return 0
    raise LpmxError(f"container {parsed.rest[0]} publishes no port {parsed.rest[1]}")
