"""Building a payload: pip, run by the image's own Python, installs wheels into a folder.

The image's Python is what decides: its version and its libc choose the wheels and the dependencies,
and its compiler writes the .pyc. A pip on the host would answer `python_version < "3.11"` with its
own version. pip itself comes as a wheel, which Python runs without installing it, so the image
needs no pip.
"""

from __future__ import annotations

import email.parser
import hashlib
import importlib.util
import os
import re
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from lpmx_kernels.errors import NoPayloadError
from lpmx_kernels.spec.interpreter import module_argv
from lpmx_runtime.errors import LpmxError, storage_errors
from lpmx_runtime.gpu.elf import read_library
from lpmx_runtime.process import proc
from lpmx_runtime.store.store import remove_tree

from . import own_kernel as extras
from . import payload
from .payload import Payload
from .run_once import run_once

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .probe import FoundPython

BUILD, WHEELS = "/run/lpmx-build", "/run/lpmx-wheels"
TIMEOUT = 900.0
# IPython completes without them, from the living objects; together they are half the payload.
LEFT_OUT = {"jedi": ("jedi", "parso")}
# Options of the user's own pip set-up that would send the packages elsewhere, or forbid wheels
NOT_PASSED = {
    "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_NO_BINARY",
    "PIP_ONLY_BINARY", "PIP_PYTHON", "PIP_LOG",
}  # fmt: skip
FILES_OF_NETWORK = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# PEP 600: manylinux_2_28_x86_64; the older names stand for a version. PEP 656: musllinux_1_1_x86_64
OLD_MANYLINUX = {"manylinux1": "2.5", "manylinux2010": "2.12", "manylinux2014": "2.17"}
# Wheels tagged musllinux_1_2 may have packed relocations. An older musl skips them: SIGSEGV.
MUSL_OF_PACKED_RELOCATIONS = "1.2.4"


@dataclass(frozen=True)
class Wanted:
    """What a payload is to hold, and where its wheels come from."""

    packages: tuple[str, ...] = ()  # besides ipykernel
    wheels: Path | None = None  # a folder of wheels; None: the package index


def build(store: Store, image: Image, python: FoundPython, wanted: Wanted) -> Payload:
    """Make the payload for `python` of `image` and put it into the store.

    Raises NoPayloadError where that Python or its libc is too old or no wheels suit it.
    """
    if not python.tag.startswith("cp") or python.version < payload.OLDEST_PYTHON:
        oldest = ".".join(map(str, payload.OLDEST_PYTHON))
        raise NoPayloadError(
            f"image {image.name}: {python.path} is {python.tag}, and payloads need CPython {oldest}"
            " or newer"
        )
    with store.workspace() as work:
        pip = _fetch_pip(python, wanted.wheels, work)
        _install(store, image, python, wanted, work, pip.name)
        pip.unlink()
        _strip(work / "site", wanted)
        _add_magics(work / "site")
        _in_container(store, image, python, _COMPILE, work)
        (work / "start.py").write_bytes(
            (resources.files("lpmx_kernels") / "inside" / "start.py").read_bytes()
        )
        record = _describe(work / "site", python)
        if not record.suits(python):
            source = f" --wheels {wanted.wheels}" if wanted.wheels else ""
            again = f"lpmx kernel payload build {image.name} 'pyzmq<26'{source}"
            raise NoPayloadError(
                f"payload for {payload.describe(python)}: its wheels need {record.libc} "
                f"{record.libc_version}",
                hint=f"older ones may do: `{again}`",
            )
        return _put_in_place(store, record, work)


_COMPILE = ("-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", f"{BUILD}/site")


def _fetch_pip(python: FoundPython, wheels: Path | None, work: Path) -> Path:
    """A wheel of pip that runs on `python`: of the folder, of the index, or one kept here."""
    if wheels is None and importlib.util.find_spec("pip"):
        version = ".".join(map(str, python.version))
        argv = [*module_argv("pip"), "download", "-q", "--no-deps", "--dest", str(work)]
        proc.run([*argv, "--only-binary", ":all:", "--python-version", version, "pip"])
        return next(work.glob("pip-*.whl"))
    given = sorted(wheels.glob("pip-*.whl"), reverse=True) if wheels else []
    for source in [*given, *_kept_pips()]:
        return Path(shutil.copy(source, work))
    raise NoPayloadError(
        f"payload for {payload.describe(python)}: there is no pip to build it with",
        hint=f"put a wheel of pip into {wheels}" if wheels else "`python -m ensurepip`",
    )


def _kept_pips() -> Iterator[Path]:
    """The pip wheels that this Python, or its distribution, keeps for new environments."""
    import ensurepip

    places = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
    for place in places:
        yield from sorted(place.glob("pip-*.whl"), reverse=True)


