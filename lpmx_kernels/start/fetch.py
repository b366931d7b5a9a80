"""Images that a kernel's start needs and the store lacks: fetched before the start is planned.

Planning knows the store alone. So this is the only place where a start reaches a registry, and it
looks only at what the kernel spec and the environment file of the kernel's user name: a notebook,
which may come from anywhere, never has an image fetched.

The fetch is a process of its own (`python -m lpmx_kernels.start.fetch STORE POLICY NAME...`):
unpacking layers in a thread would keep a server from its other kernels. Its lines on standard error
are the progress, the JSON on its standard output is the reason of a failure.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING

from lpmx_kernels.spec.interpreter import module_argv
from lpmx_kernels.start import notebook, source
from lpmx_runtime.compose.mapwords import parse_map
from lpmx_runtime.config.values import pull_policy
from lpmx_runtime.container import record as containers
from lpmx_runtime.errors import ImageNotFoundError, LpmxError
from lpmx_runtime.fetch.obtain import finder, may_be_fetched
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lpmx_kernels.spec.settings import KernelSettings
    from lpmx_runtime.store.image import Image

_PREFIX = "lpmx: "


def wanted(settings: KernelSettings, environ: Mapping[str, str], container: str = "") -> list[str]:
    """The images to fetch before a start; `container` is that of the kernel's last one.

    None where the policy is `never`, for a container that is there already, and where a notebook
    has chosen an image.
    """
    policy = pull_policy(settings.pull)
    store = Store.open(settings.store or None)
    if policy == "never" or _is_made(store, settings, container):
        return []
    names: list[str] = []

    def collect(name: str) -> Image:
        with contextlib.suppress(ImageNotFoundError):
            image = store.resolve(name)
            if policy == "missing" or not image.called:
                return image
        if name not in names and may_be_fetched(name):
            names.append(name)
        return store.resolve(name)

    with contextlib.suppress(LpmxError):  # planning reports what is wrong
        source.find_image(store, settings.image, environ, collect)
    for word in settings.map:
        with contextlib.suppress(LpmxError):
            parse_map([word], collect)
    if names and notebook.chosen_image(environ) not in ("", settings.image):
        return []
    return names


def _is_made(store: Store, settings: KernelSettings, container: str) -> bool:
    """Is the container of the start there, so that no image is looked up?"""
    for name in filter(None, (container, settings.persist)):
        with contextlib.suppress(LpmxError):
            containers.find(store, name)
            return True
    return False


async def bring_in(
    settings: KernelSettings, names: Sequence[str], report: Callable[[str], None]
) -> None:
    """Fetch images; `report` gets lines on how far it is. Raises LpmxError with the reason."""
    if not names:
        return
    import asyncio  # here: the launcher in argv has no loop

    root = str(Store.open(settings.store or None).root)
    process = await asyncio.create_subprocess_exec(
        *module_argv("lpmx_kernels.start.fetch"), root, pull_policy(settings.pull), *names,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    assert process.stderr
    try:
        async for line in process.stderr:
            report(line.decode(errors="replace").rstrip().removeprefix(_PREFIX))
        answer = await process.stdout.read()
        status = await process.wait()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    if status:
        raise _reason(answer, names, status)


def _reason(answer: bytes, names: Sequence[str], status: int) -> LpmxError:
    try:
        reason = json.loads(answer)
        return LpmxError(str(reason["message"]), hint=reason["hint"])
    except (ValueError, KeyError, TypeError):
        return LpmxError(f"{', '.join(names)}: the fetch ended with status {status}")


def fetch_here(settings: KernelSettings, environ: Mapping[str, str]) -> None:
    """Fetch in this very process, with the progress on standard error."""
    find = finder(Store.open(settings.store or None), settings.pull)
    for name in wanted(settings, environ):
        find(name)


def main(words: Sequence[str]) -> int:
    """Fetch what the server asks for."""
    root, policy, *names = words
    find = finder(Store.open(root), policy)
    try:
        for name in names:
            find(name)
    except LpmxError as error:
        print(json.dumps({"message": error.message, "hint": error.hint}))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
