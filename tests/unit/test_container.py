"""Containers on disk: made whole, found, removed whole, and garbage told from what is in use."""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import replace

import pytest

from lpmx_runtime.container import record as containers
from lpmx_runtime.container.record import Container
from lpmx_runtime.errors import InUseError, StorageError, UsageError
from lpmx_runtime.plans.plan import Bind, Identity
from lpmx_runtime.process import runs
from lpmx_runtime.store.store import Store


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "store")


def draft(**changes):
    container = Container(
        id=containers.new_id(),
        name="",
        image="a" * 64,
        image_name="busybox:latest",
        diff_ids=("b" * 64,),
        chain_id="b" * 64,
        argv=("sh", "-c", "\udcff"),
        env={"PATH": "/bin"},
        cwd="/",
        home="/root",
        user="root",
        binds=(Bind("/tmp", "/tmp"), Bind("/f", "/f", read_only=True, file=True)),
        identity=Identity(1, 2, (3,)),
    )
    return replace(container, **changes)


def create(store, **changes):
    return containers.create(store, draft(**changes), {})


def dead():
    """A process that has ended: ours, as of another start."""
    return replace(runs.this_process(), start=1)


def test_created_container_is_found_by_name_and_by_id(store):
    made = create(store, name="work")
    assert containers.find(store, "work") == made
    assert containers.find(store, made.id) == made
    assert containers.find(store, made.id[:4]) == made
    assert containers.list_containers(store) == [made]


def test_container_has_all_its_parts(store):
    made = containers.create(store, draft(seeds=("passwd",)), {"passwd": "x\udcff:"})
    assert stat.S_IMODE(os.stat(made.folder).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(made.path("upper")).st_mode) == 0o755
    status = os.stat(made.path("dirty"))
    assert status.st_size == (1 << 16) + 16
    assert status.st_blocks * 512 >= status.st_size, "a hole is a SIGBUS when the disk is full"
    assert os.listdir(made.path("upper")) == os.listdir(made.path("work")) == []
    with open(made.path("seed/passwd"), "rb") as file:
        assert file.read() == b"x\xff:"


def test_store_finds_the_containers_of_an_image(store):
    made = create(store)
    assert store.containers_of("a" * 64) == [made.id]


def test_name_is_unique_until_its_container_is_removed(store):
    first = create(store, name="work")
    with pytest.raises(InUseError, match="exists already"):
        create(store, name="work")
    assert containers.list_containers(store) == [first]
    containers.remove(store, first)
    assert create(store, name="work").id != first.id


def test_name_of_a_killed_ephemeral_container_is_free(store):
    create(store, name="work", auto_remove=True)
    path = containers.find(store, "work").path("container.json")
    _rewrite(path, creator=vars(dead()))
    assert create(store, name="work")


def _rewrite(path, **changes):
    with open(path) as file:
        data = json.load(file)
    with open(path, "w") as file:
        json.dump(data | changes, file)


@pytest.mark.parametrize("name", ["", "-x", "a/b", "..", "a b", "x" * 129, "ä"])
def test_names_that_cannot_be_told_from_paths_or_options_are_refused(name):
    with pytest.raises(UsageError):
        containers.check_name(name)


@pytest.mark.parametrize(
    "name", ["a", "abc", "work-1", "My_Tool.2", "beefy", "c100", "db01", "cafe"]
)
def test_usual_names_are_allowed(name):
    assert containers.check_name(name) == name


def test_a_name_of_hex_digits_is_a_name_first_and_no_other_containers_id(store):
    other = create(store, id="cafe00000001")
    named = create(store, id="000000000002", name="c100")
    late = create(store, id="c10000000003")
    assert containers.find(store, "c100").id == named.id
    assert containers.find(store, "c1000").id == late.id
    for name in ("cafe", other.id):
        with pytest.raises(InUseError, match=f"the id of container {other.id} begins with"):
            create(store, name=name)
    assert create(store, name="cafe1").name == "cafe1"


def test_unknown_container_is_told_with_a_hint(store):
    for name in ("nosuch", "abcd", "../x", ""):
        with pytest.raises(containers.ContainerNotFoundError) as caught:
            containers.find(store, name)
        assert "lpmx ps -a" in str(caught.value.hint)


