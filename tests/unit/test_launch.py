"""What a start is decided to be, from the image and what the user asks."""

from __future__ import annotations

import json
import os

import pytest

from lpmx_runtime.container import engine as enginefile
from lpmx_runtime.errors import StorageError, UsageError
from lpmx_runtime.launch import sitefiles
from lpmx_runtime.launch import start as launch
from lpmx_runtime.launch.start import Options, Surroundings, draft_container, plan_launch
from lpmx_runtime.launch.users import Accounts, Host
from lpmx_runtime.plans.binds import Place
from lpmx_runtime.plans.plan import Identity, parse_plan
from lpmx_runtime.store.image import Image
from lpmx_runtime.store.store import Store

CHAIN = "c" * 64
ACCOUNTS = Accounts(
    passwd="root:x:0:0::/root:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/sh\n",
    group="root:x:0:\nusers:x:100:\n",
)


@pytest.fixture
def store(tmp_path, monkeypatch):
    (tmp_path / "native").mkdir()
    (tmp_path / "native" / "lpmx-exec").write_text("")
    monkeypatch.setenv("LPMX_NATIVE", str(tmp_path / "native"))
    monkeypatch.setattr(launch, "_at_real_places", lambda _store, _image, binds: binds)  # no view
    store = Store.open(tmp_path / "store")
    cache = store.root / "cache" / "accounts"
    cache.mkdir(parents=True)
    text = json.dumps({"passwd": ACCOUNTS.passwd, "group": ACCOUNTS.group})
    (cache / f"{CHAIN}.json").write_text(text)
    names = cache.with_name("names") / f"{CHAIN}.json"
    names.parent.mkdir()
    names.write_text(json.dumps(dict.fromkeys(sitefiles.KNOWN, True)))
    return store


@pytest.fixture
def here(tmp_path):
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    host = Host(1234, 1234, (1234,), lambda _: "alice", lambda _: "alice")
    place = Place(str(home), str(home / "work"), str(home / "work"))
    return Surroundings(host, place, {"TERM": "xterm", "SECRET": "x"})


def image(**config):
    return Image("a" * 64, ("tool:1",), ("b" * 64, "d" * 64), CHAIN, {"config": config}, 1)


def draft(store, here, options=None, **config):
    return draft_container(store, image(**config), options or Options(), here).container


@pytest.mark.parametrize(
    ("options", "argv"),
    [
        (Options(), ("entry", "default")),
        (Options(command=("x", "-v")), ("entry", "x", "-v")),
        (Options(entrypoint=("other", "-a")), ("other", "-a")),
        (Options(entrypoint=("other",), command=("x",)), ("other", "x")),
        (Options(entrypoint=(), command=("x",)), ("x",)),
    ],
)
def test_entrypoint_and_cmd_combine_as_with_docker(store, here, options, argv):
    assert draft(store, here, options, Entrypoint=["entry"], Cmd=["default"]).argv == argv


def test_image_without_command_needs_one(store, here):
    with pytest.raises(UsageError, match="image tool:1 names no command"):
        draft(store, here)
    assert draft(store, here, Options(command=("x",))).argv == ("x",)


def test_directory_is_the_one_asked_for_then_workdir_then_where_the_user_is(store, here):
    command = Options(command=("x",))
    assert draft(store, here, command, WorkingDir="/data").cwd == "/data"
    assert draft(store, here, Options(("x",), cwd="/srv"), WorkingDir="/data").cwd == "/srv"
    assert draft(store, here, command, WorkingDir="/").cwd == here.place.cwd
    assert draft(store, here, command, WorkingDir="foo").cwd == "/foo", "as docker reads it"
    assert draft(store, here, command, WorkingDir="./a/../b/").cwd == "/b"
    assert draft(store, here, command, WorkingDir=".").cwd == here.place.cwd
    assert draft(store, here, Options(("x",), cwd="/"), WorkingDir="/data").cwd == "/"
    with pytest.raises(UsageError, match="not an absolute path"):
        draft(store, here, Options(("x",), cwd="data"))


def test_directory_that_is_not_visible_inside_is_not_entered(store, here):
    without = frozenset({"home", "cwd", "tmp"})
    assert draft(store, here, Options(("x",), no_bind=without)).cwd == "/"
    elsewhere = Options(("x",), no_bind=without, volumes=(f"/etc:{here.place.cwd}",))
    assert draft(store, here, elsewhere).cwd == "/", "what is at that path is another directory"


def test_own_home_is_used_where_it_is_visible(store, here):
    assert draft(store, here, Options(("x",))).home == here.place.home
    without = frozenset({"home", "cwd", "tmp"})
    assert draft(store, here, Options(("x",), no_bind=without)).home == "/"
    assert draft(store, here, Options(("x",)), User="jovyan").home == "/home/jovyan"


