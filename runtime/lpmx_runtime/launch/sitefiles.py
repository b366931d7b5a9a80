"""What a site's network needs inside: package indexes, proxies and certificates of its own.

Three things, looked for at each start, since each may be on another node:

- variables that name certificates or settings (SSL_CERT_FILE, PIP_CERT, ...). Where what they name
  is not visible inside, it is shown read-only below /run/lpmx-site and the variable points there.
- /etc/pip.conf and its like, where the image has none, and the certificates (and pip's constraints)
  that these files and the user's own name.
- the host's certificates, for an image that has none at all.

The last two are seeds: shown until the container has a file of its own there.
"""

from __future__ import annotations

import binascii
import json
import os
import re
from typing import TYPE_CHECKING

from lpmx_runtime.plans.binds import find_bind
from lpmx_runtime.plans.plan import Bind, Exposure
from lpmx_runtime.smallfile import read_small_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from lpmx_runtime.store.store import Store

__all__ = ["FILE_VARIABLES", "INSIDE", "copy_directory", "site_files", "suffix"]

INSIDE = "/run/lpmx-site"
# Variables whose value is a file, or a list of folders.
FILE_VARIABLES = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "AWS_CA_BUNDLE", "HTTPLIB2_CA_CERTS", "PIP_CERT",
    "PIP_CLIENT_CERT", "PIP_CONFIG_FILE",
)  # fmt: skip
# Settings for all users: shown where the image has none.
_SETTINGS = ("/etc/pip.conf", "/etc/xdg/pip/pip.conf", "/etc/conda/.condarc", "/etc/gitconfig")
_OWN_SETTINGS = (".config/pip/pip.conf", ".pip/pip.conf", ".condarc", ".gitconfig", ".npmrc")
_NAMED = re.compile(
    r"^\s*(?:cert|client-cert|cafile|ssl_verify|sslCAInfo|constraint|requirement)\s*[:=]\s*\"?(/[^\s\"]+)",
    re.MULTILINE | re.IGNORECASE,
)
# Where systems keep all certificates in one file; the first is the one of most images.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_SHOWN_AT = (_BUNDLES[0], _BUNDLES[-1])  # curl, git, R, Go; OpenSSL itself, and so Python
_FILES_MAX, _BYTES_MAX = 4096, 64 << 20  # of a folder of certificates
KNOWN = (*_SETTINGS, *_BUNDLES)  # names that are looked up once for each image


def site_files(
    store: Store,
    chain_id: str,
    environ: Mapping[str, str],
    binds: tuple[Bind, ...],
    *,
    fixed: Mapping[str, str],
    home: str,
) -> Exposure:
    """The binds and variables for a container of image @chain_id with @binds.

    @fixed: variables of the image and the user, which are left as they are; @home: on the host.
    """
    image = _Image(store, chain_id)
    found: list[Bind] = []
    env: dict[str, str] = {}
    copies: dict[str, str] = {}
    named = [path for path in _SETTINGS if os.path.isfile(path) and not image.has(path)]
    found += [_seed(path) for path in named if not find_bind(binds, path)]
    settings = [*named, *(os.path.join(home, name) for name in _OWN_SETTINGS if home)]
    for name in FILE_VARIABLES:
        value = environ.get(name, "")
        if not value or name in fixed:
            continue
        if name == "PIP_CONFIG_FILE":
            settings.append(value)
        paths = value.split(":") if name == "SSL_CERT_DIR" else [value]
        shown = [
            _show(store, name, number, path, binds, copies) for number, path in enumerate(paths)
        ]
        if visible := [path for path, _ in shown if path]:
            env[name] = ":".join(visible)
            found += [bind for _, bind in shown if bind]
    for path in _named(settings):
        if os.path.isfile(path) and not find_bind(binds, path) and not image.has(path):
            found.append(_seed(path))
    if not any(image.has(path) for path in _BUNDLES):
        bundle = next((path for path in _BUNDLES if os.path.isfile(path)), "")
        found += [_seed(bundle, path) for path in _SHOWN_AT if bundle]
    return Exposure(tuple({bind.dst: bind for bind in found}.values()), env, copies=copies)


