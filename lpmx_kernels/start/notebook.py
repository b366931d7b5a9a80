"""What a notebook chooses for itself, in its metadata:

    "metadata": {"lpmx": {"image": "lab/tools:1", "python": "/opt/py/bin/python3"}}

A notebook may come from anywhere, and is opened before anybody has read it. So this is all that it
may choose: an image of the store, by name or id, and one of the Pythons in that image's own layers.
Binds, variables, commands, users and environment files are what the kernel's user has said, and
stay. The image has to offer a kernel of the language the notebook was opened with.

A server tells a kernel which notebook it is started for (JPY_SESSION_NAME).
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lpmx_kernels.errors import KernelSpecError
from lpmx_kernels.image import own_programs as inimage
from lpmx_runtime.errors import ImageNotFoundError, LpmxError
from lpmx_runtime.reference import parse_reference
from lpmx_runtime.smallfile import read_small
from lpmx_runtime.store.image import is_hex_digest
from lpmx_runtime.text import shown

from . import startup

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lpmx_kernels.spec.settings import KernelSettings
    from lpmx_runtime.plans.plan import Bind
    from lpmx_runtime.store.image import Image
    from lpmx_runtime.store.store import Store

VARIABLE = "JPY_SESSION_NAME"
KEY = "lpmx"
_SIZE_MAX = 256 << 20  # with all its pictures
KNOWN = {"image", "python"}
LONGEST = 4096  # characters of one value
_ENVIRONMENT = (".yaml", ".yml")
_PYTHON = re.compile(r"(python|pypy)[0-9]*(\.[0-9]+)?t?")


def apply(store: Store, settings: KernelSettings, environ: Mapping[str, str]) -> KernelSettings:
    """`settings` with the image of the notebook that `environ` names, if it names one.

    Raises KernelSpecError where the notebook asks for something else, or for what cannot be had.
    """
    path = environ.get(VARIABLE, "")
    wishes = _wishes(path)
    image_name, python = wishes.get("image", ""), wishes.get("python", "")
    if not image_name and not python:
        return settings
    where = _where(path)
    if not image_name:
        raise KernelSpecError(
            f"{where}: names a Python and no image", hint='add "image": "NAME", whose Python it is'
        )
    if image_name == settings.image and not python:
        return settings
    image = _image(store, settings, image_name, where)
    if python:
        _check_python(python, where)
        _refuse(inimage.why_not(store, image, python, ()), python, image, where)
    from lpmx_kernels.image import tiers

    tier = tiers.choose(store, image, python=python)
    if _language(settings) != tier.language:
        raise KernelSpecError(
            f"{where}: names image {image_name}, which offers a kernel for {tier.language}",
            hint=f"this kernel is for {_language(settings)}; choose another, or another image",
        )
    return replace(
        settings,
        image=image_name,
        command=tier.command,
        payload=tier.payload,
        host_kernel=tier.host_kernel,
        persist="",
    )


def chosen_image(environ: Mapping[str, str]) -> str:
    """The image that the notebook of a start names, whatever becomes of it; "" where it does not.

    Raises KernelSpecError where the notebook asks for what none may choose.
    """
    return _wishes(environ.get(VARIABLE, "")).get("image", "")


def check_start(
    store: Store, image: Image, settings: KernelSettings, binds: Collection[Bind], path: str
) -> None:
    """Refuse a notebook's choice whose program the container would take from the host.

    `binds` are those of the very start: a Python of the image may lie where one of them is.
    """
    program = settings.command[0]
    _refuse(inimage.why_not(store, image, program, binds), program, image, _where(path))


def _image(store: Store, settings: KernelSettings, name: str, where: str) -> Image:
    if name.endswith(_ENVIRONMENT):
        raise KernelSpecError(
            f"{where}: {shown(name)} is an environment file, which a notebook cannot choose",
            hint=f"`lpmx kernel install {shown(name)}` makes a kernel of it, if you trust it",
        )
    if not is_hex_digest(name.removeprefix("sha256:")):
        try:
            parse_reference(name)
        except LpmxError as error:
            raise KernelSpecError(f"{where}: {shown(error.message)}", hint=error.hint) from error
    patterns = settings.notebook_images
    if patterns is not None and not any(fnmatch.fnmatchcase(name, one) for one in patterns):
        raise KernelSpecError(
            f"{where}: names image {name}, which this kernel does not leave to notebooks",
            hint=f"it allows {', '.join(patterns) or 'none'} (notebook_images in its kernel.json)",
        )
    try:
        return store.resolve(name)
    except ImageNotFoundError as error:
        raise KernelSpecError(f"{where}: {error.message}", hint=error.hint) from error


def _check_python(path: str, where: str) -> None:
    if not _PYTHON.fullmatch(os.path.basename(path)):
        raise KernelSpecError(
            f"{where}: {shown(path)} is not what a Python is called",
            hint="the path of a Python in that image, such as /opt/py/bin/python3",
        )


def _refuse(why: str, program: str, image: Image, where: str) -> None:
    if why:
        raise KernelSpecError(
            f"{where}: {shown(program)} {why}",
            hint=f"a notebook may choose only among the programs of {image.name} itself",
        )


def _language(settings: KernelSettings) -> str:
    if settings.host_kernel:
        return "bash"
    return "R" if startup.is_r(settings.command) else "python"


def _where(path: str) -> str:
    return f"{shown(os.path.basename(path))}: metadata.{KEY}"


def _wishes(path: str) -> Mapping[str, str]:
    if not path.endswith(".ipynb"):
        return {}
    try:
        metadata = json.loads(read_small(path, limit=_SIZE_MAX))["metadata"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}  # not there yet, or not a notebook: nothing is asked
    wishes: Any = metadata.get(KEY, {}) if isinstance(metadata, dict) else {}
    where = _where(path)
    if not isinstance(wishes, dict) or not all(isinstance(v, str) for v in wishes.values()):
        raise KernelSpecError(f"{where}: is not a mapping of strings", hint='{"image": "NAME"}')
    if unknown := sorted(set(wishes) - KNOWN):
        raise KernelSpecError(
            f"{where}: {shown(unknown[0])!r} is nothing that a notebook can choose",
            hint=f"it can choose {' and '.join(sorted(KNOWN))}; the rest is the kernel's",
        )
    for key, value in wishes.items():
        if len(value) > LONGEST or "\0" in value:
            raise KernelSpecError(f"{where}: {key} is not a name", hint='{"image": "NAME"}')
    return wishes
