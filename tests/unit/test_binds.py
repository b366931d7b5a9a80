"""Which host paths a container shows, and at which paths."""

from __future__ import annotations

import os

import pytest

from lpmx_runtime.errors import UsageError
from lpmx_runtime.plans import binds
from lpmx_runtime.plans.binds import Place, default_binds, find_bind, merge_binds, parse_volume
from lpmx_runtime.plans.plan import Bind


def test_volume_with_destination_and_options(tmp_path):
    cwd = str(tmp_path)
    assert parse_volume(f"{tmp_path}:/data", cwd=cwd) == Bind(cwd, "/data")
    assert parse_volume(f"{tmp_path}:/data:ro", cwd=cwd) == Bind(cwd, "/data", read_only=True)
    assert parse_volume(f"{tmp_path}:/data:rw,z", cwd=cwd) == Bind(cwd, "/data")
    assert parse_volume(f"{tmp_path}:/data//x/../y/", cwd=cwd) == Bind(cwd, "/data/y")


def test_volume_without_destination_is_at_its_own_path(tmp_path):
    assert parse_volume(".", cwd=str(tmp_path)) == Bind(str(tmp_path), str(tmp_path))
    assert parse_volume(f"{tmp_path}:ro", cwd="/") == Bind(
        str(tmp_path), str(tmp_path), read_only=True
    )


def test_volume_source_is_resolved_and_may_hold_a_colon(tmp_path):
    (tmp_path / "a:b").write_text("")
    (tmp_path / "link").symlink_to("a:b")
    found = parse_volume("link:/f", cwd=str(tmp_path))
    assert found == Bind(str(tmp_path / "a:b"), "/f", file=True)
    assert parse_volume("a\\:b:/f", cwd=str(tmp_path)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/nowhere/at/all:/x", "does not exist on this host"),
        ("/:relative", "not an absolute path"),
        ("/::/x:/y:ro", "not of the form"),
        (":/x", "not of the form"),
        ("/:/x:rx", "unknown option 'rx'"),
        ("/:/", "root cannot be replaced"),
        ("/:/..", "root cannot be replaced"),
    ],
)
def test_senseless_volumes_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_volume(text, cwd="/")


def test_later_bind_wins_at_the_same_destination():
    merged = merge_binds([Bind("/a", "/x")], [Bind("/b", "/x", read_only=True)])
    assert merged == (Bind("/b", "/x", read_only=True),)


def test_nested_binds_are_kept_in_any_order():
    outer, inner = Bind("/a", "/x"), Bind("/b", "/x/y")
    assert merge_binds([inner], [outer]) == merge_binds([outer], [inner]) == (outer, inner)


def test_repeated_binds_are_left_out_but_not_those_with_other_rights():
    outer = Bind("/a", "/x")
    assert merge_binds([outer, Bind("/a/y/z", "/x/y/z")]) == (outer,)
    inner = Bind("/a/y", "/x/y", read_only=True)
    assert merge_binds([outer, inner]) == (outer, inner)
    assert merge_binds([Bind("/", "/host"), Bind("/etc", "/host/etc")]) == (Bind("/", "/host"),)


def test_find_bind_goes_by_whole_names():
    data, deep = Bind("/a", "/data"), Bind("/b", "/data/deep")
    assert find_bind((data, deep), "/data/deep/x") == deep
    assert find_bind((data, deep), "/data/deeper") == data
    assert find_bind((data, deep), "/database") is None


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", False),
        ("/usr", False),
        ("/usr/local/src", False),
        ("/etc/x", False),
        ("/opt", False),
        ("/home", False),
        ("/var", False),
        ("/usrlocal", True),
        ("/data", True),
        ("/opt/project", True),
        ("/home/alice", True),
        ("/var/lib/galaxy/jobs/1", True),
    ],
)
def test_default_binds_do_not_hide_what_images_keep(path, allowed):
    assert binds.may_hide(path) == allowed


def test_default_binds_can_be_switched_off_one_by_one(tmp_path):
    place = Place(str(tmp_path), str(tmp_path), str(tmp_path))
    everything = {bind.dst for bind in default_binds(place)}
    assert {"/proc", "/dev", "/sys", "/tmp", str(tmp_path)} <= everything
    rest = default_binds(place, binds.parse_no_bind(["home,cwd", "proc"]))
    assert not {"/proc", str(tmp_path)} & {bind.dst for bind in rest}
    assert {bind.dst for bind in default_binds(place, binds.parse_no_bind(["all"]))} == {
        "/proc",
        "/dev",
        "/sys",
    }
    with pytest.raises(UsageError, match="no default bind 'hom'"):
        binds.parse_no_bind(["hom"])


def test_proc_is_marked_and_host_files_are_read_only(tmp_path):
    place = Place("", "/", "/")
    found = {bind.dst: bind for bind in default_binds(place)}
    assert found["/proc"].proc
    for path in ("/etc/resolv.conf", "/etc/hosts"):
        if os.path.isfile(path):
            assert found[path].file
            assert found[path].read_only


def test_home_reached_by_a_symlink_is_shown_at_both_names(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    real, link = str(tmp_path / "real"), str(tmp_path / "link")
    found = default_binds(Place(link, "/", "/"), binds.parse_no_bind(["tmp"]))
    assert (
        Bind(link, link, link=True) in found
    )  # by its given name: the next node may lead elsewhere
    assert Bind(real, real) in found


def test_working_directory_is_shown_as_the_shell_names_it(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "link")
    logical = str(tmp_path / "link")
    place = binds.this_place({"PWD": logical, "HOME": "/nowhere"})
    assert place == Place("/nowhere", str(tmp_path / "real"), logical)
    assert binds.this_place({"PWD": "/", "HOME": "/x/../y"}) == Place(
        "/y", str(tmp_path / "real"), str(tmp_path / "real")
    )


@pytest.mark.parametrize(
    ("path", "has", "shown"),
    [
        ("/usr/people/ada", set(), True),
        ("/usr/people/ada", {"/usr/people"}, False),
        ("/usr/local/home/ada", set(), True),
        ("/usr/local/home", set(), True),
        ("/run/media/ada/stick", set(), True),
        ("/usr/share/x", set(), False),
        ("/usr/lib64/x", set(), False),
        ("/usr/local/lib/x", set(), False),
        ("/usr/local", set(), False),
        ("/run/lpmx-kernel", set(), False),
        ("/etc/people/ada", set(), False),
    ],
)
def test_a_site_s_folder_below_usr_is_shown_where_the_image_has_none(monkeypatch, path, has, shown):
    monkeypatch.setattr(os.path, "isdir", lambda _path: True)
    place = Place(path, "/", "/")
    without = frozenset(binds.RULES) - {"home"}
    found = default_binds(place, without, image_has=lambda name: name in has)
    assert (Bind(path, path) in found) == shown


def test_what_no_bind_shows_is_told(tmp_path, monkeypatch):
    own = str(tmp_path / "people" / "ada")
    os.makedirs(own)
    place = Place(own, "/usr/share", "/usr/share")
    monkeypatch.setattr(binds, "may_hide", lambda _path: False)
    told = binds.hidden_places(place, [])
    assert [note.split(" is not")[0] for note in told] == [
        "the working directory /usr/share",
        f"the home directory {own}",
    ]
    assert "`-v /usr/share` shows it" in told[0]
    assert not binds.hidden_places(place, [], frozenset({"home", "cwd"}))
    assert not binds.hidden_places(place, [Bind("/usr", "/host"), Bind("/x", own)])
    assert not binds.hidden_places(Place("/nowhere", "/", "/"), [])
