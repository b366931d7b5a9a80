"""`lpmx why`: what it says of layers that hide each other, of binds and of what was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import mkimage as mk

from lpmx_runtime.cli.main import main
from lpmx_runtime.launch.start import Options, draft_container, surroundings
from lpmx_runtime.plans.plan import Bind
from lpmx_runtime.store.store import Store
from lpmx_runtime.why.path import Answer, Union, explain, find_union

LAYERS = [
    mk.layer(
        mk.folder("usr"), mk.folder("usr/bin"), mk.symlink("bin", "usr/bin"),
        mk.file("usr/bin/tool", b"old"), mk.file("etc/gone", b"1"), mk.file("etc/kept", b"1"),
        mk.folder("opt"), mk.file("opt/inside", b"1"), mk.folder("swap"),
        mk.file("swap/below", b"1"), mk.file("etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
    ),
    mk.layer(
        mk.file("usr/bin/tool", b"new"), mk.file("etc/.wh.gone"), mk.file("opt/.wh..wh..opq"),
        mk.file("opt/fresh", b"2"), mk.file("swap", b"a file now"),
    ),
    mk.layer(mk.symlink("loop", "loop"), mk.symlink("usr/bin/t", "../../bin/tool")),
]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with one image of three layers."""
    monkeypatch.setenv("LPMX_HOME", str(tmp_path / "store"))
    spec = mk.Spec("demo:1", LAYERS, {"Cmd": ["sh"]})
    assert main(["load", "-q", str(mk.docker_archive(tmp_path / "demo.tar", [spec]))]) == 0
    return Store.open()


@pytest.fixture
def union(store: Store) -> Union:
    """The image alone: no bind, nothing written."""
    whole = find_union(store, "demo:1", surroundings())
    return Union(whole.label, whole.layers, ())


def states(answer: Answer) -> list[tuple[str, str, str]]:
    """(part, state, reason) of each place of the last step; a layer by its number."""
    return [
        (place.name.partition(" (")[0], place.state, place.reason.partition(" (")[0])
        for place in answer.steps[-1].places
    ]


def test_upper_layer_hides_the_file_of_a_lower_one(union: Union) -> None:
    answer = explain(union, "/usr/bin/tool")
    assert states(answer) == [("layer 2", "shown", ""), ("layer 1", "hidden", "layer 2")]
    assert answer.found
    assert answer.host == f"{union.layers[1].tree}/usr/bin/tool"


def test_symlinks_are_followed_step_by_step_across_layers(union: Union) -> None:
    answer = explain(union, "/bin/t")
    assert [(step.path, step.target) for step in answer.steps] == [
        ("/bin", "usr/bin"),
        ("/usr/bin/t", "../../bin/tool"),
        ("/bin", "usr/bin"),
        ("/usr/bin/tool", ""),
    ]


def test_last_symlink_is_kept_when_asked(union: Union) -> None:
    answer = explain(union, "/usr/bin/t", follow=False)
    assert [step.kind for step in answer.steps] == ["symlink"]
    assert explain(union, "/bin/", follow=False).steps[-1].path == "/usr/bin"


def test_whiteout_is_named_as_what_hides(union: Union) -> None:
    answer = explain(union, "/etc/gone")
    assert not answer.found
    assert states(answer) == [
        ("layer 2", "whiteout", ""),
        ("layer 1", "hidden", "a whiteout in layer 2"),
    ]


def test_opaque_directory_hides_what_lower_layers_have_in_it(union: Union) -> None:
    answer = explain(union, "/opt/inside")
    assert not answer.found
    assert states(answer) == [("layer 1", "hidden", "/opt is opaque in layer 2")]
    assert states(explain(union, "/opt")) == [
        ("layer 2", "shown", ""),
        ("layer 1", "hidden", "it is opaque in layer 2"),
    ]


def test_directories_merge(union: Union) -> None:
    assert states(explain(union, "/usr/bin")) == [
        ("layer 3", "shown", ""),
        ("layer 2", "merged", ""),
        ("layer 1", "merged", ""),
    ]


