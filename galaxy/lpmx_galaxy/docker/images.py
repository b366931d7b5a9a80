"""`lpmx-docker` images, load, import, tag, rmi: the store's images, in docker's words."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from lpmx_galaxy.frontend.goflags import Flag, parse, table
from lpmx_runtime.errors import InUseError, UsageError
from lpmx_runtime.text import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = [
    "images_command",
    "import_command",
    "load_command",
    "rmi_command",
    "tag_command",
]

_QUIET = Flag("quiet", ("-q", "--quiet"), takes_value=False)
_PLATFORM = Flag("platform", ("--platform",))
_IMAGES = table([
    _QUIET,
    Flag("all", ("-a", "--all"), takes_value=False),
    Flag("digests", ("--digests",), takes_value=False),
    Flag("filter", ("-f", "--filter")),
    Flag("format", ("--format",)),
    Flag("no-trunc", ("--no-trunc", "--notruncate"), takes_value=False),
    Flag("tree", ("--tree",), takes_value=False),
])  # fmt: skip
_LOAD = table([_QUIET, _PLATFORM, Flag("input", ("-i", "--input"))])
_IMPORT = table([
    _PLATFORM,
    Flag("change", ("-c", "--change")),
    Flag("message", ("-m", "--message")),
])  # fmt: skip
_RMI = table([
    Flag("force", ("-f", "--force"), takes_value=False),
    Flag("no-prune", ("--no-prune",), takes_value=False),
])  # fmt: skip
_NONE = "<none>"
_SHORT = 12


def _store() -> Store:
    from lpmx_runtime.store.store import Store

    return Store.open()


# ---- images


def images_command(words: Sequence[str]) -> int:
    """List them: docker's table, or --format."""
    parsed = parse(words, _IMAGES, command="lpmx-docker images", interspersed=True)
    full = parsed.is_on("no-trunc")
    store = _store()
    rows = [
        row
        for image in store.images()
        for row in _rows(store, image, full=full)
        if _wanted(row, parsed.rest, parsed.all("filter"))
    ]
    template = parsed.last("format")
    if template:
        from lpmx_galaxy.frontend.go_template import render_rows

        text = render_rows(rows, template)
        if text:
            print(text)
    elif parsed.is_on("quiet"):
        for one in dict.fromkeys(row["ID"] for row in rows):
            print(one)
    else:
        _print_table(rows, digests=parsed.is_on("digests"))
    return 0


def _rows(store: Store, image: Image, *, full: bool) -> list[dict[str, str]]:
    """One for each name, as `docker images --format json` has them."""
    from lpmx_runtime.columns import size_text
    from lpmx_runtime.reference import parse_reference

    from .registries.digests import repo_digests

    created = str(image.config.get("created") or image.created)
    common = {
        "Containers": "N/A",
        "CreatedAt": created.replace("T", " ").replace("Z", " +0000 UTC"),
        "CreatedSince": _ago(image.created),
        "Digest": _NONE,
        "ID": f"sha256:{image.id}" if full else image.id[:_SHORT],
        "SharedSize": "N/A",
        "Size": size_text(image.size).replace(" ", ""),
        "UniqueSize": "N/A",
        "VirtualSize": size_text(image.size).replace(" ", ""),
    }
    digests = dict(one.rsplit("@", 1) for one in repo_digests(store, image))
    rows = {}
    for name in image.names:
        reference = parse_reference(name)
        digest = reference.digest or digests.get(reference.name, _NONE)
        tag = reference.tag or _NONE
        row = {**common, "Repository": reference.name, "Tag": tag, "Digest": digest}
        rows[reference.name, tag] = row
    tagged = {name for name, tag in rows if tag != _NONE}
    found = [row for (name, tag), row in rows.items() if tag != _NONE or name not in tagged]
    return found or [{**common, "Repository": _NONE, "Tag": _NONE}]


