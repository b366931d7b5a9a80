"""`lpmx env`: environment files checked, locked, built and shown; docs/environments.md."""

from __future__ import annotations

import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

from lpmx_runtime.cli import options
from lpmx_runtime.errors import LpmxError
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from lpmx_runtime.compose.resolve import Composition, Member

_FETCHING = ("lock", "build")
HELP = "check, lock, build or show an environment file"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("check", "say all that is wrong with it; nothing is started"),
        ("lock", "pin every image by digest, in NAME.lock.json beside the file"),
        ("build", "check it and lock it if it has no lock, so that it starts as it is now"),
        ("show", "print what it comes to: images, programs, binds, variables"),
    ):
        action = actions.add_parser(name, help=text, description=text, allow_abbrev=False)
        action.add_argument("file", metavar="ENV.yaml", help="environment file")
        action.add_argument("--json", action="store_true", dest="json_here", help="print JSON")
        if name in _FETCHING:
            options.add_pull(action)
    schema = actions.add_parser(
        "schema", help="print the JSON Schema of environment files", allow_abbrev=False
    )
    schema.add_argument("--path", action="store_true", help="print the name of its file")
    schema.set_defaults(json_here=False)


def run(args: argparse.Namespace) -> int:
    """Do what ACTION says."""
    args.json = args.json or args.json_here
    if args.action == "schema":
        return _schema(path=args.path)
    if args.action in _FETCHING:
        fetching = {"lock": _lock, "build": _build}
        return fetching[args.action](args.file, args.json, args.pull)
    actions = {"check": _check, "show": _show}
    return actions[args.action](args.file, args.json)


def _schema(*, path: bool) -> int:
    from lpmx_runtime.compose.envfile import SCHEMA_FILE

    if path:
        print(SCHEMA_FILE)
        return 0
    with open(SCHEMA_FILE, encoding="utf-8") as file:
        sys.stdout.write(file.read())
    return 0


# ---- check


def _check(file: str, as_json: bool) -> int:
    """Print every error, as an editor or a script would read it; status 2 when there is one."""
    from lpmx_runtime.compose.resolve import compose_all
    from lpmx_runtime.store.store import Store

    try:
        composition, errors = compose_all(Store.open(), file, os.environ)
    except LpmxError as error:
        composition, errors = None, [error]
    if as_json:
        rows = [row for found in errors for row in _error_rows(found)]
        print(json.dumps({"file": file, "errors": rows}, indent=2))
    else:
        for found in errors:
            _print_error(found)
    if errors or composition is None:
        return 2
    if not as_json:
        print(f"{file}: fine: {_summary(composition)}")
    return 0


def _print_error(error: LpmxError) -> None:
    hint = [f"  ({error.hint})"] if error.hint else []
    for line in (error.message, *hint, *getattr(error, "more", ())):
        print(shown(line), file=sys.stderr)


def _error_rows(error: LpmxError) -> list[dict[str, Any]]:
    place = getattr(error, "place", None)
    where = {"file": place.file, "line": place.line, "column": place.column} if place else {}
    first = {"message": error.message, "hint": error.hint, **where}
    return [first, *({"message": line, "hint": None} for line in getattr(error, "more", ()))]


def _summary(composition: Composition) -> str:
    images = len({member.image.id for member in composition.members.values()})
    commands = len(composition.top.commands)
    locked = "locked" if composition.locked else "not locked"
    return (
        f"{images} image{'s' * (images != 1)}, {commands} mapped command{'s' * (commands != 1)},"
        f" {locked}"
    )


# ---- lock and build


def _lock(file: str, as_json: bool, pull: str) -> int:
    """Write the lock, also over one that is stale."""
    from lpmx_runtime.compose.lock import write_lock
    from lpmx_runtime.compose.resolve import lock_environment
    from lpmx_runtime.fetch.obtain import finder
    from lpmx_runtime.store.store import Store

    store = Store.open()
    lock = lock_environment(store, file, find=finder(store, pull))
    changed = write_lock(lock)
    if as_json:
        pins = {name: pin.image_id for name, pin in lock.images.items()}
        print(json.dumps({"lock": lock.file, "changed": changed, "images": pins}, indent=2))
        return 0
    for name, pin in lock.images.items():
        print(f"{pin.image_id[:12]}  {name}")
    print(f"{os.path.relpath(lock.file)}: {'written' if changed else 'up to date'}")
    return 0


def _build(file: str, as_json: bool, pull: str) -> int:
    """Check everything, and lock what is not locked."""
    from lpmx_runtime.compose.lock import read_lock
    from lpmx_runtime.compose.resolve import compose
    from lpmx_runtime.fetch.obtain import finder
    from lpmx_runtime.store.store import Store

    store = Store.open()
    composition = compose(store, file, os.environ, find=finder(store, pull))
    if read_lock(composition.top.key) is None:
        return _lock(file, as_json, "never")
    if as_json:
        pins = {member.image.name: member.image.id for member in composition.members.values()}
        print(json.dumps({"changed": False, "images": pins}, indent=2))
    else:
        print(f"{file}: {_summary(composition)}, up to date")
    return 0


# ---- show


def _show(file: str, as_json: bool) -> int:
    from lpmx_runtime.compose.resolve import compose
    from lpmx_runtime.store.store import Store

    composition = compose(Store.open(), file, os.environ)
    if as_json:
        print(json.dumps(_as_dict(composition), indent=2))
        return 0
    for number, member in enumerate(composition.members.values()):
        if number:
            print()
        for name, value in _facts(member):
            print(f"{name:<10} {shown(value)}")
    print(f"\nlock       {'yes' if composition.locked else 'none: `lpmx env lock` makes one'}")
    return 0


def _facts(member: Member) -> list[tuple[str, str]]:
    environment = member.environment
    image = f"{member.image.name} ({member.image.short_id})"
    if environment is None:
        return [("image", image)]
    facts = [("name", environment.name), ("file", os.path.relpath(environment.file))]
    facts.append(("image", image))
    facts += [("bind", volume.text) for volume in environment.binds]
    facts += [("env", _variable(name, value)) for name, value in environment.env.items()]
    for name in ("cwd", "user", "batch"):
        if value := getattr(environment, name):
            facts.append((name, value))
    if environment.gpus:
        facts.append(("gpus", " ".join(environment.gpus)))
    facts += [("command", _command(member, name)) for name in member.commands]
    if environment.kernel:
        words = shlex.join(environment.kernel.argv)
        facts.append(("kernel", f"{environment.kernel.language} {words}".strip()))
    return facts


def _variable(name: str, value: str | None) -> str:
    return f"{name} (the host's)" if value is None else f"{name}={value}"


def _command(member: Member, name: str) -> str:
    return f"{name} -> {member.describe(name)}"


def _as_dict(composition: Composition) -> dict[str, Any]:
    return {
        "locked": composition.locked,
        "files": list(composition.files),
        "members": [_member_dict(member) for member in composition.members.values()],
    }


def _member_dict(member: Member) -> dict[str, Any]:
    environment = member.environment
    data: dict[str, Any] = {"image": member.image.name, "id": member.image.id}
    if environment is None:
        return data
    return data | {
        "name": environment.name,
        "file": environment.file,
        "binds": [volume.text for volume in environment.binds],
        "env": dict(environment.env),
        "cwd": environment.cwd,
        "user": environment.user,
        "batch": environment.batch,
        "gpus": list(environment.gpus),
        "commands": _commands_dict(member),
    }


def _commands_dict(member: Member) -> Mapping[str, Any]:
    return {name: member.describe(name) for name in member.commands}
