"""What must hold of a store at any moment, whoever was killed in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from lpmx_runtime import gc
from lpmx_runtime.store.store import Store
from lpmx_runtime.union.view import WHITEOUT, View

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["check_collected", "check_store"]


def check_store(root: Path) -> Store:
    """Fail unless all that @root refers to is there and whole."""
    store = Store.open(root)
    images = store.images()
    known = {image.id for image in images}
    for name, image_id in store.refs().items():
        assert image_id in known, f"{name} names an image that is not there"
    for diff_id in store.layers():
        check_layer(store, diff_id)
    for image in images:
        missing = set(image.stack) - set(store.layers())
        assert not missing, f"{image.name} lacks {missing}"
        with View(store.view_path(image.chain_id)) as view:
            assert [layer for layer, _ in view.layers] == list(image.stack)
            assert sum(1 for _ in view.walk()) == len(view)
    return store


def check_layer(store: Store, diff_id: str) -> None:
    """A layer that has a name in the store is whole: its view and its tree say the same."""
    assert store.layer_info(diff_id)["diff_id"] == diff_id
    top = os.fsencode(store.layer_fs(diff_id))
    with View(store.layer_view(diff_id)) as view:
        for path, node in view.walk():
            if node.flags & WHITEOUT:
                continue
            status = os.lstat(top + b"/" + path)
            assert (status.st_mode, status.st_ino) == (node.mode, node.ino), path
            if node.name and not node.mode & 0o040000:
                assert status.st_size == node.size, path


def check_collected(root: Path) -> None:
    """After `lpmx gc` nothing is left that nobody needs."""
    store = check_store(root)
    gc.collect(store)
    check_store(root)
    assert os.listdir(store.tmp_dir) == []
    needed = {diff_id for image in store.images() for diff_id in image.stack}
    assert set(store.layers()) == needed
