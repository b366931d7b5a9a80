"""What an image may be called: a file, a directory, an archive, docker://NAME, oras://NAME."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lpmx_galaxy.frontend import supply
from lpmx_runtime.config.values import pull_policy
from lpmx_runtime.errors import ImageNotFoundError, NotFoundError, UsageError

from .reference import Reference, in_folder, read_reference

if TYPE_CHECKING:
    from lpmx_galaxy.frontend.goflags import Parsed
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["Fetching", "fetching", "file_name", "find_image"]

_ARCHIVES = ("docker-archive", "oci-archive", "oci")
_ELSEWHERE = ("library", "shub", "http", "https", "instance", "docker-daemon")


@dataclass(frozen=True)
class Fetching:
    """How to come to an image of a registry."""

    refresh: bool = False  # look for a newer one even if it is here
    platform: str = ""
    plain_http: bool = False


_AS_USUAL = Fetching()


def fetching(parsed: Parsed, *, refresh: bool = False) -> Fetching:
    """What the flags of a command say of it."""
    platform = parsed.last("platform") or parsed.last("arch")
    return Fetching(refresh, platform, parsed.is_on("no-https"))


def find_image(store: Store, text: str, how: Fetching = _AS_USUAL) -> Image:
    """The image that @text means, brought in where it is not here.

    ImageNotFoundError, RegistryError or UsageError where it cannot be had, with what to do about
    it.
    """
    transport, rest = supply.split_transport(text)
    if transport == "docker":
        return _from_registry(store, rest.removeprefix("//"), how)
    if transport == "oras":
        from .oras import find_oras

        return find_oras(store, rest.removeprefix("//"), how)
    if transport in _ARCHIVES:
        return _from_archive(store, rest)
    if transport in _ELSEWHERE:
        raise UsageError(
            f"{text}: {transport} images are not fetched here",
            hint="fetch it with apptainer elsewhere and give the file, or use its docker:// name",
        )
    if os.path.isdir(text):
        return _from_folder(store, text)
    if os.path.exists(text):
        return _from_file(store, text)
    if text.startswith(("/", ".")) or text.endswith((".sif", ".simg", ".img")):
        raise NotFoundError(f"{text}: no such file", hint="`pull FILE docker://NAME` makes it")
    return store.resolve(text)


def _from_registry(store: Store, name: str, how: Fetching) -> Image:
    from lpmx_galaxy.docker.registries.digests import resolve

    policy = "" if how.refresh else pull_policy()
    if not how.refresh and policy != "always":
        try:
            return resolve(store, name)
        except ImageNotFoundError:
            if policy == "never":
                raise
    from lpmx_runtime.images.registry.pull import Options

    from .progress import Progress

    progress = Progress(name)
    options = Options(platform=supply.platform_of(how.platform), plain_http=how.plain_http)
    fetch = supply.refresh if how.refresh else partial(supply.obtain, policy=policy)
    try:
        return fetch(store, name, options=options, meter=progress.begin, report=progress.warn)
    finally:
        progress.end()


def _from_archive(store: Store, path: str) -> Image:
    from lpmx_runtime.images.load import load

    path, colon, tag = path.partition(":")
    loaded = load(store, path)
    for one in loaded:
        if colon and any(name.endswith(f":{tag}") or name == tag for name in one.image.names):
            return one.image
    return loaded[0].image


def _from_folder(store: Store, path: str) -> Image:
    if os.path.exists(in_folder(path)):
        return _from_file(store, in_folder(path))
    if os.path.exists(os.path.join(path, "oci-layout")):
        return _from_archive(store, path)
    raise UsageError(
        f"{path}: a folder, not an image",
        hint=f"for a tree of files: `tar -C {path} -c . | lpmx-docker import - NAME`",
    )


def _from_file(store: Store, path: str) -> Image:
    if not os.path.isfile(path):
        raise UsageError(f"{path}: neither a file nor a folder", hint="give an image")
    reference = read_reference(path)
    if reference is not None:
        return _resolve(store, path, reference)
    from .sif import is_sif, load_sif

    if is_sif(path):
        return load_sif(store, path)
    return _from_archive(store, path)


def _resolve(store: Store, path: str, reference: Reference) -> Image:
    """By id; where the store has lost it, by name from where images come from."""
    try:
        return store.image(reference.id)
    except ImageNotFoundError:
        if not reference.name:
            raise ImageNotFoundError(
                f"{path}: stands for image {reference.id[:12]}, which this store does not have",
                hint="load its archive again, or use the store it was pulled into (LPMX_HOME)",
            ) from None
    return _from_registry(store, reference.name, _AS_USUAL)


def file_name(text: str) -> str:
    """What `pull` calls the file of @text: as Apptainer, NAME_TAG.sif."""
    _, rest = supply.split_transport(text)
    base = rest.split("@")[0].rstrip("/").rpartition("/")[2]
    name, _, tag = base.partition(":")
    return f"{name}_{tag or 'latest'}.sif"
