"""`lpmx galaxy prefetch`: the images that tools will ask for, brought in before the first job does.

Read from tool lists and tools without Galaxy: macros are imported and tokens replaced as far as
requirements need it. The names of images of packages are BioContainers' (quay.io/biocontainers):
NAME:VERSION--BUILD for one package, a hash of all for several; which builds there are, the store,
the directories of archives and the registry tell.
"""

from __future__ import annotations

import hashlib
import os
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lpmx_runtime.errors import LpmxError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lpmx_runtime.store.image import Image

__all__ = ["Need", "fetch", "mulled_name", "requirements", "wanted"]

NAMESPACE = "quay.io/biocontainers"
_IMPORTS_MAX = 20  # macro files that import macro files


@dataclass(frozen=True)
class Need:
    """An image that tools want; without a tag any build of the name will do."""

    name: str
    tools: tuple[str, ...]
    any_build: bool = False


def mulled_name(packages: Sequence[tuple[str, str]]) -> str:
    """How BioContainers calls the image of @packages (name, version), without its build.

    The rule is version 2 of Galaxy's galaxy.tool_util.deps.mulled.util: sha1 over the sorted
    names, and over the versions in that order.
    """
    if len(packages) == 1:
        name, version = packages[0]
        return f"{name}:{version}" if version else name
    ordered = sorted(packages)
    names = hashlib.sha1("\n".join(name for name, _ in ordered).encode(), usedforsecurity=False)
    result = f"mulled-v2-{names.hexdigest()}"
    if any(version for _, version in ordered):
        text = "\n".join(version or "null" for _, version in ordered)
        result += f":{hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()}"
    return result


def wanted(paths: Iterable[str], *, tool_path: str = "") -> list[Need]:
    """The images of all tools named in @paths, each once."""
    found: dict[tuple[str, bool], list[str]] = {}
    for path in paths:
        for tool in _tools(path, tool_path):
            for name, any_build in _images(tool):
                tools = found.setdefault((name, any_build), [])
                base = os.path.basename(tool)
                if base not in tools:
                    tools.append(base)
    return [Need(name, tuple(tools), any_build) for (name, any_build), tools in found.items()]


def _parse(path: str) -> ET.Element:
    try:
        return ET.parse(path).getroot()  # noqa: S314  the site's own files
    except OSError as error:
        raise NotFoundError(f"{path}: {os.strerror(error.errno or 0)}") from error
    except ET.ParseError as error:
        raise UsageError(f"{path}: not XML: {error}") from error


def _tools(path: str, tool_path: str) -> Iterator[str]:
    """The tool files that @path is or lists."""
    root = _parse(path)
    if root.tag == "tool":
        yield path
        return
    if root.tag != "toolbox":
        raise UsageError(f"{path}: neither a tool nor a tool list, but <{root.tag}>")
    base = tool_path or root.get("tool_path") or os.path.dirname(os.path.abspath(path))
    for tool in root.iter("tool"):
        file = tool.get("file")
        if file and "${" not in file:
            yield os.path.join(base, file)


def _images(tool: str) -> Iterator[tuple[str, bool]]:
    """Name, and whether any build will do, of each image that @tool may use."""
    containers, packages = requirements(tool)
    for name in containers:
        yield name, False
    if not containers and packages:
        yield f"{NAMESPACE}/{mulled_name(packages)}", True


def requirements(tool: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The docker images, and the packages with versions, that @tool requires."""
    root = _parse(tool)
    macros = list(_macros(root, os.path.dirname(tool), set()))
    tokens = {
        token.get("name", ""): (token.text or "").strip()
        for macro in macros
        for token in macro.iter("token")
    }
    named = {xml.get("name", ""): xml for macro in macros for xml in macro.iter("xml")}
    containers, packages = [], []
    for element in _expanded(root, named, 0):
        text = _replace((element.text or "").strip(), tokens)
        if element.tag == "container" and element.get("type", "docker") == "docker":
            containers.append(_lower_last(text))
        elif element.tag == "requirement" and element.get("type", "package") == "package":
            packages.append((text.lower(), _replace(element.get("version", ""), tokens)))
    return list(dict.fromkeys(containers)), list(dict.fromkeys(packages))


def _macros(root: ET.Element, folder: str, seen: set[str]) -> Iterator[ET.Element]:
    """The <macros> of a tool and of the files they import."""
    for macros in root.iter("macros"):
        yield macros
        for imported in macros.iter("import"):
            path = os.path.join(folder, (imported.text or "").strip())
            if path not in seen and len(seen) < _IMPORTS_MAX and os.path.exists(path):
                seen.add(path)
                other = _parse(path)
                yield other
                yield from _macros(other, os.path.dirname(path), seen)


def _expanded(root: ET.Element, named: dict[str, ET.Element], depth: int) -> Iterator[ET.Element]:
    """Elements of @root outside of macros, <expand macro="..."> replaced by what it names."""
    for element in root:
        if element.tag == "macros" or depth > _IMPORTS_MAX:
            continue
        yield element
        macro = named.get(element.get("macro", "")) if element.tag == "expand" else None
        if macro is not None:
            yield from _expanded(macro, named, depth + 1)
        yield from _expanded(element, named, depth + 1)


def _replace(text: str, tokens: dict[str, str]) -> str:
    for _ in range(_IMPORTS_MAX):
        new = re.sub(r"@[A-Za-z0-9_]+@", lambda match: tokens.get(match[0], match[0]), text)
        if new == text:
            break
        text = new
    return text


def _lower_last(name: str) -> str:
    """Galaxy writes the last component in lower case: galaxy.tool_util.deps.requirements."""
    head, slash, last = name.rpartition("/")
    base, colon, tag = last.partition(":")
    return f"{head}{slash}{base.lower()}{colon}{tag}"


def fetch(needs: Iterable[Need], *, cache: str = "") -> Iterator[tuple[Need, str]]:
    """Bring each in; what is wrong with it, "" when it is here. @cache gets files for them."""
    from lpmx_galaxy import builds
    from lpmx_runtime.fetch.obtain import finder
    from lpmx_runtime.store.store import Store

    store = Store.open()
    find = finder(store, "missing")
    for need in needs:
        try:
            name = builds.best_build(store, need.name) if need.any_build else need.name
            image = find(name)
            if cache:
                _stand_in(cache, name, image)
        except LpmxError as error:
            yield need, f"{error.message} ({error.hint})" if error.hint else error.message
        else:
            yield need, ""


def _stand_in(cache: str, name: str, image: Image) -> None:
    """Write the file that Galaxy's cached_mulled_singularity resolver looks for."""
    from lpmx_galaxy.singularity.reference import Reference, write_reference

    os.makedirs(cache, exist_ok=True)
    base = name.removeprefix(f"{NAMESPACE}/").replace("/", "_slash_")
    write_reference(os.path.join(cache, base), Reference(image.id, name), force=True)
