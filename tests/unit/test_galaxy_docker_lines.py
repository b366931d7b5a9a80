"""Golden command lines: what the real clients call docker with, word for word, and what it means.

The lines were logged from the clients themselves (Galaxy 26.1.1, cwltool 3.3, miniwdl 1.16) or read
in their code (older Galaxy, Nextflow); only paths and ids are shortened.
"""

from __future__ import annotations

import json
import os

import pytest
from support import mkimage as mk
from support.offline import go_offline

from lpmx_galaxy.docker import flags
from lpmx_galaxy.docker.main import main
from lpmx_galaxy.docker.run import decide
from lpmx_galaxy.frontend import supply
from lpmx_galaxy.frontend import unenforced as notes
from lpmx_galaxy.frontend.goflags import parse
from lpmx_runtime.errors import ImageNotFoundError, UsageError
from lpmx_runtime.images.load import load
from lpmx_runtime.store.store import Store

IMAGE = "quay.io/biocontainers/tool:1.0--0"
SPEC = mk.Spec(
    IMAGE,
    [mk.layer(mk.folder("bin"), mk.file("bin/sh", b"#!", mode=0o755), mk.folder("tmp"))],
    {"Env": ["PATH=/usr/local/bin:/bin"], "Cmd": ["/bin/sh"], "Entrypoint": ["/bin/enter"]},
)


@pytest.fixture
def store(tmp_path, monkeypatch):
    store = Store.open(tmp_path / "store")
    load(store, mk.docker_archive(tmp_path / "image.tar", [SPEC], style="v1"))
    monkeypatch.setenv("LPMX_HOME", str(store.root))
    go_offline(monkeypatch)
    monkeypatch.delenv("LPMX_SUPPLY", raising=False)
    return store


@pytest.fixture
def place(tmp_path):
    """A folder with what the command lines name; its path stands for JOB in them."""
    for name in ("working", "outputs", "tmp", "home", "galaxy/tools", "data"):
        (tmp_path / "job" / name).mkdir(parents=True)
    (tmp_path / "job" / "in.txt").write_text("data")
    return str(tmp_path / "job")


