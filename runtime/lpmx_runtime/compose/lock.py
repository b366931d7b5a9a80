"""The lock of an environment: which image each name in it stood for when it was locked.

`variants.yaml` has its lock beside it in `variants.lock.json`. It pins every image that the file,
what it includes and the environments it calls name: by the digest of the image's configuration,
which covers its layers, by the layers' diff ids, and by the manifest's digest where the image came
from a registry, by which it is brought in again. With a lock, names are never looked up again; a
name that the lock does not know, or one that it knows and nothing uses, makes it stale, and nothing
starts.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lpmx_runtime.errors import ImageNotFoundError, LpmxError
from lpmx_runtime.reference import parse_reference
from lpmx_runtime.smallfile import read_small
from lpmx_runtime.store.image import is_hex_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lpmx_runtime.fetch.obtain import Finder
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

__all__ = ["Lock", "LockError", "Pin", "lock_file", "make_lock", "read_lock", "write_lock"]

VERSION = 1
_PREFIX = "sha256:"
_SIZE_MAX = 16 << 20


class LockError(LpmxError):
    """The lock and what it locks do not fit: lock again, or get the pinned image."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, exit_code=2)


@dataclass(frozen=True)
class Pin:
    """One image: hex digests of its configuration, of its layers, and perhaps of its manifest."""

    image_id: str
    diff_ids: tuple[str, ...]
    manifest: str = ""


@dataclass(frozen=True)
class Lock:
    """The lock file @file: image names as written in the environment, and their pins."""

    file: str
    images: Mapping[str, Pin]

    def check_names(self, names: Mapping[str, str], environment: str) -> None:
        """Raise LockError unless the lock pins exactly @names (image name to where it stands)."""
        again = f"`lpmx env lock {os.path.relpath(environment)}` brings it up to date"
        for name, place in names.items():
            if name not in self.images:
                raise LockError(
                    f"{os.path.relpath(self.file)}: stale: {place} names the image {name}, which it"
                    " does not pin",
                    hint=again,
                )
        for name in self.images:
            if name not in names:
                raise LockError(
                    f"{os.path.relpath(self.file)}: stale: it pins the image {name}, which nothing"
                    " uses any more",
                    hint=again,
                )

    def image(self, store: Store, name: str, find: Finder | None = None) -> Image:
        """The image that @name is pinned to; @find brings in by its digest one that is missing.

        LockError when it cannot be had.
        """
        pin = self.images[name]
        try:
            image = store.image(pin.image_id)
        except ImageNotFoundError as error:
            image = self._bring_in(name, find, error)
        if image.diff_ids != pin.diff_ids:
            raise LockError(
                f"{os.path.relpath(self.file)}: damaged: the layers of {name} are not those of"
                f" image {pin.image_id[:12]}",
                hint="make it again with `lpmx env lock`",
            )
        return image

    def _bring_in(self, name: str, find: Finder | None, missing: LpmxError) -> Image:
        """The image of pin @name from where its manifest is."""
        pin = self.images[name]
        by_digest = f"{_without_tag(name)}@{_PREFIX}{pin.manifest}" if pin.manifest else ""
        gone = f"{name}: the locked image {pin.image_id[:12]} is not here"
        hint = (
            f"bring in just that one ({by_digest or name}), or accept what the name means now with"
            " `lpmx env lock`"
        )
        if find is None or not by_digest:
            raise LockError(gone, hint=hint) from missing
        try:
            image = find(by_digest)
        except ImageNotFoundError as error:
            raise LockError(gone, hint=hint) from error
        except LpmxError as error:
            raise LockError(f"{gone}: {error.message}", hint=error.hint or hint) from error
        if image.id != pin.image_id:
            raise LockError(
                f"{os.path.relpath(self.file)}: damaged: {by_digest} is image {image.short_id}, not"
                f" {pin.image_id[:12]}",
                hint="make it again with `lpmx env lock`",
            )
        return image


def _without_tag(name: str) -> str:
    """The repository of image @name."""
    try:
        return parse_reference(name).name
    except LpmxError:
        return name.partition("@")[0]


def lock_file(environment: str) -> str:
    """Where the lock of environment file @environment lies."""
    stem = environment.rpartition(".")[0] or environment
    return f"{stem}.lock.json"


def read_lock(environment: str) -> Lock | None:
    """The lock of environment file @environment; None when it has none."""
    name = lock_file(environment)
    try:
        raw = read_small(name, limit=_SIZE_MAX)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LockError(f"{name}: {error.strerror}") from error
    hint = "make it again with `lpmx env lock`"
    try:
        data = json.loads(raw)
        version = data["version"]
        images = {str(key): _pin(value) for key, value in data["images"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LockError(f"{name}: not a lock file, or damaged", hint=hint) from error
    if version != VERSION:
        raise LockError(
            f"{name}: a lock of version {version}, this lpmx knows version {VERSION}", hint=hint
        )
    return Lock(name, images)


def _pin(data: Any) -> Pin:
    manifest = _digest(data["manifest"]) if data.get("manifest") else ""
    return Pin(_digest(data["config"]), tuple(map(_digest, data["layers"])), manifest)


def _digest(text: Any) -> str:
    found = str(text).removeprefix(_PREFIX)
    if not is_hex_digest(found):
        raise ValueError("not a digest")
    return found


def make_lock(environment: str, images: Mapping[str, Image], store: Store) -> Lock:
    """The lock that pins @images (by the names in the file) for environment file @environment."""
    pins = {
        name: Pin(image.id, image.diff_ids, _manifest(store, name, image))
        for name, image in sorted(images.items())
    }
    return Lock(lock_file(environment), pins)


def _manifest(store: Store, name: str, image: Image) -> str:
    """The digest in hex by which the repository of @name has @image, "" where none is known."""
    from lpmx_runtime.images.registry.sources import sources

    try:
        reference = parse_reference(name)
    except LpmxError:
        return ""
    repository = f"{reference.registry}/{reference.repository}"
    known = [one for one in sources(store, image.id) if one.get("name") == repository]
    digest = str(known[-1].get("manifest", "") if known else getattr(image, "manifest", "") or "")
    digest = digest.removeprefix(_PREFIX)
    return digest if is_hex_digest(digest) else ""


def write_lock(lock: Lock) -> bool:
    """Put the lock on disk; False when it said the same already."""
    from lpmx_runtime.store.store import atomic_write

    images = {
        name: {
            "config": _PREFIX + pin.image_id,
            **({"manifest": _PREFIX + pin.manifest} if pin.manifest else {}),
            "layers": [_PREFIX + digest for digest in pin.diff_ids],
        }
        for name, pin in lock.images.items()
    }
    text = json.dumps({"version": VERSION, "images": images}, indent=2) + "\n"
    try:
        if read_small(lock.file, limit=_SIZE_MAX) == text.encode():
            return False
    except FileNotFoundError:
        pass
    except OSError as error:
        raise LockError(f"{lock.file}: {error.strerror}") from error
    atomic_write(lock.file, text.encode(), mode=0o644)
    return True
