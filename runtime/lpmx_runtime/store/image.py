"""An image of the store: its names, layers and configuration. Plain data, read by store.py."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from lpmx_runtime.errors import ArchiveError
from lpmx_runtime.text import parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Image", "LazyNames", "chain_id", "parse_config", "is_hex_digest"]

SHORT = 12  # hex digits shown for an id
_ENGINE = ("LPMX_EXEC", "LPMX_CALLER_", "LPMX_HOST:")  # what the engine tells itself


def is_hex_digest(text: object) -> bool:
    """Is @text the 64 lower-case hex digits of a sha256?"""
    return isinstance(text, str) and len(text) == 64 and not text.strip("0123456789abcdef")


def chain_id(diff_ids: Sequence[str]) -> str:
    """The OCI chain id of a stack of layers, bottom first, all in hex."""
    import hashlib  # here: a start reads images, and makes no ids

    chain = ""
    for diff_id in diff_ids:
        pair = f"sha256:{chain} sha256:{diff_id}"
        chain = hashlib.sha256(pair.encode()).hexdigest() if chain else diff_id
    return chain


class LazyNames(Sequence[str]):
    """The names of an image, looked for among all names when somebody wants to know them."""

    def __init__(self, find: Callable[[], Sequence[str]]) -> None:
        self._find = find
        self._found: tuple[str, ...] | None = None

    def _names(self) -> tuple[str, ...]:
        if self._found is None:
            self._found = tuple(self._find())
        return self._found

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self._names()[index]

    def __len__(self) -> int:
        return len(self._names())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._names() == tuple(other)

    def __hash__(self) -> int:
        return hash(self._names())

    def __repr__(self) -> str:
        return repr(self._names())


@dataclass(frozen=True)
class Image:
    """One image: @id is the sha256 of its config, @diff_ids its layers, bottom first, in hex.

    @stacked is what its view is made of where that is more than the layers.
    """

    id: str
    names: Sequence[str]  # sorted
    diff_ids: tuple[str, ...]
    chain_id: str
    config: Mapping[str, Any] = field(repr=False)
    size: int
    created: str = ""  # when it was loaded here, ISO 8601
    stacked: tuple[str, ...] = ()
    called: str = field(default="", compare=False)  # the name by which it was asked for

    @property
    def name(self) -> str:
        """What to call it: as the user did, else its first name, else its short id."""
        return self.called or (self.names[0] if self.names else self.short_id)

    @property
    def stack(self) -> tuple[str, ...]:
        """What lies in its view, bottom first: layers, and link layers (lowerlinks.py) between."""
        return self.stacked or self.diff_ids

    @property
    def short_id(self) -> str:
        """The id as lists show it."""
        return self.id[:SHORT]

    @property
    def _run(self) -> Mapping[str, Any]:
        run = self.config.get("config")
        return run if isinstance(run, dict) else {}

    @property
    def env(self) -> dict[str, str]:
        """The environment that the image asks for."""
        pairs = (line.partition("=") for line in _strings(self._run.get("Env")))
        return {key: value for key, _, value in pairs if key and not key.startswith(_ENGINE)}

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """ENTRYPOINT, empty when there is none."""
        return _strings(self._run.get("Entrypoint"))

    @property
    def cmd(self) -> tuple[str, ...]:
        """CMD, empty when there is none."""
        return _strings(self._run.get("Cmd"))

    @property
    def workdir(self) -> str:
        """WORKDIR, `/` when there is none. A relative one begins there, as docker reads it."""
        value = self._run.get("WorkingDir")
        text = value if isinstance(value, str) else ""
        return text if text.startswith("/") else posixpath.normpath(posixpath.join("/", text))

    @property
    def user(self) -> str:
        """USER as written in the image, empty when there is none."""
        value = self._run.get("User")
        return value if isinstance(value, str) else ""

    @property
    def labels(self) -> dict[str, str]:
        """LABEL."""
        value = self._run.get("Labels")
        return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def _strings(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        return ()
    return tuple(item for item in value if isinstance(item, str) and "\0" not in item)


def parse_config(raw: bytes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The config and its diff ids (hex), checked as far as we rely on it."""
    try:
        config = parse_json(raw)
    except ValueError as error:
        raise ArchiveError("the image configuration is not JSON") from error
    rootfs = config.get("rootfs") if isinstance(config, dict) else None
    listed = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if listed == []:
        raise ArchiveError("an image without layers: there are no files in it")
    if not isinstance(listed, list):
        raise ArchiveError("the image configuration names no layers (rootfs.diff_ids)")
    diff_ids = []
    for item in listed:
        algorithm, _, digest = item.partition(":") if isinstance(item, str) else ("", "", "")
        if algorithm != "sha256" or not is_hex_digest(digest):
            raise ArchiveError(f"the image configuration has a bad diff id {str(item)[:80]!r}")
        diff_ids.append(digest)
    return config, tuple(diff_ids)