ENVIRON = {
    "HOME": "/host/home", "TMPDIR": "/host/tmp", "NXF_TASK_WORKDIR": "/nxf", "PATH": "/host/bin",
    "CUDA_VISIBLE_DEVICES": "1", "SECRET": "x",
}  # fmt: skip
GALAXY = [
    "-e", "GALAXY_SLOTS=1", "-e", "GALAXY_MEMORY_MB=", "-e", "GALAXY_MEMORY_MB_PER_SLOT=",
    "-e", "HOME=JOB/home", "-e", "_GALAXY_JOB_HOME_DIR=JOB/home", "-e", "_GALAXY_JOB_TMP_DIR=JOB/tmp",
    "-e", "TMPDIR=JOB/tmp", "-e", "TMP=JOB/tmp", "-e", "TEMP=JOB/tmp",
    "--name", "ce1f10e8fa784fd0b4b1d4da5dbb97f5",
    "-v", "JOB/tmp:JOB/tmp:rw", "-v", "JOB/tmp:JOB/tmp:rw", "-v", "JOB/galaxy:JOB/galaxy:ro",
    "-v", "JOB/galaxy/tools:JOB/galaxy/tools:ro", "-v", "JOB:JOB:ro",
    "-v", "JOB/outputs:JOB/outputs:rw", "-v", "JOB/home:JOB/home:rw",
    "-v", "JOB/working:JOB/working:rw", "--cpus", "1", "-w", "JOB/working",
]  # fmt: skip
TOOL = [IMAGE, "/bin/sh", "JOB/tool_script.sh"]
USER = f"{os.getuid()}:{os.getgid()}"
LINES = {
    "galaxy": ["run", *GALAXY, "--rm", "--user", USER, *TOOL],
    "galaxy-interactive": ["run", "-p", "8888", *GALAXY, "--net", "bridge", "--rm", "--user", USER, *TOOL],
    "galaxy-extra": ["-H", "tcp://host:1", "run", *GALAXY, "--rm", "--memory=4g", "--shm-size", "1g",
                     "--user", USER, *TOOL],
    "galaxy-tmp-dir": ["run", *GALAXY, "-v", "JOB/tmp:/tmp:rw", "--rm", "--user", USER, *TOOL],
    "cwltool": ["run", "-i", "--mount=type=bind,source=JOB/working,target=/wDir",
                "--mount=type=bind,source=JOB/tmp,target=/tmp",
                "--mount=type=bind,source=JOB/in.txt,target=/var/lib/cwl/stg1/in.txt,readonly",
                "--workdir=/wDir", "--read-only=true", "--net=none", "--log-driver=none",
                f"--user={USER}", "--rm", "--cidfile=JOB/cid", "--env=TMPDIR=/tmp",
                "--env=HOME=/wDir", "--memory=100m", "--cpus=1", IMAGE, "cat", "x"],
    "cwltool-podman": ["run", "-i", "--userns=keep-id", "--mount=type=bind,source=JOB/working,target=/wDir",
                       "--workdir=/wDir", "--rm", "--env=HOME=/wDir", IMAGE, "cat"],
    "cwltool-user-space": ["run", "--volume=JOB/working:/wDir", "--volume=JOB/in.txt:/stg/in.txt",
                           "--workdir=/wDir", "--rm", "--env=TMPDIR=/tmp", "--env=HOME=/wDir", IMAGE, "cat"],
    "cwltool-udocker": ["--quiet", "run", "--nobanner", "--volume=JOB/working:/wDir", "--workdir=/wDir",
                        "--rm", "--env=HOME=/wDir", IMAGE, "cat"],
    "miniwdl-podman": ["run", "--rm", "--workdir", "/mnt/miniwdl_task_container/work", "--cpus", "1",
                       "--memory", "1073741824", "--user", USER, "--privileged",
                       "-v", "JOB/in.txt:/mnt/miniwdl_task_container/work/_miniwdl_inputs/0/in.txt:ro",
                       "-v", "JOB/working:/mnt/miniwdl_task_container/work", IMAGE, "/bin/sh", "-c", "x"],
    "miniwdl-udocker": ["--allow-root", "run", "--workdir", "/mnt/w", "--nobanner", "--rm",
                        "-v", "JOB/working:/mnt/w", IMAGE, "/bin/sh", "-c", "x"],
    "nextflow": ["run", "-i", "--cpu-shares", "1024", "--memory", "10g", "-e", "NXF_TASK_WORKDIR",
                 "-e", "NXF_DEBUG=1", "-v", "JOB/tmp:/tmp", "-v", "JOB:JOB", "-w", "JOB/working",
                 "--entrypoint", "/bin/bash", "--name", "nxf-abc", IMAGE, "-ue", "JOB/.command.sh"],
    "nextflow-podman": ["run", "-i", "--cpus", "1.0", "--platform", "linux/amd64", "--device", "/dev/fuse",
                        "--cap-add", "SYS_ADMIN", "-t", "-v", "JOB:JOB:ro", "-w", "JOB/working",
                        "--name", "nxf-x", IMAGE, "/bin/bash", "-ue", "JOB/.command.sh"],
}  # fmt: skip


def decided(store, place, line):
    words = [word.replace("JOB", place) for word in line]
    words = words[words.index("run") + 1 :]
    parsed = parse(words, flags.RUN, command="lpmx-docker run")
    image = supply.obtain(store, parsed.rest[0])
    return decide(store, image, parsed, ENVIRON)


@pytest.mark.parametrize("name", LINES)
def test_golden_line_is_understood(store, place, name):
    container = decided(store, place, LINES[name]).draft.container
    binds = {bind.dst: bind for bind in container.binds}
    assert container.image_name == IMAGE
    assert "/host/home" not in binds
    assert "SECRET" not in container.env
    assert container.env["PATH"] == "/usr/local/bin:/bin"


