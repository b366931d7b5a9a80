#!/usr/bin/python3
"""Build the test images, or say where they are.

usage: build.py [--list | --paths | --refs] [NAME...]     no NAME: all that the full tier needs

The cache is tests/.cache, or $LPMX_TEST_CACHE. What is cached and made by the present recipe is not
built again.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from images.all import RECIPES
from images.builder import Builder, BuildError


def cache_folder() -> Path:
    """Where built images are kept."""
    override = os.environ.get("LPMX_TEST_CACHE")
    return Path(override or Path(__file__).resolve().parents[1] / ".cache").absolute()


def archive(name: str) -> Path:
    """The docker-save archive of test image @name, built now if it is not cached (needs root)."""
    return Builder(cache_folder()).image(RECIPES[name])


def reference(name: str) -> str:
    """The name test image @name has once it is loaded."""
    return RECIPES[name].reference


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="build the test images")
    parser.add_argument("--list", action="store_true", help="print the names and build nothing")
    parser.add_argument("--paths", action="store_true", help="print only the archives' paths")
    parser.add_argument("--refs", action="store_true", help="print only the images' names")
    parser.add_argument("names", nargs="*", choices=[*RECIPES, []], metavar="NAME")
    options = parser.parse_args(arguments)
    names = options.names or [name for name, r in RECIPES.items() if not r.on_demand]
    for name in names:
        if options.list:
            print(name)
            continue
        begin = time.monotonic()
        try:
            path = archive(name)
        except BuildError as error:
            print(f"build.py: {error}", file=sys.stderr)
            return 1
        if options.paths or options.refs:
            print(path if options.paths else reference(name))
        else:
            size = path.stat().st_size / 1e6
            print(f"{name}: {path} ({size:.0f} MB, {time.monotonic() - begin:.1f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
