"""Pulls of an image from a registry on loopback, against what else brings images in."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from measure import Command, medians, medians_of
from report import Table
from support.lpmx import Lpmx
from support.registry import FaultProxy, docker_registry, push
from support.upload import manifest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROUNDS = 5
BY_HAND = "curl of each blob, then `lpmx load`"


def pulls(archive: Path, folder: Path) -> Iterator[Table]:
    """A first pull, and one that finds the image up to date."""
    if not shutil.which("docker-registry"):
        yield Table("Pull of an image", "", BY_HAND, {}, {"`lpmx pull`": "needs docker-registry"})
        return
    with docker_registry(folder / "registry") as address:
        push(archive, f"{address}/lab/x:1")
        yield _first(address, folder)
        yield _second(address, folder)


def _first(address: str, folder: Path) -> Table:
    ways = _Ways(address, folder)
    missing: dict[str, str] = {}
    actions: dict[str, Callable[[], None]] = {"`lpmx pull`": ways.pull, BY_HAND: ways.by_hand}
    peers: Mapping[str, tuple[str, Callable[[], None]]] = {
        "`podman pull`": ("podman", ways.podman),
        "`skopeo copy` to a directory (nothing unpacked)": ("skopeo", ways.skopeo),
    }
    for name, (program, action) in peers.items():
        why = _why_not(program, action)
        if why:
            missing[name] = why
        else:
            actions[name] = action
    times = medians_of(actions, ROUNDS)
    note = (
        f"{ways.size / 1e6:.0f} MB in {len(ways.blobs) - 1} compressed layers, from docker-registry"
        f" on loopback into an empty store; {ROUNDS} rounds. The registry's own work is in all of"
        " them."
    )
    return Table("Pull of an image", note, BY_HAND, times, missing)


def _why_not(program: str, action: Callable[[], None]) -> str:
    if not shutil.which(program):
        return "not installed"
    try:
        action()
    except subprocess.CalledProcessError as error:
        return str((error.stderr.strip().splitlines() or ["fails"])[-1])[:120]
    return ""


class _Ways:
    """Each brings lab/x:1 in, into a place of its own."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.folder = address, folder
        self.manifest = manifest_of(f"{address}/lab/x", "1")
        value = json.loads(self.manifest)
        self.blobs = [value["config"], *value["layers"]]
        self.size = sum(blob["size"] for blob in self.blobs)

    def pull(self) -> None:
        with self._place() as place:
            Lpmx(place / "store")("pull", "-q", f"{self.address}/lab/x:1")

    def by_hand(self) -> None:
        with self._place() as place:
            _layout(place, self.manifest)
            names = [blob["digest"].partition(":")[2] for blob in self.blobs]
            url = f"http://{self.address}/v2/lab/x/blobs/sha256:"
            words = [word for name in names for word in ("-o", name, url + name)]
            _run("curl", "-sSf", *words, cwd=place / "blobs/sha256")
            Lpmx(place / "store")("load", "-q", place)

    def podman(self) -> None:
        with self._place() as place:
            where = ["--root", f"{place}/root", "--runroot", f"{place}/run"]
            words = ["pull", "-q", "--tls-verify=false", f"{self.address}/lab/x:1"]
            _run("podman", *where, *words)

    def skopeo(self) -> None:
        with self._place() as place:
            source = f"docker://{self.address}/lab/x:1"
            words = ["copy", "-q", "--insecure-policy", "--src-tls-verify=false"]
            _run("skopeo", *words, source, f"oci:{place}/oci:x")

    @contextlib.contextmanager
    def _place(self) -> Iterator[Path]:
        """A folder; it is deleted with all the rest, outside the timing."""
        yield Path(tempfile.mkdtemp(dir=self.folder))


def _layout(place: Path, manifest: bytes) -> None:
    """An OCI layout that lacks the blobs of its image so far."""
    import hashlib

    digest = hashlib.sha256(manifest).hexdigest()
    (place / "blobs/sha256").mkdir(parents=True)
    (place / "blobs/sha256" / digest).write_bytes(manifest)
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entry = {"mediaType": json.loads(manifest)["mediaType"], "digest": f"sha256:{digest}"}
    listed = {"schemaVersion": 2, "manifests": [{**entry, "size": len(manifest)}]}
    (place / "index.json").write_text(json.dumps(listed))


def _run(*words: str | os.PathLike[str], cwd: Path | None = None) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True, cwd=cwd)


def _second(address: str, folder: Path) -> Table:
    with FaultProxy(address) as proxy:
        lpmx = Lpmx(folder / "second")
        name = f"{proxy.address}/lab/x:1"
        lpmx("pull", name)
        proxy.begin()
        lpmx("pull", name)
        requests = len(proxy.requests)
    lpmx("pull", f"{address}/lab/x:1")
    env = lpmx.environment(dict(os.environ))
    pull = [*lpmx.command, "pull", "-q", f"{address}/lab/x:1"]
    commands = [
        Command("`lpmx pull` of what is up to date", pull, env),
        Command("`lpmx images`", [*lpmx.command, "images"], env),
        Command("the same Python, doing nothing", [sys.executable, "-c", ""], env),
    ]
    times = medians(commands, 2 * ROUNDS, folder)
    note = f"{requests} request; {2 * ROUNDS} rounds."
    return Table("Pull of what is up to date", note, "`lpmx images`", times)