def _ago(when: str) -> str:
    """How long ago an ISO time was, in docker's words."""
    import calendar
    import time

    try:
        then = calendar.timegm(time.strptime(when, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return "N/A"
    seconds = max(0, int(time.time() - then))
    units = (("weeks", 604800), ("days", 86400), ("hours", 3600), ("minutes", 60))
    for unit, length in units:
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} seconds ago"


def _wanted(row: dict[str, str], names: Sequence[str], filters: Sequence[str]) -> bool:
    from fnmatch import fnmatch

    both = f"{row['Repository']}:{row['Tag']}"
    if names and not any(_matches(row, name) for name in names):
        return False
    for text in filters:
        key, _, value = text.partition("=")
        if key == "reference":
            if not (fnmatch(row["Repository"], value) or fnmatch(both, value)):
                return False
        elif key == "dangling":
            if (row["Repository"] == _NONE) != (value in ("true", "1")):
                return False
        else:
            raise UsageError(f"--filter {text}: not known here", hint="reference= or dangling=")
    return True


def _matches(row: dict[str, str], name: str) -> bool:
    from lpmx_runtime.reference import parse_reference

    reference = parse_reference(name)
    tagged = ":" in name.rpartition("/")[2]
    return row["Repository"] == reference.name and (not tagged or row["Tag"] == reference.tag)


def _print_table(rows: Sequence[dict[str, Any]], *, digests: bool) -> None:
    from lpmx_runtime.columns import table as columns

    shown_digest = {"Digest": "DIGEST"} if digests else {}
    heads = {
        "Repository": "REPOSITORY", "Tag": "TAG", **shown_digest, "ID": "IMAGE ID",
        "CreatedSince": "CREATED", "Size": "SIZE",
    }  # fmt: skip
    lines = [tuple(str(row[field]) for field in heads) for row in rows]
    print(columns(tuple(heads.values()), lines))


# ---- load, import


def load_command(words: Sequence[str]) -> int:
    """Load what `docker save` wrote, from stdin or -i."""
    from lpmx_runtime.images.load import load

    parsed = parse(words, _LOAD, command="lpmx-docker load", interspersed=True)
    if parsed.rest:
        raise UsageError("lpmx-docker load: the archive comes on stdin, or with -i FILE")

    def report(line: str) -> None:
        print(line, file=sys.stderr)

    for one in load(_store(), parsed.last("input") or "-", report=report):
        if one.image.names:
            for name in one.image.names:
                print(f"Loaded image: {name}")
        else:
            print(f"Loaded image ID: sha256:{one.image.id}")
    return 0


def import_command(words: Sequence[str]) -> int:
    """Make an image of one layer out of a tar of a file system."""
    from lpmx_galaxy.frontend.rootfs import import_rootfs

    parsed = parse(words, _IMPORT, command="lpmx-docker import", interspersed=True)
    if not 1 <= len(parsed.rest) <= 2:
        raise UsageError("lpmx-docker import: FILE|- [NAME[:TAG]]")
    source = parsed.rest[0]
    if source.startswith(("http://", "https://")):
        raise UsageError(
            f"lpmx-docker import {source}: addresses are not fetched here",
            hint=f"fetch it first: curl -L {source} | lpmx-docker import - NAME",
        )
    if source != "-" and not os.path.exists(source):
        raise UsageError(f"lpmx-docker import: {source}: no such file")
    name = parsed.rest[1] if len(parsed.rest) > 1 else None
    image = import_rootfs(_store(), source, name, parsed.all("change"))
    print(f"sha256:{image.id}")
    return 0


# ---- names


def tag_command(words: Sequence[str]) -> int:
    """Give an image another name."""
    parsed = parse(words, {}, command="lpmx-docker tag", interspersed=True)
    if len(parsed.rest) != 2:
        raise UsageError("lpmx-docker tag: IMAGE NAME")
    store = _store()
    store.tag(parsed.rest[1], store.resolve(parsed.rest[0]).id)
    return 0


def rmi_command(words: Sequence[str]) -> int:
    """Forget names, and images that have lost their last one."""
    parsed = parse(words, _RMI, command="lpmx-docker rmi", interspersed=True)
    if not parsed.rest:
        raise UsageError("lpmx-docker rmi: no image is named")
    store = _store()
    for name in parsed.rest:
        image = store.resolve(name)
        others = [one for one in image.names if not _same(one, name)]
        if len(others) < len(image.names) and others:
            store.untag(name)
            print(f"Untagged: {name}")
            continue
        users = store.containers_of(image.id)
        if users and not parsed.is_on("force"):
            raise InUseError(
                f"{name}: container {users[0]} is made from it", hint="remove that first, or use -f"
            )
        store.remove_image(image.id)
        print(f"Deleted: sha256:{image.id}")
    return 0


def _same(canonical: str, name: str) -> bool:
    from lpmx_runtime.errors import LpmxError
    from lpmx_runtime.reference import parse_reference

    try:
        return canonical == str(parse_reference(name))
    except LpmxError as error:
        print(shown(error.message), file=sys.stderr)
        return False
