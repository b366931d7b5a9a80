"""The image that a notebook names for itself, in its metadata:

    "metadata": {"lpmx": {"image": "lab/tools:1"}}

A server tells a kernel which notebook it is started for (JPY_SESSION_NAME). The image has to be in
the store, and to offer a kernel of the language the notebook was opened with.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lpmx_kernels.errors import KernelSpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lpmx_kernels.settings import KernelSettings
    from lpmx_runtime.store import Store

VARIABLE = "JPY_SESSION_NAME"
KEY = "lpmx"
KNOWN = {"image", "python"}


def apply(store: Store, settings: KernelSettings, environ: Mapping[str, str]) -> KernelSettings:
    """`settings` with the image of the notebook that `environ` names, if it names one.

    Raises KernelSpecError where the notebook asks for something else, or for what cannot be had.
    """
    path = environ.get(VARIABLE, "")
    wishes = _wishes(path)
    image_name = wishes.get("image", "")
    if not image_name or image_name == settings.image:
        return settings
    from lpmx_kernels import tiers

    image = store.resolve(image_name)
    tier = tiers.choose(store, image, python=wishes.get("python", ""))
    if _language(settings) != tier.language:
        raise KernelSpecError(
            f"{path}: names image {image_name}, which offers a kernel for {tier.language}",
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


def _language(settings: KernelSettings) -> str:
    if settings.host_kernel:
        return "bash"
    return "R" if "IRkernel::main()" in settings.command else "python"


def _wishes(path: str) -> Mapping[str, str]:
    if not path.endswith(".ipynb"):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            metadata = json.load(file)["metadata"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # not there yet, or not a notebook: nothing is asked
    wishes: Any = metadata.get(KEY, {}) if isinstance(metadata, dict) else {}
    where = f"{os.path.basename(path)}: metadata.{KEY}"
    if not isinstance(wishes, dict) or not all(isinstance(v, str) for v in wishes.values()):
        raise KernelSpecError(f"{where}: is not a mapping of strings", hint='{"image": "NAME"}')
    if unknown := sorted(set(wishes) - KNOWN):
        raise KernelSpecError(
            f"{where}: unknown key {unknown[0]!r}", hint=f"known: {', '.join(sorted(KNOWN))}"
        )
    return wishes
