"""Certificates: the system's, those of variables, and the directories certs.d of docker and podman.

As containers-certs.d(5): `*.crt` are authorities, `X.cert` with `X.key` is who one is.
"""

from __future__ import annotations

import os
import socket
import ssl
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["context_for", "explain", "folders", "speaks_tls"]

_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)
_PROBE_SECONDS = 10.0
_NO_TLS = {"WRONG_VERSION_NUMBER", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE"}
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def folders(netloc: str, environ: Mapping[str, str]) -> list[Path]:
    """Where certificates for the registry at @netloc may be."""
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    own = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    tops = (own / "containers", Path("/etc/containers"), Path("/etc/docker"))
    return [top / "certs.d" / netloc for top in tops]


def context_for(netloc: str, environ: Mapping[str, str], *, checked: bool) -> ssl.SSLContext:
    """How to speak TLS with @netloc. LpmxError for a file of certificates that cannot be used."""
    bundles = tuple(environ[name] for name in _BUNDLES if environ.get(name))
    return _context(checked, bundles, tuple(map(str, folders(netloc, environ))))


def speaks_tls(netloc: str) -> bool:
    """Does something at @netloc, on this machine, answer by TLS? Whom it is, is not looked at."""
    host, _, port = netloc.rpartition(":") if netloc[-1:].isdigit() else (netloc, "", "443")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), _PROBE_SECONDS) as line,
            context.wrap_socket(line, server_hostname=host.strip("[]")),
        ):
            return True
    except ssl.SSLError as error:
        return error.reason not in _NO_TLS
    except OSError:
        return False


@lru_cache
def _context(checked: bool, bundles: tuple[str, ...], places: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context() if checked else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not checked:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not context.cert_store_stats()["x509_ca"]:
        bundles = (*bundles, *_usual_store())
    for bundle in bundles:
        _believe(context, bundle)
    for place in map(Path, places):
        if place.is_dir():
            _take_folder(context, place)
    return context


def _usual_store() -> list[str]:
    """The system's, for a Python that was built elsewhere and looks for it in another place."""
    found = [path for path in _STORES if os.path.exists(path)]
    if found:
        return found[:1]
    try:
        import certifi
    except ImportError:
        return []
    return [certifi.where()]


def _take_folder(context: ssl.SSLContext, place: Path) -> None:
    for path in sorted(place.glob("*.crt")):
        _believe(context, str(path))
    for path in sorted(place.glob("*.cert")):
        try:
            context.load_cert_chain(path, path.with_suffix(".key"))
        except (OSError, ssl.SSLError) as error:
            raise LpmxError(
                f"{path}: no certificate with its key: {explain(error)}",
                hint=f"{path.with_suffix('.key').name} has to be beside it",
            ) from error
    for path in sorted(place.glob("*.key")):
        if not path.with_suffix(".cert").exists():
            raise LpmxError(
                f"{path}: a key without its certificate",
                hint=f"{path.with_suffix('.cert').name} has to be beside it",
            )


def _believe(context: ssl.SSLContext, path: str) -> None:
    try:
        if os.path.isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except (OSError, ssl.SSLError) as error:
        raise LpmxError(f"{path}: no certificates: {explain(error)}") from error


def explain(error: OSError) -> str:
    """Why TLS, or the reading of a certificate, fails. An SSLError's errno means nothing."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")[:200]
    return os.strerror(error.errno).lower() if error.errno else str(error)[:200]