def test_image_user_is_honoured_and_overridden(store, here):
    found = draft(store, here, Options(("x",)), User="jovyan")
    assert (found.identity, found.user, found.seeds) == (Identity(1000, 100, (100,)), "jovyan", ())
    found = draft(store, here, Options(("x",), user="0:0"), User="jovyan")
    assert (found.identity, found.user) == (Identity(0, 0, (0,)), "root")


def test_user_without_a_line_gets_seeds(store, here):
    result = draft_container(store, image(), Options(("x",)), here)
    assert result.container.user == "alice"
    assert result.container.seeds == ("passwd", "group")
    assert result.seeds["passwd"].endswith(f"alice:x:1234:1234::{here.place.home}:/bin/sh\n")
    plan = plan_launch(store, result.container, here).plan
    seeds = {bind.dst: bind for bind in plan.binds if bind.seed}
    assert seeds.keys() == {"/etc/passwd", "/etc/group"}
    assert seeds["/etc/passwd"].src == result.container.path("seed/passwd")


def test_users_own_file_at_a_seed_s_place_wins(store, here, tmp_path):
    (tmp_path / "passwd").write_text("")
    options = Options(("x",), volumes=(f"{tmp_path}/passwd:/etc/passwd",))
    result = draft_container(store, image(), options, here)
    plan = plan_launch(store, result.container, here).plan
    assert [bind.src for bind in plan.binds if bind.dst == "/etc/passwd"] == [
        str(tmp_path / "passwd")
    ]


def test_environment_is_image_then_user_and_nothing_secret(store, here):
    made = draft(store, here, Options(("x",), env={"A": "user"}), Env=["A=image", "B=image"])
    env = plan_launch(store, made, here, env={"C": "exec"}).env
    assert (env["A"], env["B"], env["C"], env["TERM"]) == ("user", "image", "exec", "xterm")
    assert "SECRET" not in env


def test_deciding_touches_nothing(store, here):
    before = sorted(os.walk(store.root))
    made = draft(store, here, Options(("x",)))
    plan_launch(store, made, here)
    assert sorted(os.walk(store.root)) == before


def test_plan_points_into_the_store_and_layers_keep_their_order(store, here):
    made = draft(store, here, Options(("x",), read_only=True))
    plan = plan_launch(store, made, here).plan
    assert plan.layers == (f"{store.layers_dir}/{'b' * 64}/fs", f"{store.layers_dir}/{'d' * 64}/fs")
    assert plan.stores == (str(store.layers_dir),)
    assert plan.view == str(store.view_path(CHAIN))
    assert plan.upper == f"{store.containers_dir}/{made.id}/upper"
    assert plan.read_only


def test_plan_file_is_the_same_for_every_start_of_a_container(store, here):
    made = draft_container(store, image(), Options(("x",)), here).create(store)
    first = plan_launch(store, made, here)
    first.prepare()
    before = os.stat(first.plan_file)
    second = plan_launch(store, made, here, command=("y",), env={"E": "1"}, cwd="/")
    second.prepare()
    assert os.stat(second.plan_file).st_ino == before.st_ino
    assert second.argv[-5:] == ("--cwd", "/", "--", "y") or second.argv[-1] == "y"
    with open(first.plan_file, "rb") as file:
        assert parse_plan(file.read()).argv == ("x",)


def test_other_user_has_a_plan_of_its_own(store, here):
    made = draft_container(store, image(), Options(("x",)), here).create(store)
    other = plan_launch(store, made, here, user="4321:5")
    other.prepare()
    assert other.plan.identity == Identity(4321, 5, (5,))
    assert other.plan_file == made.path("plan-4321-5")
    seeds = [bind for bind in other.plan.binds if bind.seed]
    assert seeds
    with open(seeds[0].src) as file:
        assert ":4321:5:" in file.read()


def test_whole_plan_needs_nothing_else(store, here):
    made = draft(store, here, Options(("x", "y"), env={"A": "1"}))
    plan = parse_plan(plan_launch(store, made, here).whole_plan())
    assert plan.clear_env
    assert plan.argv == ("x", "y")
    assert "A=1" in plan.env


def test_store_that_nothing_is_executed_from_is_told(store, tmp_path, monkeypatch):
    engine = tmp_path / "lpmx-exec"
    engine.write_bytes(b"")
    engine.chmod(0o600)
    with pytest.raises(StorageError, match="it may not be executed"):
        enginefile.refuse_noexec(str(engine))
    monkeypatch.setattr(enginefile, "is_noexec", lambda _path: True)
    with pytest.raises(StorageError, match="mounted noexec") as caught:
        enginefile.refuse_noexec(str(engine))
    assert "LPMX_HOME" in (caught.value.hint or "")
    engine.chmod(0o700)
    enginefile.refuse_noexec(str(engine))
