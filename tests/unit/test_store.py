"""The store: names, locks, atomic writes, and what is garbage."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from support import mkimage as mk

from lpmx_runtime import errors, gc
from lpmx_runtime.container import record as containers
from lpmx_runtime.errors import ImageNotFoundError, InUseError, StorageError
from lpmx_runtime.images.load import load
from lpmx_runtime.store.store import (
    FileLock,
    Store,
    atomic_write,
    bad_container,
    default_root,
    remove_tree,
)

SHARED = mk.layer(mk.file("shared", b"s"))
ONE = mk.Spec("one:1", [SHARED, mk.layer(mk.file("one"))])
TWO = mk.Spec("two:1", [SHARED, mk.layer(mk.file("two"))])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with images one:1 and two:1, which share a layer."""
    store = Store.open(tmp_path / "store")
    load(store, mk.docker_archive(tmp_path / "a.tar", [ONE, TWO]))
    return store


def test_the_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.delenv("LPMX_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert str(default_root()) == "/h/.local/share/lpmx"
    monkeypatch.setenv("XDG_DATA_HOME", "/d")
    assert str(default_root()) == "/d/lpmx"
    monkeypatch.setenv("LPMX_HOME", "~/s")
    assert str(default_root()) == "/h/s"


def test_a_store_is_closed_to_others(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "new")
    modes = {path.stat().st_mode & 0o777 for path in (store.root, *store.root.iterdir())}
    assert modes == {0o700, 0o600}


def test_a_store_of_another_version_is_refused(store: Store) -> None:
    (store.root / "version").write_text("99\n")
    with pytest.raises(StorageError, match="version 99"):
        Store.open(store.root)


@pytest.mark.parametrize("name", ["one:1", "docker.io/library/one:1", "library/one:1"])
def test_an_image_is_found_by_any_spelling_of_its_name(store: Store, name: str) -> None:
    assert store.resolve(name).id == ONE.id


def test_an_image_is_found_by_its_id_and_what_it_starts_with(store: Store) -> None:
    for name in (ONE.id, f"sha256:{ONE.id}", ONE.id[:12]):
        assert store.resolve(name).id == ONE.id


def test_a_name_that_looks_like_an_id_is_a_name_first(store: Store) -> None:
    store.tag(TWO.id[:8], ONE.id)
    assert store.resolve(TWO.id[:8]).id == ONE.id


@pytest.mark.parametrize("name", ["three:1", "one", "NOT A NAME", "abc", "f" * 64, "../one", ""])
def test_an_unknown_image_is_said_with_a_hint(store: Store, name: str) -> None:
    with pytest.raises(ImageNotFoundError) as caught:
        store.resolve(name)
    assert caught.value.hint


def test_names_with_slashes_and_ports_are_kept(store: Store) -> None:
    store.tag("localhost:5000/lab/x:1", ONE.id)
    assert store.resolve("localhost:5000/lab/x:1").names == ("localhost:5000/lab/x:1", "one:1")
    assert store.untag("localhost:5000/lab/x:1")
    assert not store.untag("localhost:5000/lab/x:1")


def test_a_name_moves_to_the_image_it_is_given_last(store: Store) -> None:
    store.tag("one:1", TWO.id)
    assert store.resolve("one:1").id == TWO.id
    assert store.resolve(ONE.id).names == ()


def test_an_interrupted_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "f"
    atomic_write(target, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        atomic_write(target, b"new")
    assert (target.read_bytes(), os.listdir(tmp_path)) == (b"old", ["f"])


def test_a_lock_keeps_other_threads_and_other_descriptors_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock(path):
        assert not FileLock(path).try_acquire()
        assert not FileLock(path, shared=True).try_acquire()
        with pytest.raises(InUseError):
            FileLock(path).acquire(timeout=0.01)
    with FileLock(path, shared=True):
        other = FileLock(path, shared=True)
        assert other.try_acquire()
        other.release()
        assert not FileLock(path).try_acquire()
    assert FileLock(path).try_acquire()


def test_a_tree_without_permissions_can_be_removed(tmp_path: Path) -> None:
    (tmp_path / "t" / "a" / "b").mkdir(parents=True)
    (tmp_path / "t" / "a" / "b" / "f").touch()
    (tmp_path / "t" / "a" / "b").chmod(0)
    (tmp_path / "t" / "a").chmod(0o500)
    remove_tree(tmp_path / "t")
    assert os.listdir(tmp_path) == []


def test_removing_a_symlink_leaves_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "f").touch()
    (tmp_path / "link").symlink_to("kept")
    remove_tree(tmp_path / "link")
    assert sorted(os.listdir(tmp_path)) == ["kept"]
    assert os.listdir(tmp_path / "kept") == ["f"]


# ---------------------------------------------------------------- garbage
def test_removing_an_image_frees_only_what_no_other_needs(store: Store) -> None:
    assert gc.remove_image(store, "one:1").removed
    found = gc.collect(store)
    assert found.layers == (ONE.diff_ids[1],)
    assert sorted(store.layers()) == sorted(TWO.diff_ids)
    assert [image.id for image in store.images()] == [TWO.id]
    assert os.listdir(store.views_dir) == [f"{store.resolve('two:1').chain_id}.view"]


def test_nothing_in_use_is_ever_collected(store: Store) -> None:
    found = gc.collect(store)
    assert (found.layers, found.views, found.leftovers, found.bytes) == ((), (), (), 0)


def test_one_of_two_names_only_untags(store: Store) -> None:
    store.tag("again:1", ONE.id)
    result = gc.remove_image(store, "again:1")
    assert (result.removed, result.lines) == (False, ["untagged again:1"])
    assert store.resolve("one:1").names == ("one:1",)


def test_an_image_of_several_names_needs_force_by_id(store: Store) -> None:
    store.tag("again:1", ONE.id)
    with pytest.raises(InUseError, match="several names"):
        gc.remove_image(store, ONE.id)
    assert gc.remove_image(store, ONE.id, force=True).removed
    assert set(store.refs()) == {"two:1"}


def test_an_image_that_a_container_uses_is_kept(store: Store) -> None:
    folder = store.containers_dir / "c1"
    folder.mkdir()
    (folder / "container.json").write_text(json.dumps({"image": ONE.id}))
    with pytest.raises(InUseError, match="c1"):
        gc.remove_image(store, "one:1")
    assert store.resolve("one:1").id == ONE.id


def test_a_dry_run_removes_nothing(store: Store) -> None:
    gc.remove_image(store, "one:1")
    would = gc.collect(store, dry_run=True)
    assert gc.collect(store) == would
    assert would.bytes > 0


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(store: Store) -> None:
    (store.tmp_dir / "dead" / "layer").mkdir(parents=True)
    (store.images_dir / ("0" * 64)).mkdir()
    (store.refs_dir / ".half.tmp").touch()
    with store.workspace() as alive:
        found = gc.collect(store)
        assert alive.is_dir()
    assert set(found.leftovers) == {"dead", "0" * 64, ".half.tmp"}
    assert os.listdir(store.tmp_dir) == []


def test_gc_waits_for_an_import_to_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "WAIT", 0.01)
    with store.adding(), pytest.raises(InUseError, match="another lpmx command"):
        gc.collect(store)
    monkeypatch.setattr(gc, "WAIT", 30)
    importing = store.adding()
    importing.__enter__()
    timer = threading.Timer(0.05, importing.__exit__, (None, None, None))
    timer.start()
    gc.collect(store)
    timer.join()


