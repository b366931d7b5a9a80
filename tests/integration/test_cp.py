"""`lpmx cp` follows docker's rules for paths, and what it makes is the container's own."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile

import pytest
from support.lpmx import lpmx_command


@pytest.fixture(scope="module")
def bound(tmp_path_factory):
    """A folder of the host that the container shows at its own path."""
    return tmp_path_factory.mktemp("box")


@pytest.fixture(scope="module")
def box(store, busybox_image, bound):
    """A container with a few things in /data."""
    folder = bound
    store("create", "--fakeroot", "--name", "box-for-cp", busybox_image, cwd=folder)
    script = (
        "mkdir -p /data/sub && cd /data && echo one > one && chown 5:6 one && chmod 4751 one"
        " && ln one twin && ln -s one link && echo two > sub/two && ln -s /data/sub away"
        " && mkdir /data/shut && echo s > shut/s && chmod 555 shut && mkfifo fifo"
    )
    store("exec", "box-for-cp", "sh", "-c", script, cwd=folder)
    yield "box-for-cp"
    store("rm", "box-for-cp")


@pytest.fixture
def shell(run_lpmx, box):
    """shell(SCRIPT): its output in the container."""
    return lambda script: run_lpmx("exec", box, "sh", "-c", script).stdout.strip()


@pytest.fixture
def here(tmp_path):
    """A folder of the host with something to copy."""
    folder = tmp_path / "here"
    (folder / "tree" / "deep").mkdir(parents=True)
    (folder / "file").write_text("host file")
    (folder / "file").chmod(0o640)
    (folder / "tree" / "deep" / "x").write_text("x")
    (folder / "tree" / "link").symlink_to("deep/x")
    os.link(folder / "tree" / "deep" / "x", folder / "tree" / "x2")
    (folder / "alias").symlink_to("file")
    return folder


@pytest.fixture
def fresh(shell, request):
    """A fresh folder of the container."""
    name = f"/to/{abs(hash(request.node.name))}"
    shell(f"mkdir -p {name}")
    return name


@pytest.mark.parametrize(
    ("source", "place", "wanted"),
    [
        ("file", "/new", "/new"),
        ("file", "/", "/file"),
        ("file", "", "/file"),
        ("tree", "/new", "/new/deep/x"),
        ("tree/", "/new/", "/new/deep/x"),
        ("tree", "", "/tree/deep/x"),
        ("tree/.", "", "/deep/x"),
        ("tree/", "", "/tree/deep/x"),
    ],
)
def test_names_in_the_container(run_lpmx, box, shell, here, fresh, source, place, wanted):
    run_lpmx("cp", f"{here}/{source}", f"{box}:{fresh}{place}")
    assert shell(f"cat {fresh}{wanted}") in {"host file", "x"}


@pytest.mark.parametrize(
    ("source", "place", "wanted"),
    [
        ("/data/one", "new", "new"),
        ("/data/one", ".", "one"),
        ("data/one", "", "one"),
        ("/data/sub", "new", "new/two"),
        ("/data/sub", ".", "sub/two"),
        ("/data/sub/.", ".", "two"),
    ],
)
def test_names_on_the_host(run_lpmx, box, tmp_path, source, place, wanted):
    out = tmp_path / "out"
    out.mkdir()
    run_lpmx("cp", f"{box}:{source}", f"{out}/{place}")
    assert (out / wanted).read_text() in {"one\n", "two\n"}


def test_what_arrives_in_the_container_is_root_s(run_lpmx, box, shell, here, fresh):
    run_lpmx("cp", here / "tree", f"{box}:{fresh}")
    run_lpmx("cp", here / "file", f"{box}:{fresh}")
    shown = shell(f"cd {fresh}; stat -c '%n %u:%g %a %F %h' tree tree/* tree/deep/x file")
    assert shown.splitlines() == [
        f"tree 0:0 {mode_of(here / 'tree')} directory 3",
        f"tree/deep 0:0 {mode_of(here / 'tree' / 'deep')} directory 2",
        "tree/link 0:0 777 symbolic link 1",
        f"tree/x2 0:0 {mode_of(here / 'tree' / 'x2')} regular file 2",
        f"tree/deep/x 0:0 {mode_of(here / 'tree' / 'x2')} regular file 2",
        "file 0:0 640 regular file 1",
    ]


def mode_of(path):
    return f"{stat.S_IMODE(os.lstat(path).st_mode):o}"


def test_archive_keeps_the_source_s_owner(run_lpmx, box, shell, here, fresh):
    run_lpmx("cp", "-a", here / "file", f"{box}:{fresh}")
    assert shell(f"stat -c %u:%g {fresh}/file") == f"{os.getuid()}:{os.getgid()}"


def test_what_arrives_on_the_host_is_the_user_s(run_lpmx, box, tmp_path):
    run_lpmx("cp", f"{box}:/data", tmp_path / "out")
    one = os.lstat(tmp_path / "out" / "one")
    assert (one.st_uid, stat.S_IMODE(one.st_mode)) == (os.getuid(), 0o751)
    assert one.st_ino == os.lstat(tmp_path / "out" / "twin").st_ino
    assert os.readlink(tmp_path / "out" / "link") == "one"
    assert stat.S_ISFIFO(os.lstat(tmp_path / "out" / "fifo").st_mode)
    assert mode_of(tmp_path / "out" / "shut") == "555"


@pytest.mark.needs_root
def test_archive_keeps_the_container_s_owner(run_lpmx, box, tmp_path):
    run_lpmx("cp", "-a", f"{box}:/data/one", tmp_path / "one")
    one = os.lstat(tmp_path / "one")
    assert (one.st_uid, one.st_gid, stat.S_IMODE(one.st_mode)) == (5, 6, 0o4751)


def test_links_are_copied_or_followed(run_lpmx, box, shell, here, tmp_path, fresh):
    run_lpmx("cp", here / "alias", f"{box}:{fresh}/as-link")
    run_lpmx("cp", "-L", here / "alias", f"{box}:{fresh}/followed")
    assert shell(f"readlink {fresh}/as-link; cat {fresh}/followed") == "file\nhost file"
    run_lpmx("cp", f"{box}:/data/away", tmp_path / "as-link")
    run_lpmx("cp", "-L", f"{box}:/data/away", tmp_path / "followed")
    assert os.readlink(tmp_path / "as-link") == "/data/sub"
    assert (tmp_path / "followed" / "two").read_text() == "two\n"


def test_links_lead_where_the_container_sees_them(run_lpmx, box, shell, here, tmp_path):
    shell(
        "mkdir -p /etc/inside && ln -sfn /etc/inside /data/etc-link && ln -sfn /../../etc /data/up"
    )
    run_lpmx("cp", here / "file", f"{box}:/data/etc-link/put")
    run_lpmx("cp", here / "file", f"{box}:/data/up/inside/put2")
    assert shell("cat /etc/inside/put /etc/inside/put2") == "host filehost file"
    run_lpmx("cp", f"{box}:/data/up/../etc/inside/put", tmp_path / "put")
    assert (tmp_path / "put").read_text() == "host file"


def test_copies_replace_the_image_s_files(run_lpmx, box, shell, here):
    assert shell("cat /etc/marker") == "upper"
    run_lpmx("cp", here / "file", f"{box}:/etc/marker")
    assert shell("cat /etc/marker") == "host file"
    assert "C /etc/marker" in run_lpmx("diff", box).stdout


def test_a_container_s_own_file_out_of_the_image(run_lpmx, busybox_image, tmp_path):
    run_lpmx("create", "--name", "untouched-for-cp", busybox_image)
    run_lpmx("cp", "untouched-for-cp:/etc/marker", tmp_path / "m")
    run_lpmx("cp", "untouched-for-cp:/etc", tmp_path / "etc")
    run_lpmx("rm", "untouched-for-cp")
    assert (tmp_path / "m").read_text() == "upper\n"
    assert not {"deleted", ".wh.deleted"} & set(os.listdir(tmp_path / "etc"))


def test_between_containers(run_lpmx, box, busybox_image):
    run_lpmx("create", "--fakeroot", "--name", "other-for-cp", busybox_image)
    run_lpmx("cp", "-a", f"{box}:/data", "other-for-cp:/copied")
    shown = run_lpmx("exec", "other-for-cp", "stat", "-c", "%u:%g %a", "/copied/one").stdout
    run_lpmx("rm", "other-for-cp")
    assert shown.strip() == "5:6 4751"


def stream(run_lpmx, store, *arguments, data=None):
    """lpmx cp with bytes on its standard input and output."""
    return subprocess.run(
        [*lpmx_command(), "cp", *arguments], input=data, capture_output=True, check=False,
        env={**os.environ, "LPMX_HOME": str(store.home)}, timeout=120,
    )  # fmt: skip


def test_streams(run_lpmx, store, box, shell, fresh):
    out = stream(run_lpmx, store, f"{box}:/data", "-")
    with tarfile.open(fileobj=io.BytesIO(out.stdout)) as tar:
        members = {member.name: member for member in tar.getmembers()}
    one = members["data/one"]
    assert (one.uid, one.gid, one.mode, one.size) == (5, 6, 0o4751, 4)
    assert members["data/twin"].linkname == "data/one"
    assert members["data/fifo"].isfifo()
    done = stream(run_lpmx, store, "-a", "-", f"{box}:{fresh}", data=out.stdout)
    assert done.returncode == 0, done.stderr
    assert shell(f"stat -c '%u:%g %a %h' {fresh}/data/twin") == "5:6 4751 2"
    stream(run_lpmx, store, "-", f"{box}:{fresh}", data=out.stdout)
    assert shell(f"stat -c '%u:%g' {fresh}/data/one") == "0:0"


@pytest.fixture(scope="module")
def bound_box(store, busybox_image, tmp_path_factory):
    """A container that shows a folder of the host in /data, and has been started."""
    folder = tmp_path_factory.mktemp("bound")
    (folder / "of-the-host").write_text("not the container's")
    (folder / "sub").mkdir()
    name = "bound-box-for-cp"
    store("create", "--fakeroot", "--name", name, "-v", f"{folder}:/data", busybox_image)
    script = (
        "mkdir -p /own/sub && echo one > /own/one && chown 5:6 /own/one && chmod 4751 /own/one"
        " && ln /own/one /own/twin && ln -s one /own/link && mkfifo /own/fifo && rm /etc/marker"
        " && mknod /own/null c 1 3"
    )
    store("exec", name, "sh", "-c", script)
    yield name
    store("rm", name)


def export(store, *arguments):
    return subprocess.run(
        [*lpmx_command(), "export", *arguments], capture_output=True, check=False, timeout=120,
        env={**os.environ, "LPMX_HOME": str(store.home)},
    )  # fmt: skip


def members_of(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name.removeprefix("./"): member for member in tar.getmembers()}


def test_copy_of_the_root_is_the_containers_own_tree(run_lpmx, store, bound_box, tmp_path):
    out = stream(run_lpmx, store, f"{bound_box}:/", "-")
    assert (out.returncode, out.stderr) == (0, b"")
    members = members_of(out.stdout)
    for place in ("data", "proc", "dev", "sys", "tmp"):
        assert place not in members or members[place].isdir(), place
        assert not [name for name in members if name.startswith(f"{place}/")], place
    assert members["own/twin"].islnk()
    assert "bin/sh" in members
    assert "etc/marker" not in members
    run_lpmx("cp", f"{bound_box}:/data", str(tmp_path / "named"))  # a bind that is named itself
    assert (tmp_path / "named" / "of-the-host").read_text() == "not the container's"


def test_export_is_the_containers_own_tree(store, bound_box):
    out = export(store, bound_box)
    assert (out.returncode, out.stderr) == (0, b"")
    members = members_of(out.stdout)
    assert not [name for name in members if name.startswith(("data/", "proc/", "dev/", "sys/"))]
    one = members["own/one"]
    assert (one.uid, one.gid, one.mode, one.size) == (5, 6, 0o4751, 4)
    assert (members["own/twin"].linkname, members["own/link"].linkname) == ("own/one", "one")
    assert members["own/fifo"].isfifo()
    null = members["own/null"]
    assert (null.ischr(), null.devmajor, null.devminor) == (True, 1, 3)
    assert "etc/marker" not in members


def test_export_to_a_file_is_whole_or_nothing(store, bound_box, tmp_path):
    done = export(store, bound_box, "-o", str(tmp_path / "box.tar"))
    assert (done.returncode, done.stdout) == (0, b"")
    assert os.listdir(tmp_path) == ["box.tar"]
    assert (tmp_path / "box.tar").read_bytes() == export(store, bound_box).stdout
    for place in (tmp_path, tmp_path / "missing" / "box.tar"):
        done = export(store, bound_box, "-o", str(place))
        assert done.returncode != 0
        assert done.stderr.startswith(b"lpmx: ")
    assert os.listdir(tmp_path) == ["box.tar"]


def test_what_is_exported_is_an_image_again(store, bound_box, tmp_path):
    done = export(store, bound_box, "-o", str(tmp_path / "box.tar"))
    assert done.returncode == 0, done.stderr
    env = {**os.environ, "LPMX_HOME": str(store.home)}
    docker = [sys.executable, "-m", "lpmx_galaxy.docker"]
    subprocess.run(
        [*docker, "import", str(tmp_path / "box.tar"), "exported:1"], check=True, env=env,
        timeout=120,
    )  # fmt: skip
    script = "stat -c '%u:%g %a %h' /own/twin; cat /own/link; ls /data"
    again = store("run", "--rm", "--fakeroot", "exported:1", "sh", "-c", script, check=False)
    assert again.stdout == "5:6 4751 2\none\n"
    store("rmi", "exported:1")


def test_a_hostile_stream_stays_inside(run_lpmx, store, box, bound, fresh):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(bound)
        tar.addfile(link)
        inner = tarfile.TarInfo("out/planted")
        inner.size = 1
        tar.addfile(inner, io.BytesIO(b"x"))
    done = stream(run_lpmx, store, "-", f"{box}:{fresh}", data=data.getvalue())
    assert b"a symlink leads to a bind" in done.stderr
    assert not (bound / "planted").exists()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("../../x"))
    done = stream(run_lpmx, store, "-", f"{box}:{fresh}", data=data.getvalue())
    assert done.returncode != 0
    assert b"leads out" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{here}/file", "{here}/other"), "neither SRC nor DST is in a container"),
        (("{box}:/nothing", "{here}"), "/nothing: no such file or directory"),
        (("{here}/nothing", "{box}:/"), "nothing: no such file or directory"),
        (("{here}/tree", "{box}:/etc/marker"), "a directory cannot be copied to it"),
        (("{here}/file", "{box}:/not/there"), "No such file or directory"),
        (("{here}/file", "{box}:/newdir/"), "no such directory"),
        (("{here}/file/", "{box}:/"), "not a directory"),
        (("{here}/file", "nobody:/"), "nobody: no such container"),
    ],
)
def test_errors_say_what_is_wrong(run_lpmx, box, here, arguments, message):
    words = [word.format(here=here, box=box) for word in arguments]
    done = run_lpmx("cp", *words, check=False)
    assert done.returncode in {1, 2}
    assert message.lower() in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2
