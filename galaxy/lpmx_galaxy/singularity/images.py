"""`lpmx-singularity` pull, build, inspect: files that stand for images."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from lpmx_galaxy.docker.flags import switch, value
from lpmx_galaxy.frontend.goflags import parse, table
from lpmx_galaxy.frontend.supply import split_transport
from lpmx_runtime.errors import UsageError
from lpmx_runtime.text import shown

from .accounts import account_of
from .reference import Reference, in_folder, refuse_existing, write_reference
from .sources import Fetching, fetching, file_name, find_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["build_command", "describe", "inspect_command", "pull_command"]

_PULL = table([
    switch("-F", "--force"),
    value("--name"),
    value("--dir"),
    value("--arch"),
    value("--platform"),
    value("--authfile"),
    value("--library"),
    value("--docker-host"),
    switch("-U", "--allow-unsigned", "--allow-unauthenticated"),
    switch("--disable-cache"),
    switch("--docker-login"),
    switch("--keep-layers"),
    switch("--no-cleanup"),
    switch("--no-https", "--nohttps"),
    switch("--oci"),
    switch("--no-oci"),
])  # fmt: skip
_BUILD = table([
    switch("-F", "--force"),
    switch("-s", "--sandbox"),
    switch("-f", "--fakeroot"),
    switch("-u", "--update"),
    switch("-T", "--notest"),
    switch("--disable-cache"),
    switch("--no-cleanup"),
    switch("--no-https", "--nohttps"),
    switch("--fix-perms"),
    switch("--docker-login"),
    value("--authfile"),
    value("--platform"),
    value("--arch"),
    value("--section"),
    value("--mksquashfs-args"),
])  # fmt: skip
_INSPECT = table([
    switch("-j", "--json"),
    switch("-l", "--labels"),
    switch("-d", "--deffile"),
    switch("-e", "--environment"),
    switch("-r", "--runscript"),
    switch("-t", "--test"),
    switch("-s", "--startscript"),
    switch("-H", "--helpfile"),
    switch("--all"),
    switch("--list-apps"),
])  # fmt: skip


def _store() -> Store:
    from lpmx_runtime.store.store import Store

    return Store.open()


def pull_command(words: Sequence[str]) -> int:
    """Bring an image in, and write the file that stands for it."""
    parsed = parse(words, _PULL, command="lpmx-singularity pull", interspersed=True)
    if not 1 <= len(parsed.rest) <= 2:
        raise UsageError("lpmx-singularity pull: [FILE] docker://NAME")
    source = parsed.rest[-1]
    target = parsed.rest[0] if len(parsed.rest) > 1 else parsed.last("name") or file_name(source)
    folder = parsed.last("dir") or _variable("PULLDIR") or _variable("PULLFOLDER")
    target = os.path.join(folder, target)
    force = parsed.is_on("force")
    if not force:
        refuse_existing(target)
    with account_of(parsed):
        _pull(source, target, fetching(parsed, refresh=True), force=force)
    return 0


def _pull(source: str, target: str, how: Fetching, *, force: bool) -> None:
    transport, rest = split_transport(source)
    if transport == "oras":
        from .oras import pull_file

        pull_file(_store(), rest.removeprefix("//"), target, how, force=force)
        return
    image = find_image(_store(), source, how)
    write_reference(target, _reference(image, source), force=force)


def _variable(name: str) -> str:
    return os.environ.get(f"APPTAINER_{name}") or os.environ.get(f"SINGULARITY_{name}") or ""


def _reference(image: Image, source: str) -> Reference:
    from lpmx_runtime.reference import parse_reference

    transport, rest = split_transport(source)
    if transport == "docker":
        return Reference(image.id, str(parse_reference(rest.removeprefix("//"))))
    return Reference(image.id, image.names[0] if image.names else "")


def build_command(words: Sequence[str]) -> int:
    """Make a file, or with --sandbox a folder, that stands for an image."""
    parsed = parse(words, _BUILD, command="lpmx-singularity build", interspersed=True)
    if len(parsed.rest) != 2:
        raise UsageError("lpmx-singularity build: FILE docker://NAME")
    target, source = parsed.rest
    force = parsed.is_on("force")
    if not force:
        refuse_existing(target)
    with account_of(parsed):
        if source.endswith(".def"):
            from .definition import build

            image = build(_store(), source)
        else:
            image = find_image(_store(), source, fetching(parsed))
    if parsed.is_on("sandbox"):
        os.makedirs(target, exist_ok=True)
        target = in_folder(target)
    write_reference(target, _reference(image, source), force=force)
    return 0


def inspect_command(words: Sequence[str]) -> int:
    """Say what an image's file is."""
    parsed = parse(words, _INSPECT, command="lpmx-singularity inspect", interspersed=True)
    if len(parsed.rest) != 1:
        raise UsageError("lpmx-singularity inspect: name one image")
    attributes = describe(find_image(_store(), parsed.rest[0]))
    wanted = [name for name in ("environment", "runscript") if parsed.is_on(name)]
    if not parsed.is_on("all"):
        attributes = {name: attributes[name] for name in wanted or ["labels"]}
    if parsed.is_on("json"):
        print(json.dumps({"data": {"attributes": attributes}, "type": "container"}, indent=4))
        return 0
    for attribute, found in attributes.items():
        for name, text in found.items() if isinstance(found, dict) else [("", found)]:
            line = shown(text) if attribute == "labels" else text  # the others are scripts
            print(f"{shown(name)}: {line}" if name else line)
    return 0


def describe(image: Image) -> dict[str, Any]:
    """Labels, environment and runscript, in Apptainer's places."""
    import shlex

    labels = {
        "org.label-schema.schema-version": "1.0",
        "org.lpmx.image.id": image.id,
        "org.lpmx.image.name": image.name,
        **image.labels,
    }
    named = {name: value for name, value in image.env.items() if name.isidentifier()}
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in named.items())
    command = shlex.join([*image.entrypoint, *image.cmd])
    return {
        "labels": labels,
        "environment": {"/.singularity.d/env/10-docker2singularity.sh": f"#!/bin/sh\n{exports}\n"},
        "runscript": f"#!/bin/sh\nexec {command}\n",
    }
