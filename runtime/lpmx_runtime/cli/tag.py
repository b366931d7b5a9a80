"""`lpmx tag`: another name for an image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    import argparse

HELP = "give an image another name"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("image", metavar="IMAGE", help="name or id of an image")
    parser.add_argument("name", metavar="NAME[:TAG]", help="the new name")


def run(args: argparse.Namespace) -> int:
    """Tag it."""
    store = Store.open()
    with store.adding():
        store.tag(args.name, store.resolve(args.image).id)
    return 0