def test_galaxy_job_sees_its_folders_with_galaxys_rights(store, place):
    wanted = decided(store, place, LINES["galaxy-interactive"])
    container = wanted.draft.container
    rights = {
        bind.dst.removeprefix(place): "ro" if bind.read_only else "rw"
        for bind in container.binds
        if bind.dst.startswith(place)
    }
    assert rights == {"": "ro", "/tmp": "rw", "/outputs": "rw", "/home": "rw", "/working": "rw"}
    assert container.argv == ("/bin/enter", "/bin/sh", f"{place}/tool_script.sh")
    assert container.cwd == f"{place}/working"
    assert container.name == "ce1f10e8fa784fd0b4b1d4da5dbb97f5"
    assert container.auto_remove
    assert container.identity is None
    assert container.env["GALAXY_MEMORY_MB"] == ""
    assert container.env["HOME"] == f"{place}/home"
    ((inside, outside),) = container.ports
    assert inside == 8888
    assert outside > 1023
    assert wanted.here.environ == {"CUDA_VISIBLE_DEVICES": "1", "PATH": "/host/bin"}


def test_remapped_tmp_does_not_hide_binds_below_the_hosts(store, place):
    binds = {b.dst: b for b in decided(store, place, LINES["galaxy-tmp-dir"]).draft.container.binds}
    assert binds["/tmp"].src == f"{place}/tmp"
    assert binds[f"{place}/working"].src == f"{place}/working"


def test_cwltool_job_is_read_only_but_for_its_mounts(store, place):
    container = decided(store, place, LINES["cwltool"]).draft.container
    binds = {bind.dst: bind for bind in container.binds}
    assert container.read_only
    assert binds["/var/lib/cwl/stg1/in.txt"].file
    assert binds["/var/lib/cwl/stg1/in.txt"].read_only
    assert not binds["/wDir"].read_only


def test_nextflow_variable_without_a_value_is_the_hosts(store, place):
    container = decided(store, place, LINES["nextflow"]).draft.container
    assert container.env["NXF_TASK_WORKDIR"] == "/nxf"
    assert container.argv == ("/bin/bash", "-ue", f"{place}/.command.sh")
    assert not container.auto_remove


def test_missing_directory_of_a_volume_is_made_and_one_of_a_mount_is_not(store, place):
    line = ["run", "-v", "JOB/new/dir:/x", IMAGE]
    decided(store, place, line)
    assert os.path.isdir(f"{place}/new/dir")
    with pytest.raises(UsageError, match="does not exist"):
        decided(store, place, ["run", "--mount", "type=bind,src=JOB/no,dst=/x", IMAGE])


# ---- the other commands


