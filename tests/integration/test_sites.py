"""A layer cannot be changed by what runs in a container, whatever the store's place is called.

Sites have homes behind symlinks, file systems that are mounted twice, stores behind symlinks of
their own. At each of them native/writes.c makes every change by every way to name a file: in the
container's own tree, where it must work, and in the store's layers as the container's binds show
them, where it must not. Afterwards every byte, mode and time of the layers is as it was.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import mkimage
from support.jupyter import Jupyter
from support.lpmx import Lpmx, clean_environment, engine_environment, lpmx_command, run
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from support.jupyter import Session

SOURCE = Path(__file__).resolve().parent / "native" / "writes.c"
IMAGE = "writes:1"
WAYS = 5
CHANGES = 28
# A link does not cross from a layer into the tree around it, as between two file systems.
REFUSED = {"Read-only file system", "Invalid cross-device link", "Operation not supported"}

# A descriptor of a layer's file is the container's, however it was opened: the change is copied up.
BY_DESCRIPTOR = {"reopen", "fchmod", "fchown", "futimens", "fsetxattr"}


@pytest.fixture(scope="module")
def archive_of_writes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of one static program and, in /work, of what it changes."""
    folder = tmp_path_factory.mktemp("writes")
    compiler = shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler (Debian: gcc, libc6-dev)")
    program = folder / "writes"
    run([compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-o", program, SOURCE])
    names = run([program, "names"]).stdout.split()
    members = [
        mkimage.folder(f"work/{name}")
        if name.endswith("/")
        else mkimage.file(f"work/{name}", b"content\n")
        for name in names
    ]
    base = mkimage.layer(mkimage.file("writes", program.read_bytes(), mode=0o755))
    tree = mkimage.layer(mkimage.folder("tmp"), mkimage.folder("work"), *members)
    archive = folder / "writes.tar"
    mkimage.docker_archive(archive, [mkimage.Spec(IMAGE, [base, tree])])
    return archive


@dataclass
class Site:
    """A place where a user has a store, and what the user's commands run with."""

    home: str
    cwd: Path
    store: str = ""  # LPMX_HOME; "": below the home
    volumes: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    wrap: Callable[[list[str]], list[str]] = list  # a command, in a mount namespace perhaps

    def lpmx(self, *words: str, check: bool = True) -> str:
        env = {"HOME": self.home, "PWD": str(self.cwd), **engine_environment(), **self.env}
        if self.store:
            env["LPMX_HOME"] = self.store
        return run(self.wrap([*lpmx_command(), *words]), env=env, cwd=self.cwd, check=check).stdout


def make_link(link: Path, target: Path) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)
    return link


def plain(top: Path) -> Site:
    (top / "home").mkdir(exist_ok=True)
    return Site(str(top / "home"), top, str(top / "store"))


def link_above_home(top: Path) -> Site:
    """/home -> /gpfs/home"""
    return Site(f"{make_link(top / 'home', top / 'gpfs')}/ada", top / "home" / "ada")


def home_is_a_link(top: Path) -> Site:
    """As automounters have it: /home/ada -> /net/server/ada"""
    return Site(f"{make_link(top / 'ada', top / 'net' / 'server' / 'ada')}", top / "ada")


def home_of_two_slashes(top: Path) -> Site:
    return Site(f"/{make_link(top / 'home', top / 'gpfs')}//ada/", top / "gpfs" / "ada")


def store_behind_link(top: Path) -> Site:
    return Site(str(top / "home"), top, f"{make_link(top / 'lnk', top / 'real')}/store")


def store_is_a_link(top: Path) -> Site:
    return Site(str(top / "home"), top, str(make_link(top / "lnk", top / "real")))


def data_folder_behind_link(top: Path) -> Site:
    data = make_link(top / "data", top / "scratch")
    return Site(str(top / "home"), top, env={"XDG_DATA_HOME": str(data)})


def store_of_two_slashes(top: Path) -> Site:
    return Site(str(top / "home"), top, f"/{top}//store/.")


def relative_store(top: Path) -> Site:
    return Site(str(top / "home"), top, "store")


def store_above_a_link(top: Path) -> Site:
    make_link(top / "lnk", top / "far" / "away")
    return Site(str(top / "home"), top, str(top / "lnk" / ".." / "store"))


def folder_above_store_is_bound(top: Path) -> Site:
    return Site(str(top / "home"), top, str(top / "store"), (f"{top}:/top",))


def folder_above_store_is_bound_by_a_link(top: Path) -> Site:
    make_link(top / "lnk", top / "real")
    return Site(str(top / "home"), top, str(top / "real" / "store"), (f"{top}/lnk:/top",))


def link_in_the_middle(name: str) -> Callable[[Path], Site]:
    """A folder of the store that was moved elsewhere, a symlink in its place."""

    def make(top: Path) -> Site:
        site = Site(str(top / "home"), top, str(top / "store"), (f"{top}:/top",))
        site.lpmx("images")
        (top / "store" / name).rename(top / "moved")
        (top / "store" / name).symlink_to(top / "moved")
        return site

    make.__name__ = f"{name}_is_a_link"
    return make


def mounted_twice(top: Path, store: str) -> Site:
    """One directory at two places, by a mount of this command alone."""
    (top / "one").mkdir()
    (top / "two").mkdir()
    script = f'mount --bind {top}/one {top}/two && exec "$0" "$@"'

    def wrap(command: list[str]) -> list[str]:
        return ["unshare", "-m", "--propagation", "private", "sh", "-c", script, *command]

    volumes = (f"{top}/one:/one", f"{top}/two:/two")
    return Site(str(top / "home"), top, f"{top}/{store}/store", volumes, wrap=wrap)


def second_mount_is_bound(top: Path) -> Site:
    return mounted_twice(top, "one")


def store_on_second_mount(top: Path) -> Site:
    return mounted_twice(top, "two")


SITES = [
    plain,
    link_above_home,
    home_is_a_link,
    home_of_two_slashes,
    store_behind_link,
    store_is_a_link,
    data_folder_behind_link,
    store_of_two_slashes,
    relative_store,
    store_above_a_link,
    folder_above_store_is_bound,
    folder_above_store_is_bound_by_a_link,
    link_in_the_middle("layers"),
    link_in_the_middle("containers"),
    link_in_the_middle("views"),
    pytest.param(second_mount_is_bound, marks=pytest.mark.needs_root),
    pytest.param(store_on_second_mount, marks=pytest.mark.needs_root),
]


def layers_of(top: Path) -> list[Path]:
    """Every layer's folder below @top, symlinks not followed."""
    return [
        Path(folder, name)
        for folder, names, _ in os.walk(top)
        for name in names
        if len(name) == 64 and "fs" in os.listdir(Path(folder, name))
    ]


def snapshot(layers: list[Path]) -> dict[str, tuple[object, ...]]:
    """All that a change could show in, but the change time: reading an ACL may not touch that."""
    found: dict[str, tuple[object, ...]] = {}
    for layer in layers:
        for path in sorted([layer, *layer.rglob("*")]):
            status = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
            found[str(path)] = (
                status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_mtime_ns,
                status.st_ctime_ns, content, tuple(os.listxattr(path, follow_symlinks=False)),
            )  # fmt: skip
    return found


def answers(output: str) -> dict[tuple[str, str], str]:
    """(change, way) -> what was answered."""
    lines = [line.split(" ", 2) for line in output.splitlines()]
    return {(change, way): answer for change, way, answer in lines}


def shown_places(site: Site, top: Path, tree: Path) -> set[str]:
    """What the layer's directory @tree is called in a container that shows all of @top."""
    shown = {str(tree)}
    for volume in site.volumes:
        source, target = (Path(word) for word in volume.split(":"))
        if tree.is_relative_to(source.resolve()):
            shown.add(str(target / tree.relative_to(source.resolve())))
        elif source.name == "two":  # where the mount of the command alone has it
            shown.add(str(target / tree.relative_to(top / "one")))
    return shown


@pytest.mark.parametrize("make", SITES, ids=lambda make: make.__name__)
def test_layers_stay_as_they_are(
    make: Callable[[Path], Site], archive_of_writes: Path, tmp_path: Path
) -> None:
    top = tmp_path.resolve()
    site = make(top)
    Path(site.home).mkdir(exist_ok=True)
    site.lpmx("load", str(archive_of_writes))
    layers = layers_of(top)
    assert len(layers) == 2
    before = snapshot(layers)
    binds = [word for volume in site.volumes for word in ("-v", volume)]

    own = answers(site.lpmx("run", "--rm", *binds, IMAGE, "/writes", "/work"))
    wrong = {key: answer for key, answer in own.items() if answer != "ok" and key[0] != "setflags"}
    assert wrong == {}
    assert len(own) == WAYS * CHANGES
    assert snapshot(layers) == before

    closed = answers(site.lpmx("run", "--rm", "--read-only", *binds, IMAGE, "/writes", "/work"))
    done = {change for (change, _), answer in closed.items() if answer == "ok"}
    assert done <= {"rename-directory"}  # EXDEV before EROFS
    assert len(closed) == WAYS * CHANGES
    assert snapshot(layers) == before

    (tree,) = [layer / "fs" / "work" for layer in layers if (layer / "fs" / "work").exists()]
    for folder in sorted(shown_places(site, top, tree)):
        told = answers(
            site.lpmx("run", "--rm", *binds, "-v", f"{top}:{top}", IMAGE, "/writes", folder)
        )
        assert len(told) == WAYS * CHANGES
        assert snapshot(layers) == before, folder
        by_name = {
            answer
            for (change, way), answer in told.items()
            if way == "absolute" and change not in {"rename-directory", "bind", *BY_DESCRIPTOR}
        }
        assert by_name <= REFUSED, told


def test_a_layer_bound_by_itself_is_read_only(archive_of_writes: Path, tmp_path: Path) -> None:
    site = plain(tmp_path.resolve())
    site.lpmx("load", str(archive_of_writes))
    layers = layers_of(tmp_path.resolve())
    before = snapshot(layers)
    (tree,) = [layer / "fs" / "work" for layer in layers if (layer / "fs" / "work").exists()]
    told = answers(site.lpmx("run", "--rm", "-v", f"{tree}:/bound", IMAGE, "/writes", "/bound"))
    assert told["write", "absolute"] == "Read-only file system"
    assert snapshot(layers) == before


def test_a_new_layer_can_be_loaded_through_a_bind(archive_of_writes: Path, tmp_path: Path) -> None:
    """What guards the layers leaves room for others: `lpmx load` in a container adds one."""
    site = plain(tmp_path.resolve())
    site.lpmx("load", str(archive_of_writes))
    new = "f" * 64
    script = "import os, sys; os.mkdir(sys.argv[1]); os.rename(sys.argv[1], sys.argv[2])"
    python = sys.executable
    if not os.path.exists(python):
        pytest.skip("no Python")
    store = tmp_path.resolve() / "store"
    binds = ("/usr", "/lib", "/lib64", sys.base_prefix, sys.prefix, str(tmp_path.resolve()))
    volumes = [
        word for path in dict.fromkeys(binds) if os.path.isdir(path) for word in ("-v", path)
    ]
    site.lpmx(
        "run", "--rm", *volumes, IMAGE, python, "-c", script,
        str(store / "tmp" / "new"), str(store / "layers" / new),
    )  # fmt: skip
    assert (store / "layers" / new).is_dir()


def test_a_folder_renamed_under_a_running_program(archive_of_writes: Path, tmp_path: Path) -> None:
    """The program stands in a directory of the image when the store's parent gets another name."""
    top = tmp_path.resolve()
    site = Site(str(top / "home"), top, str(top / "one" / "store"), (f"{top}:/top",))
    (top / "home").mkdir()
    site.lpmx("load", str(archive_of_writes))
    shell = shutil.which("busybox")
    if not shell:
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    script = """
        cd /work; echo ready >/top/ready
        while [ ! -e /top/go ]; do /busybox sleep 0.05; done
        echo changed >write-absolute; echo changed >fresh; : >>append-absolute
        echo ended >/top/ended
    """
    env = clean_environment({"HOME": site.home, "LPMX_HOME": site.store, **engine_environment()})
    words = [
        "run",
        "--rm",
        "-v",
        f"{top}:/top",
        "-v",
        f"{shell}:/busybox",
        IMAGE,
        "/busybox",
        "sh",
        "-c",
    ]
    with subprocess.Popen([*lpmx_command(), *words, script], env=env, cwd=top) as process:
        until((top / "ready").exists, what="the program stands in /work")
        (top / "one").rename(top / "other")
        before = snapshot(layers_of(top))
        (top / "go").touch()
        process.wait(timeout=60)
    assert snapshot(layers_of(top)) == before
    (top / "other").rename(top / "one")


@pytest.fixture
def elsewhere(archive_of_writes: Path, tmp_path: Path) -> Site:
    """A home behind a symlink, which leads to another place on the next node."""
    top = tmp_path.resolve()
    make_link(top / "home", top / "login")
    (top / "login" / "ada").mkdir()
    site = Site(str(top / "home" / "ada"), top / "home" / "ada")
    site.lpmx("load", str(archive_of_writes))
    return site


def move_to_next_node(top: Path) -> None:
    """The same file system at the same name, by another way."""
    (top / "login").rename(top / "compute")
    (top / "home").unlink()
    (top / "home").symlink_to(top / "compute")


@pytest.mark.parametrize("how", ["kept", "exposed"])
def test_a_start_on_a_node_that_mounts_the_home_elsewhere(
    how: str, elsewhere: Site, tmp_path: Path
) -> None:
    """What was made on the login node works where the real name of the home is another."""
    top = tmp_path.resolve()
    if how == "kept":
        elsewhere.lpmx("create", "--name", "box", IMAGE, "/writes", "/work")
    else:
        elsewhere.lpmx("expose", IMAGE, "/writes", "--to", f"{elsewhere.home}/bin")
    before = {
        name.replace("/login/", "/compute/"): v for name, v in snapshot(layers_of(top)).items()
    }
    move_to_next_node(top)
    if how == "kept":
        told = answers(elsewhere.lpmx("start", "-a", "box"))
    else:
        command = [f"{elsewhere.home}/bin/writes", "/work"]
        told = answers(run(command, env={"HOME": elsewhere.home}, cwd=elsewhere.cwd).stdout)
    wrong = {key: answer for key, answer in told.items() if answer != "ok" and key[0] != "setflags"}
    assert wrong == {}
    assert snapshot(layers_of(top)) == before
    # ... and what is in the home is found by relative names there, too
    (Path(elsewhere.home) / "mine").mkdir()
    for name in run([*_compiled_names(top)]).stdout.split():
        path = Path(elsewhere.home) / "mine" / name
        path.mkdir() if name.endswith("/") else path.write_text("content\n")
    program = ["exec", "box"] if how == "kept" else ["run", "--rm", IMAGE]
    told = answers(elsewhere.lpmx(*program, "/writes", f"{elsewhere.home}/mine"))
    assert {answer for (change, _), answer in told.items() if change != "setflags"} == {"ok"}


def _compiled_names(top: Path) -> list[str]:
    (program,) = {str(path) for path in top.rglob("layers/*/fs/writes")}
    return [program, "names"]


def test_the_store_is_one_whatever_it_is_called(archive_of_writes: Path, tmp_path: Path) -> None:
    """Containers are found, stopped and removed by every name of the store."""
    top = tmp_path.resolve()
    lnk = make_link(top / "lnk", top / "real")
    by_link, by_name = Lpmx(lnk / "store"), Lpmx(top / "real" / "store")
    by_link("load", archive_of_writes)
    by_link("create", "--name", "box", IMAGE, "/writes", "/work")
    assert "box" in by_name("ps", "-a").stdout
    told = answers(by_name("start", "-a", "box").stdout)
    assert {answer for (change, _), answer in told.items() if change != "setflags"} == {"ok"}
    assert "/work/write-absolute" in by_link("diff", "box").stdout
    assert "upper" in by_name("why", "-c", "box", "/work/write-absolute").stdout
    by_name("commit", "box", "changed:1")
    by_link("rm", "box")
    assert by_name("ps", "-aq").stdout == ""


def test_a_kernel_of_a_store_behind_a_link(
    store: Lpmx,
    image: Callable[[str], str],
    bare_jupyter: Jupyter,
    start: Callable[..., Session],
    tmp_path: Path,
) -> None:
    """Cells go into directories of the image and write there by relative names."""
    name = image("demo")
    behind = Lpmx(make_link(tmp_path / "lnk", store.home.parent) / store.home.name)
    Jupyter(bare_jupyter.folder, behind).lpmx("kernel", "install", name, "--name", "demo")
    files = store.home.glob("layers/*/fs/etc/lpmx-image")
    (file,) = (file for file in files if file.read_text() == "demo\n")
    before = snapshot([file.parent])
    kernel = start()
    kernel.run("import os; os.chdir('/etc'); here = os.open('.', os.O_RDONLY)")
    kernel.run("open('lpmx-image', 'a').write('changed'); os.chmod('passwd', 0o600)")
    kernel.run("os.unlink('group', dir_fd=here); os.mkdir('new', dir_fd=here)")
    assert kernel.value("os.getcwd()") == "/etc"
    assert kernel.value("open('/etc/lpmx-image').read()") == "demo\nchanged"
    assert kernel.value("'group' in os.listdir(here), os.path.isdir('new')") == (False, True)
    assert snapshot([file.parent]) == before
