"""`lpmx search`: repositories by a word, where a registry offers that."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from lpmx_runtime.cli.registry import add_authfile, add_connection, checks_certificates
from lpmx_runtime.columns import table
from lpmx_runtime.errors import UsageError
from lpmx_runtime.images.registry.places import Access
from lpmx_runtime.images.registry.search import HUB, LIMIT, search
from lpmx_runtime.reference import registry_name
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    import argparse

HELP = "look for repositories in Docker Hub, or in a registry that lists them"
LISTS = True
WIDTH = 60  # of a description


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "word", metavar="[REGISTRY/]WORD", help="part of a name; of Docker Hub's without REGISTRY"
    )
    parser.add_argument(
        "--limit", type=int, default=LIMIT, metavar="N", help=f"how many at most (default {LIMIT})"
    )
    add_authfile(parser, "credentials, no other place")
    add_connection(parser)


def run(args: argparse.Namespace) -> int:
    """Print a list; nothing found is no error."""
    if args.limit < 1:
        raise UsageError(f"--limit {args.limit}: at least 1")
    first, slash, rest = args.word.partition("/")
    named = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry, word = (registry_name(first), rest) if named else (HUB, args.word)
    if not word and registry == HUB:
        raise UsageError("Docker Hub is searched by a word", hint="lpmx search bwa")
    access = Access(args.authfile, args.plain_http, checks_certificates(args))
    found = search(registry, word, access, limit=args.limit)
    if args.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
        return 0
    rows = []
    for one in found:
        text = shown(one.description)
        text = text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
        rows.append((one.name, str(one.stars), "yes" if one.is_official else "", text))
    if registry == HUB:
        print(table(("NAME", "STARS", "OFFICIAL", "DESCRIPTION"), rows))
    else:
        print(table(("NAME",), [row[:1] for row in rows]))
    return 0
