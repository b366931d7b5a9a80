"""`lpmx load`: bring the images of an archive into the store."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from lpmx_runtime.cli.options import end_in_order
from lpmx_runtime.columns import size_text
from lpmx_runtime.container.engine import NOEXEC_HINT, is_noexec
from lpmx_runtime.images.load import load
from lpmx_runtime.statusline import StatusLine, bar
from lpmx_runtime.store.store import Store
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    import argparse

HELP = "load images from a docker-save archive or an OCI layout"
LISTS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "source", metavar="FILE|DIR|-", help="archive, OCI layout folder, or - for stdin"
    )
    parser.add_argument(
        "-t", "--tag", metavar="NAME[:TAG]", help="the image's name, instead of the archive's"
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print image ids only, no progress"
    )


def run(args: argparse.Namespace) -> int:
    """Load and say what came."""
    end_in_order()
    progress = Bar() if sys.stderr.isatty() and not args.quiet else None

    def report(line: str) -> None:
        if progress is not None:
            progress.end()
        print(f"lpmx: {shown(line)}", file=sys.stderr)

    store = Store.open()
    loaded = load(store, args.source, name=args.tag, progress=progress, report=report)
    if is_noexec(store.layers_dir) and not args.quiet:
        report("the store's file system is mounted noexec: what is loaded cannot be run here")
        print(f"  ({NOEXEC_HINT})", file=sys.stderr)
    if args.json:
        rows = [
            {
                "id": one.image.id,
                "names": list(one.image.names),
                "layers": len(one.image.diff_ids),
                "new_layers": one.new_layers,
                "size": one.image.size,
            }
            for one in loaded
        ]
        print(json.dumps(rows, indent=2))
        return 0
    for one in loaded:
        image = one.image
        if args.quiet:
            print(image.id)
        else:
            names = ", ".join(image.names) or "no name"
            print(
                f"loaded {names} ({image.short_id}): {len(image.diff_ids)} layers, "
                f"{one.new_layers} new, {size_text(image.size)}"
            )
    return 0


class Bar:
    """A progress bar on stderr, redrawn a few times a second and wiped at the end."""

    def __init__(self) -> None:
        self._what = ""
        self._total = self._done = 0
        self._line = StatusLine()

    def begin(self, what: str, total: int) -> None:
        """Something of @total bytes begins."""
        self._what, self._total, self._done = what, total, 0
        self._draw()

    def advance(self, size: int) -> None:
        """@size more bytes are done."""
        self._done += size
        if self._line.is_due():
            self._draw()

    def end(self) -> None:
        """It is over."""
        self._line.wipe()

    def _draw(self) -> None:
        of = f" {bar(self._done, self._total)} of {size_text(self._total)}" if self._total else ""
        self._line.draw(f"{shown(self._what)} {size_text(self._done)}{of}")
