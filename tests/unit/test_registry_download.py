"""A blob on its way from a registry: what breaks, and what comes of it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from types import SimpleNamespace

import pytest
from urllib3.exceptions import ProtocolError

from lpmx_runtime import gc
from lpmx_runtime.errors import StorageError
from lpmx_runtime.images.registry import download
from lpmx_runtime.images.registry.download import Blobs, Descriptor, require_space
from lpmx_runtime.images.registry.wire.errors import DeniedError, RegistryError, TransferCutError
from lpmx_runtime.store.store import Store

DATA = os.urandom(3 << 20)
BLOB = Descriptor(hashlib.sha256(DATA).hexdigest(), len(DATA))


class Answer:
    """A response whose body breaks after @cut bytes."""

    def __init__(self, status, data, headers=None, cut=None):
        self.status, self.headers = status, headers or {}
        self._data, self._cut, self._at = data, cut, 0

    def read1(self, size):
        if self._cut is not None and self._at >= self._cut:
            raise ProtocolError("gone")
        end = min(self._at + size, len(self._data), self._cut or len(self._data))
        block, self._at = self._data[self._at : end], end
        return block

    def close(self):
        pass

    drain_conn = close


class Place:
    """A registry that answers as the test wants, request by request; the last one stays."""

    def __init__(self, *ways):
        self.ways, self.starts, self.warnings = list(ways), [], []
        self.endpoint = SimpleNamespace(
            host="registry.test", registry="registry.test", repository="lab/tool"
        )
        self.transport = SimpleNamespace(sleep=lambda _s: None, warn=self.warnings.append)

    def blob(self, digest, start=0):
        assert digest == f"sha256:{BLOB.digest}"
        self.starts.append(start)
        way = self.ways.pop(0) if len(self.ways) > 1 else self.ways[0]
        return way(start)


def good(start, data=DATA, cut=None):
    headers = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} if start else {}
    return Answer(206 if start else 200, data[start:], headers, cut)


def cut_after(size):
    return lambda start: good(start, cut=size)


def ignores_range(_start):
    return Answer(200, DATA)


def flipped(start):
    return good(start, flipped_data())


def flipped_data():
    return bytes([DATA[0] ^ 1]) + DATA[1:]


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "store")


@pytest.fixture
def meter():
    return SimpleNamespace(sizes=[], advance=lambda _b, _n: None, done=lambda _b: None)


def fetch(store, meter, *places):
    path = Blobs(store, places, meter).fetch(BLOB)
    assert path.read_bytes() == DATA
    assert os.listdir(path.parent) == [path.name]
    return path


def test_a_blob_becomes_a_file(store, meter):
    place = Place(good)
    fetch(store, meter, place)
    assert place.starts == [0]


def test_after_each_cut_it_goes_on_where_it_was(store, meter):
    place = Place(cut_after(1 << 20), cut_after(1 << 20), good)
    fetch(store, meter, place)
    assert place.starts == [0, 1 << 20, 2 << 20]


def test_the_next_command_goes_on_where_the_last_one_ended(store, meter):
    with pytest.raises(TransferCutError, match="again and again"):
        Blobs(store, [Place(cut_after(500_000), cut_after(1))], meter).fetch(BLOB)
    (left,) = download.folder(store).iterdir()
    place = Place(good)
    assert left.name == f"sha256-{BLOB.digest}.partial"
    size = left.stat().st_size
    fetch(store, meter, place)
    assert place.starts == [size]
    assert 500_000 <= size < 600_000


def test_tries_that_bring_nothing_are_counted_those_that_do_are_not(store, meter):
    steady = Place(*[cut_after(1 << 20)] * 2, good)
    fetch(store, meter, steady)
    dead = Place(cut_after(1))
    with pytest.raises(TransferCutError):
        Blobs(Store.open(store.root.with_name("other")), [dead], meter).fetch(BLOB)
    assert len(dead.starts) == download.TRIES


def test_it_starts_over_where_range_is_ignored(store, meter):
    place = Place(cut_after(1 << 20), ignores_range)
    fetch(store, meter, place)
    assert place.starts == [0, 1 << 20]


def test_it_starts_over_when_the_partial_is_too_long_for_the_registry(store, meter):
    place = Place(cut_after(1 << 20), lambda _start: Answer(416, b""), good)
    fetch(store, meter, place)
    assert place.starts == [0, 1 << 20, 0]


def test_another_part_than_asked_for_is_an_error(store, meter):
    wrong = Answer(206, DATA, {"Content-Range": "bytes 7-9/10"})
    with pytest.raises(RegistryError, match="another part"):
        Blobs(store, [Place(cut_after(1 << 20), lambda _start: wrong)], meter).fetch(BLOB)


def test_a_flipped_byte_is_fetched_again(store, meter):
    place = Place(flipped, good)
    fetch(store, meter, place)
    assert place.starts == [0, 0]


def test_bytes_that_are_always_wrong_are_refused_the_second_time(store, meter):
    place = Place(flipped)
    with pytest.raises(RegistryError, match="checksum differs, twice"):
        Blobs(store, [place], meter).fetch(BLOB)
    assert place.starts == [0, 0]
    assert not any(path.suffix == "" for path in download.folder(store).iterdir())


def test_progress_between_cuts_does_not_hide_wrong_bytes(store, meter):
    """Each try gets far and ends in the wrong digest: that has a counter of its own."""

    def far(_start):
        return Answer(200, flipped_data(), cut=2 << 20)

    place = Place(far, flipped, far, flipped)
    with pytest.raises(RegistryError, match="twice"):
        Blobs(store, [place], meter).fetch(BLOB)
    assert place.starts == [0, 2 << 20, 0, 2 << 20]


def test_a_body_that_is_too_short_is_a_cut(store, meter):
    place = Place(lambda _start: Answer(200, DATA[:100_000]), good)
    fetch(store, meter, place)
    assert place.starts == [0, 100_000]


def test_more_than_the_descriptor_says_is_not_taken(store, meter):
    fetch(store, meter, Place(lambda _start: Answer(200, DATA + b"more")))


def test_a_mirror_that_lacks_a_blob_is_passed_over(store, meter):
    def missing(_start):
        raise DeniedError("not there")

    mirror, origin = Place(missing), Place(good)
    fetch(store, meter, mirror, origin)
    assert mirror.warnings == ["not there: another place is asked"]


def test_many_that_want_one_blob_fetch_it_once(store, meter):
    place = Place(good)
    blobs = Blobs(store, [place], meter)
    threads = [threading.Thread(target=blobs.fetch, args=(BLOB,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert place.starts == [0]


def test_a_stop_ends_a_transfer_and_keeps_what_came(store, meter):
    blobs = Blobs(store, [Place(good)], meter)
    meter.advance = lambda _blob, size: size and blobs.stopped.set()
    with pytest.raises(RegistryError, match="stopped"):
        blobs.fetch(BLOB)
    (left,) = download.folder(store).iterdir()
    assert 0 < left.stat().st_size < BLOB.size


def test_a_partial_that_is_no_file_is_not_followed(store, meter, tmp_path):
    (tmp_path / "precious").write_bytes(b"mine")
    download.folder(store).mkdir()
    partial = download.folder(store) / f"sha256-{BLOB.digest}.partial"
    partial.symlink_to(tmp_path / "precious")
    with pytest.raises(StorageError):
        Blobs(store, [Place(good)], meter).fetch(BLOB)
    assert (tmp_path / "precious").read_bytes() == b"mine"


def test_a_disk_without_room_is_told_before_the_first_byte(store):
    with pytest.raises(StorageError, match=r"needs \d+ MB, has \d+ MB"):
        require_space(store, [Descriptor("a" * 64, 1 << 60)])
    require_space(store, [BLOB])


def test_gc_keeps_downloads_for_a_week_and_removes_all_when_asked(store):
    folder = download.folder(store)
    folder.mkdir()
    old, new = folder / f"sha256-{'a' * 64}.partial", folder / f"sha256-{'b' * 64}"
    for path, days in ((old, 8), (new, 6)):
        path.write_bytes(b"x")
        then = time.time() - days * 86_400
        os.utime(path, (then, then))
    assert gc.collect(store, dry_run=True).leftovers == (old.name,)
    assert old.exists()
    gc.collect(store)
    assert sorted(folder.iterdir()) == [new]
    gc.collect(store, downloads=True)
    assert sorted(folder.iterdir()) == []
