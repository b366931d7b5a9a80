"""Builds the layers of a recipe out of Debian packages. Root only; archives of cached layers need
nobody.

Each layer is the upper directory of a kernel overlayfs in which apt or a script ran, so whiteouts
and opaque directories are the kernel's own. All mounts are made in a private mount namespace:
nothing is left behind.

The cache folder holds images/ (finished archives, for every user), and layers/, trees/, apt/ and
log/ (root's own).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from images.archive import write_archive
from images.layertar import write_layer
from images.recipe import HERE, Layer, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PRIVATE = ("layers", "trees", "work", "apt", "log")
CHROOT_ENV = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LC_ALL=C",
    "DEBIAN_FRONTEND=noninteractive",
    "APT_CONFIG=/mnt/apt.conf",
    "SOURCES=/mnt/sources",
)
# Relative lower directories: thirty long paths would not fit into the one page of mount options.
CHROOT = r"""
set -e
cd "$TREES"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK/w" "$WORK/m"
cd "$WORK/m"
mount -t proc proc proc
mount --bind /dev dev
mount --bind /etc/resolv.conf etc/resolv.conf
mount --bind "$WORK/mnt" mnt
mount --bind "$APT" mnt/apt
env -i {env} chroot . /bin/sh -e -c "$SCRIPT"
"""


class BuildError(Exception):
    """An image cannot be had; the message says why and what to do."""


@dataclass(frozen=True)
class Debian:
    """A Debian, and where to get it: from where this machine's own apt gets its own."""

    mirror: str
    suite: str
    sources: tuple[str, ...]
    acquire: str  # its download settings: proxies, dates, certificates

    @classmethod
    def find(cls, suite: str = "") -> Debian:
        """@suite of the machine's mirror, by default the machine's own with its updates."""
        own = cls._of_this_machine()
        if suite in ("", own.suite):
            return own
        return replace(own, suite=suite, sources=(f"deb {own.mirror} {suite} main",))

    @classmethod
    def _of_this_machine(cls) -> Debian:
        suite = _os_release()["VERSION_CODENAME"]
        lines = _output(
            "apt-get", "indextargets", "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)", "Created-By: Packages",
        ).splitlines()  # fmt: skip
        found = [line.split(maxsplit=3) for line in lines]
        wanted = {
            (uri, release)
            for uri, release, component, *origin in found
            if component == "main" and release.startswith(suite) and "Debian" in " ".join(origin)
        }
        mirrors = [uri for uri, release in sorted(wanted) if release == suite]
        if not mirrors:
            raise BuildError(
                f"apt on this machine has no lists of Debian {suite} (run `apt-get update` as root)"
            )
        settings = _output("apt-config", "dump", "Acquire").splitlines()
        acquire = [line for line in settings if "::IndexTargets" not in line and '""' not in line]
        return cls(
            mirror=mirrors[0],
            suite=suite,
            sources=tuple(f"deb {uri} {release} main" for uri, release in sorted(wanted)),
            acquire="\n".join(acquire),
        )

    def write_config(self, directory: Path) -> None:
        """Write what APT_CONFIG names inside a chroot, where @directory is /mnt."""
        (directory / "sources.list").write_text("\n".join(self.sources) + "\n")
        (directory / "apt.conf").write_text(
            f"{self.acquire}\n"
            'Dir::Etc::SourceList "/mnt/sources.list";\nDir::Etc::SourceParts "-";\n'
            'Dir::State::Lists "/mnt/apt/lists";\nDir::Cache::Archives "/mnt/apt/archives";\n'
            'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
            'APT::Get::List-Cleanup "false";\n'
            'APT::Sandbox::User "root";\nAPT::Install-Recommends "false";\n'
            'Dpkg::Use-Pty "0";\nquiet "1";\n'
        )


