"""`lpmx load`: images out of an archive into the store.

Decided first (manifest.py), then done layer by layer: extract beside, check the digests, move into
place by one rename. A layer that the store has is not read again. Names are given last, so an image
that has a name is whole. Two loads of one image wait for each other layer by layer; a killed one
leaves nothing but a folder in tmp/ for gc.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lpmx_runtime.errors import ArchiveError, UsageError, storage_errors
from lpmx_runtime.reference import check_name
from lpmx_runtime.store.image import Image, chain_id
from lpmx_runtime.store.store import fsync_folder, remove_tree
from lpmx_runtime.tar.blocks import Digest, decompress, file_blocks, kind_of, prefetch
from lpmx_runtime.tar.split import SplitWriter
from lpmx_runtime.union.view import View, compress_view, merge_views

from .archive import Archive, open_archive
from .extract import extract_layer
from .lowerlinks import make_link_layers, write_note
from .manifest import ImageSpec, LayerSpec, read_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from lpmx_runtime.store.store import Store

__all__ = ["Loaded", "Progress", "load", "load_archive"]

_RETRY_HINT = "the archive is damaged: get another copy of it"


class Progress(Protocol):
    """Who wants to know how far it is."""

    def begin(self, what: str, total: int) -> None:
        """Something of @total bytes begins (0: nobody knows)."""

    def advance(self, size: int) -> None:
        """@size more bytes are done."""

    def end(self) -> None:
        """It is over."""


class _Silent:
    def begin(self, what: str, total: int) -> None:
        pass

    def advance(self, size: int) -> None:
        pass

    def end(self) -> None:
        pass


@dataclass(frozen=True)
class Loaded:
    """One image that is now in the store, and how many of its layers were not there before."""

    image: Image
    new_layers: int


def load(
    store: Store,
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
) -> list[Loaded]:
    """Load all images of folder or file @path (`-`: stdin); a single one perhaps as @name.

    @report gets a line for each thing that the user should know: what is passed over or assumed,
    names that move from other images. Raises ArchiveError for an archive that is damaged, hostile
    or of another kind, UsageError for a bad @name, StorageError for a disk that fails.
    """
    source = os.fspath(path)
    wanted = check_name(name) if name is not None else None
    steps = progress or _Silent()
    say = report or _ignore
    with store.adding(), store.workspace() as workspace:
        steps.begin("reading", 0)
        with open_archive(source, workspace, steps.advance) as archive:
            return load_archive(
                store,
                archive,
                workspace,
                name=wanted,
                stem=_stem(source),
                progress=steps,
                report=say,
            )


def load_archive(
    store: Store,
    archive: Archive,
    workspace: Path,
    *,
    name: str | None = None,
    stem: str = "",
    progress: Progress | None = None,
    report: Callable[[str], None] | None = None,
) -> list[Loaded]:
    """As `load`, of an archive that is open. Within store.adding(); @workspace is of the store.

    @name is canonical, @stem names an image that has a tag only.
    """
    steps, say = progress or _Silent(), report or _ignore
    specs = read_images(archive, stem=stem, report=say)
    if name is not None and len(specs) > 1:
        listed = ", ".join(spec.names[0] if spec.names else spec.id[:12] for spec in specs)
        raise UsageError(f"{archive.label}: {len(specs)} images in it ({listed}), one name given")
    loaded = []
    for spec in specs:
        new = _load_image(store, archive, spec, workspace, steps)
        _give_names(store, spec, [name] if name else spec.names, say)
        loaded.append(Loaded(store.image(spec.id), new))
    return loaded


def _ignore(line: str) -> None:
    pass


def _give_names(
    store: Store, spec: ImageSpec, names: Sequence[str], report: Callable[[str], None]
) -> None:
    """Let @names stand for an image that is there; an archive does not move one without a word."""
    for name in names:
        try:
            check_name(name)
        except UsageError as error:
            report(f"image {spec.id[:12]}: {error.message}, left out")
            continue
        old = store.named(name)
        store.tag(name, spec.id)
        if old not in {None, spec.id}:
            report(f"{name}: moved from image {old[:12]} to {spec.id[:12]}")


def _stem(source: str) -> str:
    """A name for an image out of the file's own, where the archive has a tag only."""
    base = os.path.basename(os.path.normpath(source)) if source != "-" else ""
    for suffix in (".gz", ".zst", ".xz", ".bz2", ".tgz", ".tar", ".oci"):
        base = base.removesuffix(suffix)
    return base.lower()