def test_container_in_use_is_not_removed(store):
    made = create(store, name="work")
    runs.register(made.path("runs"), runs.this_process(), runs.MAIN, ("sh",))
    with pytest.raises(InUseError, match=f"process {os.getpid()}"):
        containers.remove(store, made)
    runs.unregister(made.path("runs"), os.getpid())
    containers.remove(store, made)
    assert os.listdir(store.containers_dir) == [".names"]
    assert os.listdir(store.containers_dir / ".names") == []


def test_removal_copes_with_what_programs_leave(store):
    made = create(store)
    deep = made.path("upper")
    for _ in range(40):
        deep = os.path.join(deep, "d" * 100)
        os.mkdir(deep) if len(deep) < 4000 else None
    closed = os.path.join(made.path("upper"), "closed")
    os.makedirs(os.path.join(closed, "inner"))
    os.chmod(closed, 0o500)
    os.symlink("/etc", os.path.join(made.path("upper"), "link"))
    containers.remove(store, made)
    assert not os.path.exists(made.folder)
    assert os.path.isdir("/etc")


def test_dead_entries_vanish_and_live_ones_stay(store):
    made = create(store)
    runs.register(made.path("runs"), runs.this_process(), runs.MAIN, ("sh",))
    runs.register(made.path("runs"), replace(dead(), pid=1), runs.EXEC, ("old",))
    assert [run.argv for run in made.runs()] == [("sh",)]
    assert os.listdir(made.path("runs")) == [f"{os.getpid()}.json"]


def test_pid_used_again_is_not_taken_for_the_old_process(store):
    made = create(store)
    runs.register(made.path("runs"), dead(), runs.MAIN, ("old",))
    assert made.runs() == []


def elsewhere(**changes):
    """A process of another machine, for all one can say here."""
    return replace(runs.this_process(), boot="theirs", host="elsewhere", **changes)


def test_boot_says_which_machine_it_was_and_the_host_s_name_only_where_the_boot_is_another():
    here = runs.this_process()
    assert elsewhere(start=1).is_alive()
    assert not elsewhere().is_here()
    assert replace(here, host="renamed").is_here()
    assert not replace(here, host="renamed", start=1).is_alive()
    assert not replace(here, boot="earlier").is_alive()


@pytest.mark.parametrize("sees_all", [True, False])
def test_process_of_another_pid_namespace_is_dead_where_all_are_seen_and_it_is_not(
    monkeypatch, sees_all
):
    here = runs.this_process()
    number = runs._FIRST_NAMESPACE if sees_all else 2
    monkeypatch.setattr(runs, "_system", [runs.System(here.boot, number, here.host)])
    inside = replace(here, namespace=1)
    assert inside.is_alive()
    assert not inside.is_here()
    assert replace(inside, pid=2**22 + 1).is_alive() is not sees_all
    assert replace(inside, start=1).is_alive() is not sees_all
    assert "another pid namespace of this machine" in inside.place


def test_container_in_use_elsewhere_is_removed_only_when_that_machine_is_said_to_be_lost(store):
    made = create(store, name="work")
    runs.register(made.path("runs"), elsewhere(), runs.MAIN, ("sh",))
    for force in (False, True):
        with pytest.raises(InUseError, match=f"process {os.getpid()} on elsewhere") as caught:
            containers.remove(store, made, force=force)
        assert caught.value.hint == (
            "end it there; if that place is gone for good: `lpmx rm -f --lost work`"
        )
    containers.remove(store, made, force=True, lost=True)
    assert os.listdir(store.containers_dir / ".names") == []


@pytest.mark.parametrize("kind", [runs.MAIN, runs.JOB])
def test_hint_of_a_refused_removal_is_never_the_command_just_given(store, monkeypatch, kind):
    made = create(store, name="work")
    who = runs.this_process() if kind == runs.MAIN else elsewhere(pid=0)
    runs.register(made.path("runs"), who, kind, ("sh",))
    monkeypatch.setattr(containers, "_kill_all", lambda _container: None)
    with pytest.raises(InUseError) as plain:
        containers.remove(store, made)
    with pytest.raises(InUseError) as forced:
        containers.remove(store, made, force=True)
    assert "lpmx rm -f" in plain.value.hint
    assert "lpmx rm" not in forced.value.hint


def test_collect_clears_the_work_folder_of_a_container_nothing_runs_in(store):
    idle, busy = create(store, name="idle"), create(store, name="busy")
    for made in (idle, busy):
        for name in ("tmp.1.2.3", "lock"):
            open(made.path(f"work/{name}"), "w").close()
        os.makedirs(made.path("work/tmp.1.2.4/inside"))
    runs.register(busy.path("runs"), runs.this_process(), runs.MAIN, ("sh",))
    containers.collect(store)
    assert os.listdir(idle.path("work")) == ["lock"]
    assert len(os.listdir(busy.path("work"))) == 3


