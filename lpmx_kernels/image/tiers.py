"""What in an image can be a kernel? The tiers, in the order in which `--kernel auto` tries them.

1. ipykernel: the image's own. 2. ir: IRkernel of its R. 3. payload: its Python, with an ipykernel
of ours shown to it. 4. shell: a kernel on the host whose shell is the image's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lpmx_kernels.errors import NoKernelProgramError, NoPayloadError
from lpmx_kernels.spec.settings import CONNECTION_FILE

from . import payload, probe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

    from .probe import FoundPython

AUTO, IPYKERNEL, IR, PAYLOAD, SHELL = "auto", "ipykernel", "ir", "payload", "shell"
CHOICES = (AUTO, IPYKERNEL, IR, PAYLOAD, SHELL, "bash")


@dataclass(frozen=True)
class Tier:
    """How an image is made a kernel."""

    name: str
    command: tuple[str, ...]  # in the image
    about: str  # for people
    language: str = "python"
    payload: str = ""
    host_kernel: str = ""
    transport: str = ""  # the only one it knows
    debugger: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)


def choose(store: Store, image: Image, *, wanted: str = AUTO, python: str = "") -> Tier:
    """The first tier that `image` offers, or the one that is wanted.

    Raises NoPayloadError where a payload would do but has to be built, NoKernelProgramError where
    the image offers nothing.
    """
    if python and wanted == AUTO:
        return _of_pythons(store, image, python, (IPYKERNEL, PAYLOAD))
    if wanted in (IPYKERNEL, PAYLOAD):
        return _of_pythons(store, image, python, (wanted,))
    if wanted == IR:
        return _of_r(store, image) or _nothing(image, "no R with IRkernel")
    if wanted != AUTO:
        return _of_shell(store, image) or _nothing(image, "no shell that starts")
    found, refused = probe.find_pythons(store, image)
    if tier := _own(found):
        return tier
    if tier := _of_r(store, image):
        return tier
    if found:
        return _with_payload(store, image, found)
    if tier := _of_shell(store, image):
        return tier
    return _nothing(image, "; ".join(["no Python, no R with IRkernel, no shell", *refused]))


def of_argv(argv: tuple[str, ...], language: str) -> Tier:
    """The kernel whose command line an environment file gives."""
    if not any(CONNECTION_FILE in word for word in argv):
        raise NoKernelProgramError(
            f"kernel argv {' '.join(argv)!r}: names no {CONNECTION_FILE}",
            hint="that is where Jupyter's file goes: `-f {connection_file}` for most kernels",
        )
    about = f"as the environment says: {' '.join(argv)}"
    return Tier("argv", argv, about, language=language or "python", debugger=language == "python")


def _of_pythons(store: Store, image: Image, path: str, allowed: Sequence[str]) -> Tier:
    found, refused = probe.find_pythons(store, image, wanted=path)
    if IPYKERNEL in allowed and (tier := _own(found)):
        return tier
    if PAYLOAD in allowed and found:
        return _with_payload(store, image, found)
    why = [*refused, *(f"{python.path}: {python.reason}" for python in found)]
    return _nothing(image, f"no Python with ipykernel ({'; '.join(why) or 'no Python is there'})")


def _own(found: Sequence[FoundPython]) -> Tier | None:
    for python in found:
        if python.ipykernel:
            about = f"its own ipykernel {python.ipykernel}: {_about(python)}"
            return Tier(IPYKERNEL, python.command, about, debugger=True, facts=python.facts)
    return None


def _with_payload(store: Store, image: Image, found: Sequence[FoundPython]) -> Tier:
    for python in found:
        if chosen := payload.find_for(store, python):
            facts = {**python.facts, "ipykernel": chosen.ipykernel}
            about = f"ipykernel {chosen.ipykernel} of payload {chosen.id}: {_about(python)}"
            command = payload.command(python)
            return Tier(
                PAYLOAD,
                command,
                about,
                payload=chosen.id,
                debugger="debugpy" in chosen.packages,
                facts=facts,
            )
    python = found[0]
    raise NoPayloadError(
        f"image {image.name}: its {python.path} ({python.python}) has no ipykernel, and the store"
        f" has no kernel payload for {payload.describe(python)}",
        hint=f"`lpmx kernel payload build {image.name}` makes it; or `--kernel shell`",
    )


def _of_r(store: Store, image: Image) -> Tier | None:
    found = probe.find_r(store, image)
    if found is None:
        return None
    about = f"its own IRkernel {found.irkernel}: {found.path} (R {found.version})"
    facts = {"R": found.version, "IRkernel": found.irkernel}
    # IRkernel composes `ip:port` for whatever transport
    return Tier(IR, found.command, about, language="R", transport="tcp", facts=facts)


def _of_shell(store: Store, image: Image) -> Tier | None:
    path = probe.find_shell(store, image)
    if not path:
        return None
    bash = path.endswith("/bash")
    options = ("--norc", "--noprofile", "--noediting", "-i") if bash else ("-i",)
    about = f"its shell {path}, by a kernel on the host"
    return Tier(SHELL, (path, *options), about, language="bash", host_kernel=SHELL)


def _about(python: FoundPython) -> str:
    libc = f"{python.libc} {python.libc_version}".strip()
    return f"{python.path} (Python {python.python}, {libc})"


def _nothing(image: Image, why: str) -> Tier:
    raise NoKernelProgramError(
        f"image {image.name}: {why}",
        hint="name its Python with --python, or install a kernel in the image",
    )
