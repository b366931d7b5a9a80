"""`lpmx-docker push`: an image into a registry, in docker's words."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lpmx_galaxy.frontend.goflags import Flag, parse, table
from lpmx_runtime.errors import ImageNotFoundError, LpmxError, UsageError
from lpmx_runtime.reference import parse_reference

from .answers import DAEMON

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["push_command"]

PUSH = "lpmx-docker push"
_PUSH = table([
    Flag("quiet", ("-q", "--quiet"), takes_value=False),
    Flag("disable-content-trust", ("--disable-content-trust",), takes_value=False),
    Flag("tls-verify", ("--tls-verify",), takes_value=False),
    Flag("authfile", ("--authfile",)),  # podman's, like --tls-verify
])  # fmt: skip


def push_command(words: Sequence[str]) -> int:
    """Push the image of one name; its digest and size are the last line."""
    from lpmx_runtime.images.progress import Display
    from lpmx_runtime.images.registry.send.push import Options, push
    from lpmx_runtime.images.registry.wire.errors import DeniedError
    from lpmx_runtime.store.store import Store

    parsed = parse(words, _PUSH, command=PUSH, interspersed=True)
    if len(parsed.rest) != 1:
        raise UsageError(f"{PUSH}: one NAME[:TAG]")
    reference = parse_reference(parsed.rest[0])
    quiet = parsed.is_on("quiet")
    if not quiet:
        place = f"{reference.registry}/{reference.repository}"
        print(f"The push refers to repository [{place}]")
    verify = parsed.last("tls-verify", "true") == "true"
    display = Display(str(reference), quiet=True)
    try:
        pushed = push(
            Store.open(),
            parsed.rest[0],
            options=Options(authfile=parsed.last("authfile"), verify=verify),
            meter=display.begin,
            report=lambda line: print(line, file=sys.stderr),
        )
    except ImageNotFoundError as error:
        raise LpmxError(
            f"An image does not exist locally with the tag: {reference.name}", hint=error.hint
        ) from error
    except DeniedError as error:
        raise LpmxError(
            f"{DAEMON}: denied: requested access to the resource is denied: {error.message}",
            hint=error.hint,
        ) from error
    if quiet:
        print(reference)
    else:
        print(f"{reference.tag or 'latest'}: digest: {pushed.digest} size: {pushed.manifest_size}")
    return 0