# Up to Python 3.9 pip asks distutils where things go, which Debian has in a package of its own.
_RUN_PIP = """
import runpy, sys, sysconfig
sysconfig._PIP_USE_SYSCONFIG = True
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""


def _install(
    store: Store, image: Image, python: FoundPython, wanted: Wanted, work: Path, pip: str
) -> None:
    source = ["--isolated", "--no-index", "--find-links", WHEELS] if wanted.wheels else []
    pip_command = [
        "-c",
        _RUN_PIP,
        f"{BUILD}/{pip}",
        "install",
        "-q",
        *source,
        "--target",
        f"{BUILD}/site",
    ]
    pip_command += ["--only-binary", ":all:", "--no-compile", "--disable-pip-version-check"]
    pip_command += ["--no-warn-script-location", "ipykernel>=6", *wanted.packages]
    if wanted.wheels:
        binds = [f"{wanted.wheels.absolute()}:{WHEELS}:ro"]
        _in_container(store, image, python, pip_command, work, binds=binds)
        return
    env = _pip_environment(os.environ)
    binds = [f"{path}:{path}:ro" for path in _files_named_in([*env.values(), "/etc/pip.conf"])]
    _in_container(store, image, python, pip_command, work, binds=binds, env=env)


def _pip_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """How this user reaches a package index: pip's variables, and those of the network."""
    return {
        name: value
        for name, value in environ.items()
        if (name.startswith("PIP_") and name not in NOT_PASSED) or name in FILES_OF_NETWORK
    }


def _files_named_in(values: Sequence[str]) -> list[str]:
    """The files and folders of the host that values of variables name."""
    words = {word for value in values for word in value.split()}
    return sorted(word for word in words if word.startswith("/") and os.path.exists(word))


def _in_container(
    store: Store,
    image: Image,
    python: FoundPython,
    arguments: Sequence[str],
    work: Path,
    *,
    binds: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> None:
    argv = [python.path, *arguments]
    done = run_once(store, image, argv, timeout=TIMEOUT, binds=(f"{work}:{BUILD}", *binds), env=env)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise NoPayloadError(
            f"payload for {payload.describe(python)}: " + ("; ".join(errors) or "pip was ended"),
            hint="on a machine without network: `lpmx kernel payload build IMAGE --wheels DIR`",
        )


def _strip(site: Path, wanted: Wanted) -> None:
    """Leave out what a kernel does not need: programs, and what LEFT_OUT names."""
    asked = {re.split(r"[^A-Za-z0-9._-]", package)[0].lower() for package in wanted.packages}
    for reason, packages in LEFT_OUT.items():
        if reason in asked:
            continue
        for package in packages:
            for path in [site / package, *site.glob(f"{package}-*.dist-info")]:
                remove_tree(path)
    for name in ("bin", "share", "etc"):
        if (site / name).exists():
            remove_tree(site / name)
    # Wheels have none, and launch.py relies on it: nothing in a payload is looked for by steps.
    if links := [path for path in site.rglob("*") if path.is_symlink()]:
        raise NoPayloadError(f"{links[0]}: is a symlink, which a payload cannot have")


def _add_magics(site: Path) -> None:
    """Put in what `%load_ext lpmx_kernels` needs, and no more of this package."""
    target = site / "lpmx_kernels"
    target.mkdir()
    for name in extras.MAGICS:
        (target / name).write_bytes((resources.files("lpmx_kernels") / name).read_bytes())


def _describe(site: Path, python: FoundPython) -> Payload:
    """The record of what pip has installed."""
    packages: dict[str, str] = {}
    floors: list[str] = []
    for info in sorted(site.glob("*.dist-info")):
        fields = _fields(info / "METADATA")
        packages[fields.get("Name", info.name)] = fields.get("Version", "")
        tags = email.parser.Parser().parsestr((info / "WHEEL").read_text()).get_all("Tag", [])
        if floor := libc_floor(tags, python.libc, python.libc_version):
            floors.append(floor)
    if python.libc == "musl" and has_packed_relocations(site):
        floors.append(MUSL_OF_PACKED_RELOCATIONS)
    if "ipykernel" not in packages:
        raise LpmxError(f"{site}: pip has installed no ipykernel")
    version = max(floors, key=_version_key, default=python.libc_version or "0")
    digest = hashlib.sha256(repr(sorted(packages.items())).encode()).hexdigest()[:8]
    identity = payload.make_id(python.tag, python.libc, version, python.machine, digest)
    return Payload(identity, python.tag, python.libc, version, python.machine, packages)


def has_packed_relocations(site: Path) -> bool:
    """Say whether any library below `site` has them."""
    libraries = map(read_library, site.rglob("*.so*"))
    return any(library.packed_relocations for library in libraries if library)


def libc_floor(tags: Sequence[str], libc: str, there: str) -> str:
    """The oldest libc that a wheel with these tags runs with; empty where it needs none.

    A wheel may carry several tags: the least demanding of them that names this libc counts.
    """
    family = "musllinux" if libc == "musl" else "manylinux"
    floors = []
    for tag in tags:
        for platform in tag.split("-")[-1].split("."):
            if platform.startswith("linux"):
                floors.append(there)
            elif match := re.match(rf"({family}(?:1|2010|2014)?)_(?:(\d+)_(\d+)_)?", platform):
                name, major, minor = match.groups()
                floors.append(f"{major}.{minor}" if major else OLD_MANYLINUX.get(name, there))
    return min(floors, key=_version_key, default="")


def _version_key(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _fields(path: Path) -> Mapping[str, str]:
    message = email.parser.Parser().parsestr(path.read_text(encoding="utf-8"), headersonly=True)
    return {name: str(value) for name, value in message.items()}


def _put_in_place(store: Store, record: Payload, work: Path) -> Payload:
    home = store.root / payload.FOLDER
    place = payload.folder(store, record.id)
    with storage_errors(f"kernel payload {record.id}"):
        home.mkdir(mode=0o755, exist_ok=True)
        (work / payload.RECORD).write_text(record.to_json(), encoding="utf-8")
        if (place / payload.RECORD).exists():
            os.utime(place / payload.RECORD)  # the same once more: now the newest
            return record
        work.chmod(0o755)
        work.rename(place)
    return record