def _load_image(
    store: Store,
    archive: Archive,
    spec: ImageSpec,
    workspace: Path,
    progress: Progress,
) -> int:
    """Bring an image in, nameless yet; how many of its layers were not there before."""
    label = spec.names[0] if spec.names else spec.id[:12]
    new = 0
    for layer in spec.layers:
        try:
            new += import_layer(store, archive, layer, workspace, progress)
        except ArchiveError as error:
            message = error.message.removeprefix(f"{archive.label}: ")
            raise ArchiveError(
                f"layer {layer.diff_id[:12]} of {label}: {message}", hint=error.hint or _RETRY_HINT
            ) from error
        finally:
            progress.end()
    with storage_errors(f"image {label}"):
        make_view(store, [layer.diff_id for layer in spec.layers], workspace)
        if new:
            sync_store(store)
        store.add_image(spec.config, spec.id, [layer.diff_id for layer in spec.layers])
    return new


def import_layer(
    store: Store, archive: Archive, layer: LayerSpec, workspace: Path, progress: Progress
) -> bool:
    """Bring one layer in. False when the store has it already."""
    if store.has_layer(layer.diff_id):
        return False
    with store.lock(f"layer-{layer.diff_id}"):
        if store.has_layer(layer.diff_id):
            return False
        blob = archive.blob(layer.blob)
        folder = workspace / layer.diff_id
        try:
            progress.begin(f"layer {layer.diff_id[:12]}", blob.size)
            kind = kind_of(os.pread(blob.fd, min(8, blob.size), blob.offset))
            raw = file_blocks(blob.fd, blob.offset, blob.size, progress.advance)
            with storage_errors(f"layer {layer.diff_id[:12]}"):
                _extract(raw, kind, layer, folder)
                _publish(store, folder, layer.diff_id)
        except BaseException:
            if folder.exists():
                remove_tree(folder)
            raise
        finally:
            blob.close()
    return True


def _extract(raw: Iterator[bytes], kind: str, layer: LayerSpec, folder: Path) -> None:
    """Fill @folder with the layer, its view and its record, all digests checked."""
    os.makedirs(folder / "fs", mode=0o700)
    outer = Digest() if layer.digest is not None and kind else None
    inner = Digest()
    split = SplitWriter(folder)
    try:
        with prefetch(decompress(_tee(raw, outer.update if outer else None))) as blocks:
            extraction = extract_layer(blocks, folder / "fs", inner.update, split)
        with extraction:
            diff_id = inner.hexdigest()
            digest = outer.hexdigest() if outer else diff_id
            if layer.digest is not None and digest != layer.digest:
                raise ArchiveError("checksum differs from the manifest's")
            if diff_id != layer.diff_id:
                raise ArchiveError("checksum differs from the image configuration's")
            extraction.write_view(folder / "layer.view", diff_id)
            write_note(folder, extraction.lower_links())
            record = {
                "version": 1,
                "diff_id": diff_id,
                "size": extraction.size,
                "entries": extraction.entries,
            }
            (folder / "layer.json").write_bytes(json.dumps(record, indent=1).encode())
        split.finish()
    finally:
        split.close()
        inner.close()
        if outer is not None:
            outer.close()


def _tee(blocks: Iterator[bytes], see: Callable[[bytes], None] | None) -> Iterator[bytes]:
    if see is None:
        return blocks
    return _seen(blocks, see)


def _seen(blocks: Iterator[bytes], see: Callable[[bytes], None]) -> Iterator[bytes]:
    for block in blocks:
        see(block)
        yield block


def _publish(store: Store, folder: Path, diff_id: str) -> None:
    """Move a finished layer into place; another node's that came first is as good."""
    try:
        os.rename(folder, store.layer_dir(diff_id))
    except OSError as error:
        if error.errno not in {errno.EEXIST, errno.ENOTEMPTY} or not store.has_layer(diff_id):
            raise
        remove_tree(folder)
    fsync_folder(store.layers_dir)


def make_view(store: Store, diff_ids: Sequence[str], workspace: Path) -> Path:
    """The merged view of a chain of layers that the store holds; made when it is not there."""
    chain = chain_id(diff_ids)
    path = store.view_path(chain)
    if path.exists():
        return path
    temporary = workspace / f"{chain}.view"
    if make_link_layers(
        store, diff_ids, workspace, lambda folder, link_id: _publish(store, folder, link_id)
    ):
        sync_store(store)
    layers = [store.layer_view(one) for one in store.stack(diff_ids)]
    if not _share_view(layers, temporary):
        merge_views(layers, temporary, chain)
    os.rename(temporary, path)
    fsync_folder(store.views_dir)
    for layer in layers if len(layers) > 1 else ():
        compress_view(layer, workspace / f"{chain}.compressed")
    return path


def _share_view(layers: Sequence[Path], target: Path) -> bool:
    """Let an image of one layer have the layer's own view, where that says the same."""
    if len(layers) > 1:
        return False
    with View(layers[0]) as view:
        if view.is_compressed or not view.is_image:
            return False
    try:
        os.link(layers[0], target)
    except OSError:
        return False  # no hard links here, or too many
    return True


def sync_store(store: Store) -> None:
    """Have the layers' files on disk before anything refers to them, by one call for all."""
    fd = os.open(store.root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ctypes.CDLL(None, use_errno=True).syncfs(fd)
    finally:
        os.close(fd)
