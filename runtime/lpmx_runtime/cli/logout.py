"""`lpmx logout`: forget the credentials for a registry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lpmx_runtime.cli.registry import add_authfile, add_registry
from lpmx_runtime.errors import NotFoundError
from lpmx_runtime.images.registry.login import logout
from lpmx_runtime.reference import registry_name

if TYPE_CHECKING:
    import argparse

HELP = "forget the credentials for a registry"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_registry(parser)
    add_authfile(parser, "only there")


def run(args: argparse.Namespace) -> int:
    """Forget them in all places, and say which those were."""
    registry = registry_name(args.registry)
    places = logout(registry, authfile=args.authfile, environ=os.environ)
    if not places:
        raise NotFoundError(f"{registry}: no credentials are kept for it")
    for place in places:
        print(f"logged out of {registry}: removed from {place}")
    return 0