def test_inspect_answers_by_its_status_and_by_json(store, capsys):
    assert main(["inspect", IMAGE]) == 0
    (image,) = json.loads(capsys.readouterr().out)
    assert image["RepoTags"] == [IMAGE]
    assert image["Config"]["Env"] == ["PATH=/usr/local/bin:/bin"]
    assert main(["inspect", "no/such:1"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("[]\n", "Error: No such object: no/such:1\n")


def test_images_are_listed_as_galaxy_reads_them(store, capsys):
    assert main(["images"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.startswith("REPOSITORY")
    assert line.split()[:2] == ["quay.io/biocontainers/tool", "1.0--0"]  # Galaxy 22.1 to 25.0
    assert main(["images", "--no-trunc", "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["Repository"], row["Tag"]) == ("quay.io/biocontainers/tool", "1.0--0")
    assert row["ID"] == f"sha256:{SPEC.id}"


@pytest.mark.parametrize("command", ["push", "login", "swarm", "image prune"])
def test_commands_that_are_not_there_are_refused_by_name(store, capsys, command):
    assert main(command.split()) == 2
    assert command in capsys.readouterr().err


def test_unknown_flag_of_run_is_refused_as_docker_does(store, capsys):
    assert main(["run", "--frobnicate", IMAGE]) == 125
    assert "unknown flag --frobnicate" in capsys.readouterr().err


def test_another_processor_is_refused(store, capsys):
    assert main(["run", "--platform", "linux/arm64", IMAGE]) == 125
    assert "another processor" in capsys.readouterr().err


def test_missing_image_says_how_to_get_it(store, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["run", "--rm", "no/such:1", "true"]) == 125
    error = capsys.readouterr().err
    assert "no/such:1: no such image" in error
    assert "lpmx load" in error
    assert main(["pull", "no/such:1"]) == 1


def test_kill_of_an_unknown_container_says_so(store, capsys):
    assert main(["kill", "ce1f10e8fa784fd0b4b1d4da5dbb97f5"]) == 1
    assert "No such container" in capsys.readouterr().err


def test_what_cannot_be_enforced_is_noted_once_and_off_stderr(store, capsys):
    for _ in range(2):
        notes.note(store, "lpmx-docker run", {"--memory": "no cgroups"})
    assert notes.known(store) == ["lpmx-docker run --memory: no cgroups"]
    assert capsys.readouterr().err == ""
    assert main(["info"]) == 0
    assert "lpmx-docker run --memory: no cgroups" in capsys.readouterr().out


# ---- where images come from


@pytest.mark.parametrize(
    "name",
    [
        "docker_quay.io_slash_org_slash_new:2.tar",  # Galaxy's cache of images
        "quay.io_org_new_2.tar",
        "quay.io%2Forg%2Fnew:2.tar",
        "anything-at-all.tar",  # found by the name inside
    ],
)
def test_archives_in_a_folder_are_found_by_name_and_by_content(store, tmp_path, monkeypatch, name):
    supplied = tmp_path / "supply"
    supplied.mkdir()
    spec = mk.Spec("quay.io/org/new:2", SPEC.layers, {"Cmd": ["/bin/sh"]})
    mk.docker_archive(supplied / name, [spec], style="oci")
    monkeypatch.setenv("LPMX_SUPPLY", str(supplied))
    assert supply.obtain(store, "quay.io/org/new:2").id == spec.id
    with pytest.raises(ImageNotFoundError):
        supply.obtain(store, "quay.io/org/new:3")


def test_a_named_archive_without_a_name_inside_gets_the_one_asked_for(store, tmp_path, monkeypatch):
    supplied = store.root / "supply"
    supplied.mkdir()
    spec = mk.Spec(None, SPEC.layers, {"Cmd": ["/bin/true"]})
    mk.docker_archive(supplied / "org_slash_bare:1.tar", [spec], style="v1")
    assert supply.obtain(store, "org/bare:1").names == ("org/bare:1",)


def test_pull_of_what_is_here_is_up_to_date(store, capsys):
    assert main(["pull", IMAGE]) == 0
    assert "up to date" in capsys.readouterr().out


def test_import_makes_an_image_of_a_tar(store, tmp_path, capsys):
    rootfs = tmp_path / "rootfs.tar"
    rootfs.write_bytes(mk.layer(mk.file("etc/x", b"x")))
    assert main(["import", "-c", 'CMD ["/bin/x"]', str(rootfs), "imported:1"]) == 0
    image = store.resolve("imported:1")
    assert capsys.readouterr().out.strip() == f"sha256:{image.id}"
    assert image.cmd == ("/bin/x",)


def test_rmi_of_one_of_two_names_keeps_the_image(store, capsys):
    assert main(["tag", IMAGE, "other:1"]) == 0
    assert main(["rmi", "other:1"]) == 0
    assert store.resolve(IMAGE).names == (IMAGE,)
    assert main(["rmi", IMAGE]) == 0
    assert store.images() == []
