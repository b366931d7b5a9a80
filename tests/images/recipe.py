"""What an image is made of: frozen recipes and the keys of their results. Building them is
builder.py.

A key is the digest of everything that decides a layer: its script, its source files, and its
parent's key. Debian's package versions are not part of it: a cached image stays until its recipe
changes or the cache is removed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).resolve().parent
FORMAT = 1  # raise it when builder.py, layertar.py or archive.py changes what comes out


@dataclass(frozen=True)
class Layer:
    """One layer. @kind says where its script runs.

    `debootstrap` on the host, on the fresh tree of a Debian base; `chroot` inside the merged
    parents; `scratch` on the host, with $TREE an empty directory to be filled.
    """

    name: str
    script: str
    kind: str = "chroot"
    parent: Layer | None = None
    sources: tuple[str, ...] = ()  # files of tests/images/programs, found by the script in $SOURCES
    suite: str = ""  # of a base: another Debian than this machine's

    @property
    def base(self) -> Layer:
        """The lowest layer below this one, or itself."""
        return self.parent.base if self.parent else self

    @property
    def key(self) -> str:
        parts: dict[str, Any] = {
            "format": FORMAT,
            "name": self.name,
            "kind": self.kind,
            "script": self.script,
            "parent": self.parent.key if self.parent else None,
            "sources": {
                name: hashlib.sha256((HERE / "programs" / name).read_bytes()).hexdigest()
                for name in self.sources
            },
        }
        if self.suite:
            parts["suite"] = self.suite
        return _digest(parts)

    def chain(self) -> list[Layer]:
        """This layer and all below it, lowest first."""
        return [*(self.parent.chain() if self.parent else []), self]

    def then(self, name: str, script: str, *, sources: tuple[str, ...] = ()) -> Layer:
        """A layer above this one, made by running @script inside."""
        return Layer(name, script, parent=self, sources=sources)


@dataclass(frozen=True)
class Recipe:
    """A whole image: its top layer, its configuration and the style of its archive."""

    name: str
    top: Layer
    style: str = "v1"
    config: Mapping[str, Any] = field(default_factory=dict)
    on_demand: bool = False  # not for the full tier: built only where it is named

    @property
    def reference(self) -> str:
        """The name it carries in the archive and, once loaded, in a store."""
        return f"lpmx-test/{self.name}:latest"

    @property
    def key(self) -> str:
        return _digest(
            {
                "layers": self.top.key,
                "style": self.style,
                "config": dict(self.config),
                "n": self.name,
            }
        )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
