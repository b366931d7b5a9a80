"""`lpmx doctor`: what works at this site, and what to do about what does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

HELP = "look at what works here, and say what to do about what does not"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="only what is not as it should be"
    )


def run(args: argparse.Namespace) -> int:
    """Print one line a thing; 1 when something of lpmx will not work here."""
    from lpmx_runtime.doctor import Site, examine
    from lpmx_runtime.doctor.finding import worst
    from lpmx_runtime.store.store import default_root

    found = []
    for finding in examine(Site(default_root())):
        if args.quiet and finding.verdict == "ok":
            continue
        found.append(finding)
        if not args.json:
            print(finding, flush=True)
    if args.json:
        print(json.dumps([finding.as_dict() for finding in found], indent=2))
    return 0 if worst(found) != "problem" else 1