def test_collect_removes_garbage_and_nothing_else(store):
    kept, busy = create(store, name="kept"), create(store, auto_remove=True)
    gone = create(store, auto_remove=True)
    _rewrite(gone.path("container.json"), creator=vars(dead()))
    adopted = create(store, auto_remove=True)  # its creator died, but a program runs in it
    _rewrite(adopted.path("container.json"), creator=vars(dead()))
    runs.register(adopted.path("runs"), runs.this_process(), runs.MAIN, ("sh",))
    os.makedirs(store.containers_dir / "0123456789ab" / "upper")  # killed while it was made
    os.makedirs(store.containers_dir / ".removed-x" / "upper")  # killed while it was removed
    os.symlink("nothing", store.containers_dir / ".names" / "stale")
    damaged = create(store)
    with open(damaged.path("container.json"), "w") as file:
        file.write("{")
    assert sorted(containers.collect(store)) == sorted([gone.id, "0123456789ab", "x"])
    left = {name for name in os.listdir(store.containers_dir) if name != ".names"}
    assert left == {kept.id, busy.id, adopted.id, damaged.id}
    assert os.listdir(store.containers_dir / ".names") == ["kept"]


def test_start_of_a_removed_container_says_so(store):
    made = create(store)
    containers.remove(store, made)
    with pytest.raises(FileNotFoundError):
        runs.register(made.path("runs"), runs.this_process(), runs.MAIN, ())


@pytest.mark.parametrize("old_kernel", [False, True])
def test_signal_reaches_the_right_process_only(monkeypatch, old_kernel):
    def missing(_pid):
        raise OSError(errno.ENOSYS, "no pidfd_open")

    if old_kernel:
        monkeypatch.setattr(os, "pidfd_open", missing)
    here, received = runs.this_process(), []
    monkeypatch.setattr(os, "kill", lambda pid, number: received.append((pid, number)))
    monkeypatch.setattr(
        runs.signal, "pidfd_send_signal", lambda _fd, n: received.append((here.pid, n))
    )
    assert runs.send_signal(here, 10)
    assert not runs.send_signal(dead(), 10)
    assert not runs.send_signal(elsewhere(), 10)
    assert received == [(here.pid, 10)]
    assert not runs.wait_gone(here, 0.02)
    assert runs.wait_gone(dead(), 0.02)
    assert runs.wait_gone(replace(here, pid=2**22 + 1), 0.02), "no such process"


def test_creation_on_a_full_disk_leaves_nothing_and_says_so(store, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(containers, "write_file", full)
    with pytest.raises(StorageError, match="no space left"):
        create(store, name="work", auto_remove=True)
    monkeypatch.undo()
    assert os.listdir(store.containers_dir) == [".names"]
    assert os.listdir(store.containers_dir / ".names") == []
    assert create(store, name="work")


def test_container_whose_start_fails_is_taken_back_and_no_other(store):
    other = create(store, name="other")
    made = create(store, name="work")
    runs.register(made.path("runs"), runs.this_process(), runs.MAIN, ("sh",))
    with pytest.raises(KeyboardInterrupt), containers.taken_back(made):
        raise KeyboardInterrupt
    assert containers.list_containers(store) == [other]
    with containers.taken_back(other):
        pass
    assert containers.list_containers(store) == [other]


def test_dirty_map_of_an_earlier_version_gets_its_room(tmp_path):
    old, like = str(tmp_path / "old"), str(tmp_path / "like")
    for path in (old, like):
        with open(path, "wb") as file:
            file.truncate(1 << 16)
    with open(old, "rb+") as file:
        file.write(b"marks")
    containers.make_dirty_map(old)
    status = os.stat(old)
    assert (status.st_size, status.st_blocks * 512 >= 1 << 16) == (1 << 16, True)
    with open(old, "rb") as file:
        assert file.read(6) == b"marks\0", "what a running program has marked stays"
    containers.make_dirty_map(str(tmp_path / "new"), like)
    assert (tmp_path / "new").read_bytes() == bytes(1 << 16)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["like", "new", "old"]
    containers.fill_dirty_map(str(tmp_path / "gone"))
    assert not (tmp_path / "gone").exists(), "an empty one would hide what was written"