def test_file_over_a_directory_ends_the_walk(union: Union) -> None:
    answer = explain(union, "/swap/below")
    assert answer.error == "/swap: is a file, not a directory"
    assert states(answer) == [("layer 2", "shown", ""), ("layer 1", "hidden", "layer 2")]


def test_loop_of_symlinks_is_an_error(union: Union) -> None:
    assert explain(union, "/loop").error == "/loop: more than 40 symlinks"


def test_dotdot_of_the_root_stays(union: Union) -> None:
    assert explain(union, "../../etc/kept").steps[-1].path == "/etc/kept"


def test_bind_hides_layers_and_its_links_stay_inside(union: Union, tmp_path: Path) -> None:
    folder = tmp_path / "bound"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/kept")
    bound = Union(union.label, union.layers, (Bind(str(folder), "/opt"),))
    assert states(explain(bound, "/opt")) == [
        (f"{folder}:/opt", "shown", ""),
        ("layer 2", "hidden", "the bind at /opt"),
        ("layer 1", "hidden", "it is opaque in layer 2"),
    ]
    answer = explain(bound, "/opt/link")
    assert answer.host == f"{union.layers[0].tree}/etc/kept"
    assert explain(bound, "/opt/..//etc/kept").found


def test_file_that_is_bound_is_shown_at_its_place(union: Union, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("1")
    bound = Union(union.label, union.layers, (Bind(f"{tmp_path}/hosts", "/etc/hosts", file=True),))
    assert explain(bound, "/etc/hosts").host == f"{tmp_path}/hosts"


def test_what_was_written_removed_and_generated_in_a_container(store: Store) -> None:
    options = Options(command=("true",), no_bind=frozenset({"home", "cwd", "tmp"}), user="7:7")
    draft = draft_container(store, store.resolve("demo:1"), options, surroundings(), name="c-own")
    container = draft.create(store)
    folder = Path(container.path("upper"), "etc")
    folder.mkdir()
    (folder / ".wh.kept").touch()
    (folder / "own").write_text("mine")
    union = find_union(store, "c-own", surroundings())
    assert states(explain(union, "/etc/own")) == [("the container's own files", "shown", "")]
    assert [state for _, state, _ in states(explain(union, "/etc/kept"))] == ["whiteout", "hidden"]
    assert states(explain(union, "/etc/passwd"))[0] == (
        "the file made for this container",
        "shown",
        "",
    )
    (folder / ".wh..wh..opq").touch()
    assert states(explain(union, "/etc/gone"))[-1] == (
        "layer 1",
        "hidden",
        "/etc is opaque in the container's own files",
    )


def test_links_of_proc_are_the_engines_to_answer(store: Store) -> None:
    union = find_union(store, "demo:1", surroundings())
    answer = explain(union, "/proc/self/exe")
    assert answer.found
    assert "the engine answers this itself" in answer.notes[0]


def test_command_prints_json_and_tells_absence_by_its_status(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["why", "--json", "/bin/tool", "-c", "demo:1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["in"], found["path"]) == ("image demo:1", "/usr/bin/tool")
    assert found["steps"][1]["places"][0]["diff_id"] == store.resolve("demo:1").diff_ids[1]
    assert main(["why", "/nothing"]) == 1
    assert "/nothing: no such file or directory" in capsys.readouterr().out
    assert main(["why", "-c", "who", "/x"]) == 1
    assert "who: no such container or image" in capsys.readouterr().err


def test_command_wants_a_name_where_there_are_several(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = mk.Spec("other:1", [mk.layer(mk.file("x"))], {"Cmd": ["sh"]})
    main(["load", "-q", str(mk.docker_archive(tmp_path / "other.tar", [other]))])
    assert len(store.images()) == 2
    assert main(["why", "/x"]) == 2
    assert "in which container or image? The store has 2" in capsys.readouterr().err