def copy_directory(original: str, copy: str) -> None:
    """Make @copy of the files in @original, unless it exists. OSError: it cannot be made."""
    import shutil

    if os.path.isdir(copy):
        return
    temporary = f"{copy}.{os.getpid()}"
    try:
        os.makedirs(temporary, mode=0o700)
        for entry in _files(original):
            shutil.copyfile(entry.path, os.path.join(temporary, entry.name))
        os.rename(temporary, copy)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not os.path.isdir(copy):  # or another start was faster
            raise


def suffix(exposure: Exposure) -> str:
    """For the name of the plan: starts with other variables must not take these binds away."""
    ours = sorted(str(bind) for bind in exposure.binds if bind.dst.startswith(f"{INSIDE}/"))
    # not hashlib, which costs a start 5 ms
    return f"-site-{binascii.crc32(os.fsencode(chr(10).join(ours))):08x}" if ours else ""


def _seed(path: str, place: str = "") -> Bind:
    return Bind(os.path.realpath(path), place or path, file=True, seed=True)


def _show(
    store: Store,
    name: str,
    number: int,
    path: str,
    binds: tuple[Bind, ...],
    copies: dict[str, str],
) -> tuple[str, Bind | None]:
    """Where @path, a value of variable @name, is found inside, and what must be bound for it.

    What has to be copied first is added to @copies.
    """
    bind = find_bind(binds, path) if path.startswith("/") else None
    if bind is not None and bind.src == bind.dst:
        return path, None
    real = os.path.realpath(path)
    if os.path.isfile(real):
        place = f"{INSIDE}/{name}/{os.path.basename(path)}"
        return place, Bind(real, place, read_only=True, file=True)
    if not os.path.isdir(real):
        return "", None
    place = f"{INSIDE}/{name}/{number}"
    copy = _copy_of(store, real)
    if copy:
        copies[copy] = real
    return place, Bind(copy or real, place, read_only=True)


def _copy_of(store: Store, directory: str) -> str:
    """The copy of @directory out of which no link leads, as those of certificates do.

    It has another name when @directory has changed. "": too large, or it cannot be read.
    """
    import hashlib  # here: few sites name a directory that is not shown

    try:
        files = _files(directory)
        if len(files) > _FILES_MAX or sum(entry.stat().st_size for entry in files) > _BYTES_MAX:
            return ""
        key = f"{directory}\0{os.stat(directory).st_mtime_ns}"
    except OSError:
        return ""
    digest = hashlib.sha256(os.fsencode(key)).hexdigest()[:16]
    return os.path.join(store.root, "cache", "certificates", digest)


def _files(directory: str) -> list[os.DirEntry[str]]:
    with os.scandir(directory) as entries:
        return [entry for entry in entries if entry.is_file()]


def _named(settings: Iterable[str]) -> Iterator[str]:
    for file in settings:
        try:
            text = read_small_text(file, errors="replace")
        except (OSError, ValueError):
            continue
        yield from _NAMED.findall(text)


class _Image:
    """Which names an image has: what was asked once is remembered in the store."""

    def __init__(self, store: Store, chain_id: str) -> None:
        self._store, self._chain_id = store, chain_id
        self._cache = store.root / "cache" / "names" / f"{chain_id}.json"
        self._known: dict[str, bool] | None = None

    def has(self, path: str) -> bool:
        if self._known is None:
            self._known = self._remembered()
        if path not in self._known:
            self._known |= self._looked_up([*KNOWN, path])
            _remember(self._cache, self._known)
        return self._known[path]

    def _remembered(self) -> dict[str, bool]:
        try:
            known = json.loads(self._cache.read_bytes())
        except (OSError, ValueError):
            return {}
        return {str(name): bool(there) for name, there in known.items()}

    def _looked_up(self, paths: Iterable[str]) -> dict[str, bool]:
        from lpmx_runtime.union.view import View

        with View(self._store.view_path(self._chain_id)) as view:
            return {path: view.lookup(path, follow=False) is not None for path in paths}


def _remember(cache: Path, known: Mapping[str, bool]) -> None:
    from lpmx_runtime.store.store import atomic_write

    try:
        cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_write(cache, json.dumps(known).encode("ascii"), durable=False)
    except OSError:
        return  # a full disk: it is looked up again
