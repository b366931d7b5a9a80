"""`lpmx pull`: bring images of registries into the store."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

from lpmx_runtime.columns import size_text
from lpmx_runtime.config import JOBS
from lpmx_runtime.errors import UsageError
from lpmx_runtime.images.registry.pull import Options, pull
from lpmx_runtime.store.store import Store
from lpmx_runtime.text import raw, shown

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from lpmx_runtime.images.registry.download import Descriptor
    from lpmx_runtime.images.registry.pull import Pulled

HELP = "bring images of registries into the store"
LISTS = True
INTERVAL = 0.1  # seconds between two states of the progress line
WIDTH = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="image: [REGISTRY/]NAME[:TAG][@sha256:HEX]"
    )
    parser.add_argument(
        "--platform",
        default="",
        metavar="OS/ARCH[/VARIANT]",
        help="of an image of several platforms",
    )
    parser.add_argument(
        "--jobs", type=int, metavar="N", help=f"layers at a time (default {JOBS}, or config.yaml's)"
    )
    parser.add_argument(
        "--authfile", default="", metavar="FILE", help="credentials, no other place"
    )
    parser.add_argument(
        "--plain-http", action="store_true", help="the registry speaks http without TLS"
    )
    parser.add_argument(
        "--tls-verify", default="true", choices=("true", "false"), help="look at certificates"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print image ids only")


def run(args: argparse.Namespace) -> int:
    """Pull one after the other, and say what came."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs {args.jobs}: at least 1")
    options = Options(
        args.platform, args.jobs or 0, args.authfile, args.plain_http, args.tls_verify == "true"
    )
    store = Store.open()
    rows = []
    for name in args.names:
        display = Display(name, quiet=args.quiet)
        try:
            pulled = pull(store, name, options, meter=display.begin, report=display.say)
        finally:
            display.end()
        rows.append(_row(pulled))
        if not args.json:
            _tell(name, pulled, quiet=args.quiet)
    if args.json:
        print(json.dumps(rows, indent=2))
    return 0


def _row(pulled: Pulled) -> dict[str, object]:
    return {
        "id": pulled.image.id,
        "names": list(pulled.image.names),
        "digest": pulled.digest,
        "layers": len(pulled.image.diff_ids),
        "new_layers": pulled.new_layers,
        "size": pulled.image.size,
        "was_here": pulled.was_here,
    }


def _tell(name: str, pulled: Pulled, *, quiet: bool) -> None:
    image = pulled.image
    if quiet:
        print(image.id)
    elif pulled.was_here:
        print(f"{name} is up to date ({image.short_id}, {pulled.digest})")
    else:
        print(
            f"pulled {name} ({image.short_id}): {len(image.diff_ids)} layers, "
            f"{pulled.new_layers} new, {size_text(image.size)}, {pulled.digest}"
        )


class Display:
    """What a pull shows on standard error: one line that is redrawn, or one a layer."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        self._name, self._quiet = name, quiet
        self._terminal = sys.stderr.isatty() and not quiet
        self._guard = threading.Lock()
        self._total = self._have = self._layers = self._whole = 0
        self._drawn = 0.0
        self._shown = False

    def begin(self, blobs: Sequence[Descriptor]) -> Display:
        """These are to come."""
        self._layers, self._total = len(blobs), sum(blob.size for blob in blobs)
        return self

    def advance(self, blob: Descriptor, size: int) -> None:  # noqa: ARG002  the interface of Meter
        """@size more bytes are here."""
        with self._guard:
            self._have += size
            if self._terminal and time.monotonic() - self._drawn >= INTERVAL:
                self._draw()

    def done(self, blob: Descriptor) -> None:
        """It is whole."""
        with self._guard:
            self._whole += 1
            if self._terminal:
                self._draw()
            elif not self._quiet:
                print(
                    f"layer {blob.digest[:12]}: {size_text(blob.size)} "
                    f"({self._whole} of {self._layers})",
                    file=sys.stderr,
                )

    def say(self, line: str) -> None:
        """Something that the user should know."""
        with self._guard:
            self._wipe()
            print(f"lpmx: {shown(line)}", file=sys.stderr)

    def end(self) -> None:
        """It is over."""
        with self._guard:
            self._wipe()

    def _wipe(self) -> None:
        if self._shown:
            raw(sys.stderr).write("\r\033[K")
            sys.stderr.flush()
            self._shown = False

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._shown = True
        filled = min(WIDTH, self._have * WIDTH // self._total) if self._total else WIDTH
        bar = f"[{'#' * filled}{'.' * (WIDTH - filled)}]"
        text = (
            f"{shown(self._name)}: {self._whole} of {self._layers} layers {bar} "
            f"{size_text(self._have)} of {size_text(self._total)}"
        )
        width = os.get_terminal_size(sys.stderr.fileno()).columns
        raw(sys.stderr).write(f"\r\033[K{text[: max(20, width - 1)]}")
        sys.stderr.flush()