# ---- other users' stores, and records that cannot be read


def test_a_store_of_another_user_is_refused_with_what_to_do(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        other = tmp_path / "other"
        other.mkdir()
        os.chown(other, 12345, 12345)
        owner, advice = "user 12345", "run lpmx as user 12345"
    else:
        other, owner, advice = Path("/usr"), "root", "a folder of your own"
    with pytest.raises(StorageError, match=f"{other}: belongs to {owner}") as caught:
        Store.open(other)
    assert advice in str(caught.value.hint)
    assert not (other / "version").exists()


def test_a_file_system_that_shows_one_owner_for_all_files_is_no_other_users(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)  # what it makes is not shown as its own
    assert Store.open(store.root).resolve("one:1").id == ONE.id
    assert not [name for name in os.listdir(store.root) if name.startswith(".")]


DAMAGE = {
    "not JSON": lambda path: path.write_text("{"),
    "of another kind": lambda path: path.write_text("[]"),
    "incomplete": lambda path: path.write_text("{}"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_image_with_a_bad_record_is_passed_over_and_named(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    record = store.images_dir / ONE.id / "image.json"
    DAMAGE[damage](record)
    errors._passed_over.clear()
    assert [image.id for image in store.images()] == [TWO.id]
    assert f"passed over: image {ONE.id[:12]}: image.json" in capsys.readouterr().err
    with pytest.raises(StorageError, match=f"image {ONE.id[:12]}: image.json"):
        store.resolve("one:1")
    assert store.resolve("two:1").id == TWO.id
    before = store.layers()
    gc.collect(store)  # its configuration says what it needs
    assert store.layers() == before
    if damage != "a folder":
        load(store, mk.docker_archive(tmp_path / "again.tar", [ONE]))
        assert store.resolve("one:1").id == ONE.id


def test_nothing_is_collected_while_an_image_cannot_say_what_it_needs(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("image.json", "config.json"):
        (store.images_dir / ONE.id / name).write_text("{")
    errors._passed_over.clear()
    before = store.layers()
    gc.remove_image(store, "two:1")
    gc.collect(store)
    assert store.layers() == before
    assert f"all layers: image {ONE.id[:12]} is damaged" in capsys.readouterr().err
    assert gc.remove_image(store, ONE.id[:12]).removed
    gc.collect(store)
    assert store.layers() == []


def test_a_bad_name_is_passed_over(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    (store.refs_dir / "one%3A1").write_bytes(b"\xff")
    errors._passed_over.clear()
    assert set(store.refs()) == {"two:1"}
    assert "passed over: name one:1: damaged" in capsys.readouterr().err
    assert {image.id for image in store.images()} == {ONE.id, TWO.id}


def test_a_container_whose_record_is_kept_from_us_may_need_any_image(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.containers_dir / "cafe00000000"
    folder.mkdir()
    (folder / "container.json").write_text("{}")
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "container.json":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InUseError, match="in use by container cafe00000000"):
        gc.remove_image(store, "one:1")
    assert store.resolve("one:1").id == ONE.id


def test_another_users_container_is_not_said_to_be_for_removal(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = PermissionError(errno.EACCES, "Permission denied")
    folder = store.containers_dir
    assert "rm -r" in str(bad_container(folder, denied).hint)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "may be running" in str(bad_container(folder, denied).hint)


def test_a_container_with_a_bad_record_holds_nothing_up(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store.containers_dir / "cafe00000000"
    folder.mkdir()
    (folder / "container.json").write_text("{")
    errors._passed_over.clear()
    assert containers.list_containers(store) == []
    assert "passed over: container cafe00000000" in capsys.readouterr().err
    gc.collect(store)
    assert folder.exists()
    assert gc.remove_image(store, "one:1").removed
    with pytest.raises(StorageError, match="container cafe00000000: its record cannot be read"):
        containers.find(store, "cafe0")


def test_an_image_asked_for_by_name_costs_one_name_and_one_record(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: names are only looked for when somebody wants them all."""
    for number in range(30):
        store.tag(f"other:{number}", TWO.id)
    names, records = [], []
    read_ref, read_image = Store._read_ref, Store._read_image

    def note_ref(self: Store, name: str) -> str | None:
        names.append(name)
        return read_ref(self, name)

    def note_image(self: Store, image_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
        records.append(image_id)
        return read_image(self, image_id)

    monkeypatch.setattr(Store, "_read_ref", note_ref)
    monkeypatch.setattr(Store, "_read_image", note_image)
    image = store.resolve("one:1")
    assert (image.name, image.id) == ("one:1", ONE.id)
    assert (names, records) == (["one:1"], [ONE.id])
    assert image.names == ("one:1",)
    assert len(names) == 1 + 32


def test_all_images_cost_one_look_at_each_name(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        store.tag(f"other:{number}", TWO.id)
    names = []
    read_ref = Store._read_ref
    monkeypatch.setattr(
        Store, "_read_ref", lambda self, name: names.append(name) or read_ref(self, name)
    )
    first, second = sorted(store.images(), key=lambda image: len(image.names))
    assert (len(first.names), len(second.names)) == (1, 31)
    assert len(names) == 32


def test_an_image_is_called_as_it_was_asked_for(store: Store) -> None:
    store.tag("zz:1", ONE.id)
    assert store.resolve("zz:1").name == "zz:1"
    assert store.resolve(ONE.id).name == store.resolve(ONE.id[:10]).name == "one:1"
    assert store.resolve("zz:1") == store.image(ONE.id)
