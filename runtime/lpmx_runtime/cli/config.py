"""`lpmx config`: what all programs go by, and where it comes from."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

HELP = "show the settings of this user and site, and where each comes from"
LISTS = True
_VARIABLES = {
    "store": "LPMX_HOME",
    "pull": "LPMX_PULL",
    "jobs": "LPMX_JOBS",
    "supply": "LPMX_SUPPLY",
    "mirrors": "LPMX_MIRROR",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--schema", action="store_true", help="print the JSON Schema of config.yaml")
    what.add_argument("--schema-path", action="store_true", help="print the name of its file")
    what.add_argument("--path", action="store_true", help="print the name of your config.yaml")


def run(args: argparse.Namespace) -> int:
    """Print one line a setting: its name, its value, where it comes from."""
    from lpmx_runtime.config.file import SCHEMA_FILE
    from lpmx_runtime.config.values import user_file

    if args.path or args.schema_path:
        print(user_file() if args.path else SCHEMA_FILE)
        return 0
    if args.schema:
        with open(SCHEMA_FILE, encoding="utf-8") as file:
            sys.stdout.write(file.read())
        return 0
    rows = list(_settings())
    if args.json:
        listed = {name: {"value": value, "from": origin} for name, value, origin in rows}
        print(json.dumps(listed, indent=2))
        return 0
    from lpmx_runtime.columns import table

    lines = [(name, _text(value), origin) for name, value, origin in rows]
    print(table(("SETTING", "VALUE", "FROM"), lines))
    return 0


def _settings() -> Iterator[tuple[str, Any, str]]:
    """Every setting: name, value, and the variable or file that it is from."""
    import os

    from lpmx_runtime.config import values as config
    from lpmx_runtime.config.file import read_file
    from lpmx_runtime.store.store import default_root

    values: dict[str, Any] = {
        "store": os.fspath(default_root()),
        "pull": config.pull_policy(),
        "jobs": config.jobs(),
        "supply": list(config.supply()),
        "mirrors": [f"{name}={place}" for name, place in config.mirrors()],
    }
    origins = {key: file for file in config.files() for key in read_file(file)}
    for key, value in values.items():
        variable = _VARIABLES[key]
        if (key == "supply" and variable in os.environ) or os.environ.get(variable):
            found = os.environ[variable].split(",") if key == "mirrors" else value
            yield key, found, variable
        else:
            yield key, value, origins.get(key, "default")


def _text(value: object) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