class Builder:
    """Builds into, and reads from, one cache folder."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.images = cache / "images"

    def cached(self, recipe: Recipe) -> Path | None:
        """The archive of @recipe if it is there and made by this very recipe."""
        archive = self.images / f"{recipe.name}.tar"
        try:
            current = (self.images / f"{recipe.name}.key").read_text() == recipe.key
        except FileNotFoundError:
            return None
        return archive if current and archive.exists() else None

    def image(self, recipe: Recipe) -> Path:
        """The archive of @recipe, built now if need be."""
        if archive := self.cached(recipe):
            return archive
        self._require_root(recipe)
        self._make_folders()
        with self._lock():
            if archive := self.cached(recipe):
                return archive
            layers = [self._layer(layer) for layer in recipe.top.chain()]
            archive = self.images / f"{recipe.name}.tar"
            write_archive(archive, recipe.reference, layers, recipe.config, style=recipe.style)
            archive.chmod(0o644)
            key = self.images / f"{recipe.name}.key"
            key.unlink(missing_ok=True)  # it may be a hard link to another checkout's
            key.write_text(recipe.key)
        return archive

    def trees(self, recipe: Recipe) -> list[Path]:
        """The trees that the layers of @recipe were made from, lowest first. Root only."""
        self._require_root(recipe)
        self._make_folders()
        with self._lock():
            for layer in recipe.top.chain():
                self._layer(layer)
        return [self.cache / "trees" / layer.key for layer in recipe.top.chain()]

    def _require_root(self, recipe: Recipe) -> None:
        if os.geteuid() != 0:
            raise BuildError(
                f"image {recipe.name} is not in {self.images} and only root can build it "
                f"(ask root to run `{HERE / 'build.py'} {recipe.name}`, "
                "or name a folder that has it in LPMX_TEST_CACHE)"
            )

    def _make_folders(self) -> None:
        self.images.mkdir(parents=True, exist_ok=True)
        for name in PRIVATE:  # trees have setuid files of root
            (self.cache / name).mkdir(mode=0o700, exist_ok=True)
        for name in ("lists/partial", "archives/partial"):
            (self.cache / "apt" / name).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with open(self.cache / "lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _layer(self, layer: Layer) -> Path:
        """The tar of @layer, whose parents are built already; it appears whole or not at all."""
        out = self.cache / "layers" / f"{layer.name}-{layer.key}.tar"
        tree = self.cache / "trees" / layer.key
        if out.exists() and tree.exists():
            return out
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir()
        tree.chmod(0o755)
        {"debootstrap": self._debootstrap, "chroot": self._chroot, "scratch": self._scratch}[
            layer.kind
        ](layer, tree)
        partial = out.with_suffix(".partial")
        write_layer(tree, partial)
        partial.replace(out)
        return out

    def _debootstrap(self, layer: Layer, tree: Path) -> None:
        debian = Debian.find(layer.suite)
        # In a mount namespace of its own: what a busy /proc keeps mounted goes with the namespace.
        private = ["unshare", "-m", "--propagation", "private"]
        command = ["debootstrap", "--variant=minbase", debian.suite, str(tree), debian.mirror]
        self._run(layer, [*private, *command], {}, "debootstrap")
        self._run(layer, ["sh", "-e", "-c", layer.script], {"TREE": str(tree)}, "trim")

    def _scratch(self, layer: Layer, tree: Path) -> None:
        env = {"TREE": str(tree), "SOURCES": str(HERE / "programs")}
        self._run(layer, ["bash", "-e", "-c", layer.script], env)

    def _chroot(self, layer: Layer, tree: Path) -> None:
        work = self.cache / "work" / layer.key
        shutil.rmtree(work, ignore_errors=True)
        for name in ("w", "m", "mnt/sources", "mnt/apt"):
            (work / name).mkdir(parents=True)
        Debian.find(layer.base.suite).write_config(work / "mnt")
        for name in layer.sources:
            shutil.copy(HERE / "programs" / name, work / "mnt" / "sources")
        env = {
            "TREES": str(self.cache / "trees"),
            "LOWER": ":".join(below.key for below in reversed(layer.chain()[:-1])),
            "UPPER": str(tree),
            "WORK": str(work),
            "APT": str(self.cache / "apt"),
            "SCRIPT": layer.script,
        }
        script = CHROOT.format(env=" ".join(CHROOT_ENV))
        self._run(layer, ["unshare", "-m", "--propagation", "private", "bash", "-c", script], env)
        shutil.rmtree(work)

    def _run(
        self, layer: Layer, command: Sequence[str], env: dict[str, str], step: str = "build"
    ) -> None:
        log = self.cache / "log" / f"{layer.name}-{step}.log"
        with open(log, "w") as output:
            try:
                status = subprocess.run(
                    command, env={**os.environ, **env}, stdout=output, stderr=output,
                    stdin=subprocess.DEVNULL, check=False,
                ).returncode  # fmt: skip
            except FileNotFoundError:
                raise BuildError(f"{command[0]} is missing (run tests/images/prepare.sh)") from None
        if status:
            tail = log.read_text(errors="replace")[-2000:]
            raise BuildError(f"layer {layer.name}: {command[0]} ended with {status}\n{tail}")


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _os_release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}
