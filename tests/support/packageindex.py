"""A package index over TLS on loopback, with a certification authority of its own."""

from __future__ import annotations

import hashlib
import io
import ssl
import subprocess
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHEEL = "sitepackage-1.0-py3-none-any.whl"
_CERTIFICATES = r"""
set -e; cd "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key \
    -out ca.pem -days 30 -subj '/CN=A site'
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key -out request \
    -subj '/CN=localhost'
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n' > extensions
openssl x509 -req -in request -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out certificate \
    -extfile extensions
"""


def _wheel() -> bytes:
    """One module, `sitepackage`, with a word in it."""
    info = "sitepackage-1.0.dist-info"
    files = {
        "sitepackage.py": "WORD = 'from the site'\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: sitepackage\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return output.getvalue()


@contextmanager
def package_index(folder: Path) -> Iterator[str]:
    """Serve it; the address of its simple index. The authority is @folder/ca.pem."""
    subprocess.run(["sh", "-c", _CERTIFICATES, "-", folder], check=True, capture_output=True)
    wheel = _wheel()
    digest = hashlib.sha256(wheel).hexdigest()
    page = f'<a href="/files/{WHEEL}#sha256={digest}">{WHEEL}</a>'.encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = wheel if self.path.endswith(".whl") else page
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{server.server_address[1]}/simple"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
