"""`lpmx-docker pull`, and what `run` does for an image that is not here: in docker's words."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TextIO

from lpmx_galaxy.frontend import supply
from lpmx_galaxy.frontend.goflags import Flag, parse, table
from lpmx_runtime.errors import ImageNotFoundError, LpmxError, UsageError
from lpmx_runtime.reference import parse_reference

from .answers import DAEMON

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.images.registry.pull import Options
    from lpmx_runtime.reference import Reference
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["image_for_run", "pull_command"]

NAME = "lpmx-docker pull"
_FLAGS = table([
    Flag("quiet", ("-q", "--quiet"), takes_value=False),
    Flag("platform", ("--platform",)),
    Flag("all-tags", ("-a", "--all-tags"), takes_value=False),
    Flag("disable-content-trust", ("--disable-content-trust",), takes_value=False),
    Flag("authfile", ("--authfile",)),
    Flag("tls-verify", ("--tls-verify",), takes_value=False),
])  # fmt: skip


def pull_command(words: Sequence[str]) -> int:
    """Bring the newest image of a name in, from where images come from."""
    from lpmx_runtime.images.registry.pull import Options
    from lpmx_runtime.store.store import Store

    parsed = parse(words, _FLAGS, command=NAME, interspersed=True)
    if len(parsed.rest) != 1:
        raise UsageError(f"{NAME}: name one image")
    quiet, said = parsed.is_on("quiet"), parsed.rest[0].removeprefix("docker://")
    reference = parse_reference(said)
    options = Options(
        platform=supply.platform_of(parsed.last("platform")),
        authfile=parsed.last("authfile"),
        verify=parsed.last("tls-verify", "true") == "true",
    )
    store = Store.open()
    if parsed.is_on("all-tags"):
        return _pull_all(store, said, reference, options, quiet=quiet)
    if not quiet and reference.tag == "latest" and not said.endswith(":latest"):
        print("Using default tag: latest", flush=True)
    _pull(store, reference, options, sys.stdout, quiet=quiet)
    print(_in_full(reference))
    return 0


def _pull_all(
    store: Store, said: str, reference: Reference, options: Options, *, quiet: bool
) -> int:
    """Every tag of a repository."""
    from lpmx_runtime.images.registry.places import Access, open_places
    from lpmx_runtime.images.registry.tags import list_tags

    from .answers import refused

    if reference.digest or ":" in said.rpartition("/")[2]:
        raise UsageError(f"{NAME}: tag can't be used with --all-tags/-a")
    places = open_places(reference, Access(options.authfile, options.plain_http, options.verify))
    try:
        tags = list_tags(places)
    except LpmxError as error:
        raise refused(reference, error) from error
    if not tags:
        raise LpmxError(f"{DAEMON}: manifest for {reference.name} not found: it has no tags")
    for tag in sorted(tags):
        _pull(store, replace(reference, tag=tag), options, sys.stdout, quiet=quiet)
    print(f"{reference.registry}/{reference.repository}")
    return 0


def image_for_run(
    store: Store, name: str, *, policy: str, platform: str = "", quiet: bool = False
) -> Image:
    """The image that `run` is to start; what is pulled for it is shown on standard error.

    @policy: `missing`, `always` or `never`.
    """
    if policy != "always":
        try:
            return _here(store, name)
        except ImageNotFoundError as error:
            if policy == "never":
                raise _not_here(name, error) from error
    from lpmx_runtime.images.registry.pull import Options

    reference = parse_reference(name)
    if policy != "always" and not quiet:
        print(f"Unable to find image '{reference}' locally", file=sys.stderr, flush=True)
    options = Options(platform=supply.platform_of(platform))
    return _pull(store, reference, options, sys.stderr, quiet=quiet, policy=policy)


def _here(store: Store, name: str) -> Image:
    from .digests import resolve

    return resolve(store, name)


def _not_here(name: str, error: LpmxError) -> LpmxError:
    from .answers import not_here

    return not_here(parse_reference(name), error.hint)


def _pull(
    store: Store,
    reference: Reference,
    options: Options,
    stream: TextIO,
    *,
    quiet: bool,
    policy: str = "",
) -> Image:
    """Fetch it and say so on @stream; @policy "": keep what is here where that is as good."""
    from .answers import refused
    from .progress import Progress

    name = str(reference)
    before = _id_of(store, name)
    progress = Progress(reference, stream, quiet=quiet)
    fetch = partial(supply.obtain, policy=policy) if policy else supply.refresh
    try:
        image = fetch(store, name, options=options, meter=progress.begin, report=progress.warn)
    except LpmxError as error:
        raise refused(reference, error) from error
    finally:
        progress.wipe()
    progress.end(_digest(store, image, reference), is_new=before != image.id)
    return image


def _id_of(store: Store, name: str) -> str:
    try:
        return store.resolve(name).id
    except ImageNotFoundError:
        return ""


def _digest(store: Store, image: Image, reference: Reference) -> str:
    from .digests import repo_digests

    known = dict(one.rsplit("@", 1) for one in repo_digests(store, image))
    return reference.digest or known.get(reference.name, "")


def _in_full(reference: Reference) -> str:
    tag = f":{reference.tag}" if reference.tag else ""
    digest = f"@{reference.digest}" if reference.digest else ""
    return f"{reference.registry}/{reference.repository}{tag}{digest}"
