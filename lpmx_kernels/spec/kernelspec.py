"""Kernel specs, written, listed and removed: folders with kernel.json that every client finds.

`argv` is a complete launcher with an absolute path, because VS Code knows no provisioners, hides
specs whose program is missing, and takes any `python -m ipykernel_launcher` for a Python of its
own. The stanza adds what argv cannot.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lpmx_kernels.errors import KernelSpecError
from lpmx_runtime import __version__
from lpmx_runtime.errors import UsageError, storage_errors

from .interpreter import module_argv
from .settings import PROVISIONER, KernelSettings, our_config, our_facts, read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOGOS = ("logo-svg.svg", "logo-64x64.png", "logo-32x32.png")
CURVE_SINCE = (7, 3)
"""The ipykernel that knows CurveZMQ."""
NAME_PATTERN = re.compile(r"[a-z0-9._-]+")


@dataclass(frozen=True)
class KernelSpec:
    """A kernel spec to be written."""

    name: str
    display_name: str
    settings: KernelSettings
    transport: str = ""
    language: str = "python"
    debugger: bool = True
    plain: bool = False  # without the stanza, for servers that do not have our provisioner
    facts: Mapping[str, Any] = field(default_factory=dict)  # what was found at installation

    def to_json(self, directory: Path) -> dict[str, Any]:
        """The kernel.json of this spec, for `directory`."""
        config = self.settings.to_config()
        if self.transport and not self.plain:
            config["transport"] = self.transport
        ours: dict[str, Any] = {"version": __version__, **self.facts}
        metadata: dict[str, Any] = {"debugger": self.debugger, "lpmx": ours}
        if _knows_curve(str(self.facts.get("ipykernel", ""))):
            metadata["supported_encryption"] = ["curve"]
        if self.plain:
            ours["config"] = config
        else:
            metadata["kernel_provisioner"] = {"provisioner_name": PROVISIONER, "config": config}
        return {
            "argv": [*launcher_argv(), "--spec", str(directory), "-f", "{connection_file}"],
            "display_name": self.display_name,
            "language": self.language,
            "interrupt_mode": "signal",
            "metadata": metadata,
        }


@dataclass(frozen=True)
class InstalledSpec:
    """A kernel spec of ours on disk."""

    name: str
    directory: Path
    display_name: str
    image: str
    persist: str
    tier: str = ""
    plain: bool = False
    synced: bool = False  # made by `lpmx kernel sync`

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "name": self.name,
            "display_name": self.display_name,
            "image": self.image,
            "tier": self.tier,
            "persist": self.persist,
            "plain": self.plain,
            "directory": str(self.directory),
        }


def _knows_curve(ipykernel: str) -> bool:
    """Can that version of ipykernel encrypt its channels, if the client asks for it?"""
    found = re.match(r"(\d+)\.(\d+)", ipykernel)
    return found is not None and tuple(map(int, found.groups())) >= CURVE_SINCE


def launcher_argv() -> list[str]:
    """The start of every argv: a program of this installation, by absolute path."""
    script = Path(sys.executable).absolute().with_name("lpmx")
    if os.access(script, os.X_OK):
        return [str(script), "kernel", "launch"]
    return list(module_argv("lpmx_kernels.launch"))


def kernels_directory(*, prefix: str | None = None) -> Path:
    """Where specs are installed: below `prefix`, or for the user."""
    if prefix:
        return Path(prefix).absolute() / "share" / "jupyter" / "kernels"
    from jupyter_core.paths import jupyter_data_dir

    return Path(jupyter_data_dir()).absolute() / "kernels"


def check_name(name: str) -> str:
    """`name` as Jupyter takes it."""
    if not NAME_PATTERN.fullmatch(name.lower()):
        raise UsageError(
            f"kernel name {name!r}: only letters, digits, `.`, `_` and `-` are allowed"
        )
    return name.lower()


def default_name(image: str) -> str:
    """The kernel name of an image name: `quay.io/biocontainers/bwa:0.7` becomes `bwa-0.7`."""
    last = _last_part(image)
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-") or "lpmx"


def _last_part(image: str) -> str:
    last = image.rsplit("/", 1)[-1].split("@", 1)[0].removesuffix(":latest")
    return re.sub(r"\.ya?ml$", "", last)  # an environment file


def default_display_name(image: str) -> str:
    """What the launcher of JupyterLab shows, which has room for about 25 letters."""
    last = _last_part(image)
    return f"{last.replace(':', ' ')} (LPMX)"


def write_spec(spec: KernelSpec, kernels: Path, *, shared: bool = False) -> Path:
    """Put the spec into the folder `kernels`; one of ours of that name is replaced.

    With variables in it, it is for the user alone to read, unless it is `shared`.
    """
    directory = kernels / spec.name
    if directory.exists() and not _is_ours(directory):
        raise KernelSpecError(
            f"{directory}: a kernel of that name is there, which is not one of lpmx",
            hint="choose another with --name, or remove that one with `jupyter kernelspec remove`",
        )
    with storage_errors(f"kernel {spec.name}"):
        kernels.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{spec.name}.", dir=kernels))
        try:
            fresh.chmod(0o755)
            text = json.dumps(spec.to_json(directory), indent=1, ensure_ascii=False)
            mode = 0o600 if spec.settings.env and not shared else 0o644
            _write(fresh / "kernel.json", f"{text}\n", mode)
            _copy_logos(fresh)
            _replace(fresh, directory)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return directory


def installed_specs() -> Iterator[InstalledSpec]:
    """Every kernel spec of ours that Jupyter finds here, in its order of precedence."""
    from jupyter_core.paths import jupyter_path

    seen: set[str] = set()
    for kernels in (Path(path) for path in jupyter_path("kernels")):
        for directory in sorted(kernels.iterdir()) if kernels.is_dir() else ():
            name = directory.name.lower()
            if name not in seen and (directory / "kernel.json").is_file():
                seen.add(name)
                if spec := _read_installed(directory):
                    yield spec


def find_spec(name_or_directory: str) -> InstalledSpec:
    """The kernel spec of ours with that name, or in that folder."""
    if os.sep in name_or_directory:
        directory = Path(name_or_directory)
        spec = _read_installed(directory) if (directory / "kernel.json").is_file() else None
        found = [spec] if spec else []
    else:
        found = [spec for spec in installed_specs() if spec.name == name_or_directory.lower()]
    if not found:
        raise KernelSpecError(
            f"kernel {name_or_directory}: not found among those of lpmx",
            hint="`lpmx kernel list` lists them, `lpmx kernel install IMAGE` makes one",
        )
    return found[0]


def remove_spec(spec: InstalledSpec) -> None:
    """Remove the folder of a spec."""
    with storage_errors(f"kernel {spec.name}"):
        shutil.rmtree(spec.directory)


def _read_installed(directory: Path) -> InstalledSpec | None:
    """The spec in `directory` if it is one of ours."""
    try:
        raw = read_json(directory / "kernel.json")
    except KernelSpecError:
        return None
    config = our_config(raw)
    if config is None:
        return None
    facts = our_facts(raw)
    return InstalledSpec(
        name=directory.name.lower(),
        directory=directory,
        display_name=str(raw.get("display_name", "")),
        image=str(config.get("image", "")),
        persist=str(config.get("persist", "")),
        tier=str(facts.get("tier", "ipykernel")),
        plain="config" in facts,
        synced=bool(facts.get("synced")),
    )


def _is_ours(directory: Path) -> bool:
    return _read_installed(directory) is not None


def _write(path: Path, text: str, mode: int) -> None:
    """A new file that has never been open to more than `mode` says."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)


def _copy_logos(directory: Path) -> None:
    # Copied, not linked: Jupyter's server refuses a file whose real place is elsewhere.
    for name in LOGOS:
        logo = resources.files("lpmx_kernels") / "logos" / name
        (directory / name).write_bytes(logo.read_bytes())


def _replace(fresh: Path, directory: Path) -> None:
    """Swap `fresh` in for `directory`, so that no client ever sees half a spec."""
    if not directory.exists():
        fresh.rename(directory)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{directory.name}.old.", dir=directory.parent))
    directory.rename(old / "spec")
    fresh.rename(directory)
    shutil.rmtree(old, ignore_errors=True)
