"""Golden command lines: what the real clients call singularity with, and what it means.

Logged from Galaxy 26.1.1, cwltool 3.3, Snakemake 9.27 and miniwdl 1.16, or read in the code of
older Galaxy, Nextflow and Toil; only paths and ids are shortened.
"""

from __future__ import annotations

import json
import os
import struct

import pytest
from support import mkimage as mk
from support.offline import go_offline

from lpmx_galaxy.frontend.goflags import parse
from lpmx_galaxy.singularity.definition import parse_definition
from lpmx_galaxy.singularity.flags import ACTION
from lpmx_galaxy.singularity.main import main
from lpmx_galaxy.singularity.reference import HEAD
from lpmx_galaxy.singularity.sif import find_partition, is_sif, load_sif, read_config
from lpmx_galaxy.singularity.sources import file_name, find_image
from lpmx_galaxy.singularity.start import decide, read_action
from lpmx_galaxy.singularity.variables import split_env
from lpmx_runtime.errors import LpmxError, UsageError
from lpmx_runtime.images.load import load
from lpmx_runtime.plans.binds import find_bind
from lpmx_runtime.store.store import Store

IMAGE = "quay.io/biocontainers/tool:1.0--0"
SPEC = mk.Spec(
    IMAGE,
    [mk.layer(mk.folder("bin"), mk.file("bin/sh", b"#!", mode=0o755), mk.folder("tmp"))],
    {
        "Env": ["PATH=/usr/local/bin:/bin", "X=image"],
        "Entrypoint": ["/bin/enter"],
        "WorkingDir": "/w",
    },
)


@pytest.fixture
def store(tmp_path, monkeypatch):
    store = Store.open(tmp_path / "store")
    load(store, mk.docker_archive(tmp_path / "image.tar", [SPEC], style="v1"))
    monkeypatch.setenv("LPMX_HOME", str(store.root))
    go_offline(monkeypatch)
    for name in list(os.environ):
        if name.startswith(("LPMX_SUPPLY", "SINGULARITY", "APPTAINER")):
            monkeypatch.delenv(name)
    return store


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name in ("working", "outputs", "tmp", "home", "galaxy"):
        (tmp_path / "job" / name).mkdir(parents=True)
    (tmp_path / "job" / "in.txt").write_text("data")
    monkeypatch.chdir(tmp_path / "job" / "working")
    return str(tmp_path / "job")


@pytest.fixture
def sif(store, tmp_path):
    path = str(tmp_path / "image.sif")
    assert main(["pull", "--name", path, f"docker://{IMAGE}"]) == 0
    return path


GALAXY_BINDS = [
    "-B", "JOB/tmp:JOB/tmp", "-B", "JOB/tmp:JOB/tmp", "-B", "JOB/galaxy:JOB/galaxy", "-B", "JOB:JOB",
    "-B", "JOB/outputs:JOB/outputs", "-B", "JOB/galaxy:/data/refs:ro", "--home", "JOB/home:JOB/home",
]  # fmt: skip
TOOL = ["/bin/sh", "JOB/tool_script.sh"]
LINES = {
    "galaxy-22.1": ["-s", "exec", *GALAXY_BINDS, "SIF", *TOOL],
    "galaxy-24.2": ["-s", "exec", "--cleanenv", "--no-mount", "tmp", *GALAXY_BINDS, "SIF", *TOOL],
    "galaxy-26.1": ["-s", "exec", "--contain", "--pwd", "JOB/working", "--cleanenv", "--ipc", "--pid",
                    "--no-mount", "tmp", *GALAXY_BINDS, "--nv", "SIF", *TOOL],
    "galaxy-docker-name": ["-s", "exec", "--cleanenv", *GALAXY_BINDS, f"docker://{IMAGE}", *TOOL],
    "cwltool": ["--quiet", "run", "--contain", "--ipc", "--cleanenv", "--no-eval", "--pid", "--userns",
                "--home", "JOB/working:/wDir", "--mount=type=bind,source=JOB/tmp,target=/tmp",
                "--mount=type=bind,source=JOB/in.txt,target=/var/lib/cwl/in.txt,readonly",
                "--pwd", "/wDir", "--net", "--network", "none", "SIF", "cat", "x"],
    "cwltool-old": ["--quiet", "exec", "--contain", "--pid", "--ipc", "--home", "JOB/working:/wDir",
                    "--bind", "JOB/tmp:/tmp", "--bind", "JOB/in.txt:/in.txt:ro", "--pwd", "/wDir", "SIF", "cat"],
    "snakemake": ["--quiet", "--silent", "exec", "--home", "JOB/home", "--bind", "JOB/tmp:/mnt/x",
                  "SIF", "bash", "-c", "set -euo pipefail; true"],
    "nextflow": ["exec", "--no-home", "--pid", "--cpus", "1.0", "--memory", "1024m", "-B", "JOB/galaxy:JOB/galaxy:ro",
                 "-B", "JOB", "SIF", "/bin/bash", "-c", "cd JOB/working; /bin/bash -ue JOB/.command.sh"],
    "miniwdl": ["--verbose", "exec", "--pwd", "/mnt/work", "--containall", "--no-mount", "hostfs", "--fakeroot",
                "--bind", "JOB/in.txt:/mnt/work/_inputs/in.txt:ro", "--bind", "JOB/tmp:/tmp",
                "--bind", "JOB/tmp:/var/tmp", "--bind", "JOB/working:/mnt/work", "SIF", "/bin/sh", "-c", "x"],
    "toil": ["exec", "--nv", "--pwd", "/mnt/work", "--containall", "--no-mount", "hostfs", "--fakeroot",
             "--mount", "type=bind,src=JOB/working,dst=/mnt/work", "SIF", "/bin/sh", "-c", "x"],
}  # fmt: skip
ENVIRON = {
    "PATH": "/host/bin", "HOST_ONLY": "1", "LD_LIBRARY_PATH": "/host/lib", "X": "host",
    "SINGULARITYENV_GALAXY_SLOTS": "2", "APPTAINERENV_Y": "apptainer", "SINGULARITYENV_Y": "old",
    "SINGULARITYENV_HOME": "/not/this", "CUDA_VISIBLE_DEVICES": "3", "SINGULARITY_CACHEDIR": "/c",
}  # fmt: skip


def decided(store, place, sif, line, environ):
    words = [word.replace("JOB", place).replace("SIF", sif) for word in line]
    at = next(i for i, word in enumerate(words) if word in ("exec", "run"))
    parsed = read_action(words[at], words[at + 1 :], environ)
    return decide(store, find_image(store, parsed.rest[0]), words[at], parsed, environ)


@pytest.mark.parametrize("name", LINES)
def test_golden_line_is_understood(store, place, sif, name):
    environ = {**ENVIRON, "HOME": f"{place}/home"}
    container = decided(store, place, sif, LINES[name], environ).draft.container
    assert container.image == SPEC.id
    assert container.auto_remove
    assert container.env["GALAXY_SLOTS"] == "2"
    assert container.env["Y"] == "apptainer"
    assert container.env["PATH"] == "/usr/local/bin:/bin"
    clean = {"--cleanenv", "--containall"} & set(LINES[name])
    assert ("HOST_ONLY" in container.env) is not bool(clean)
    assert container.env["X"] == ("image" if clean else "host")
    assert "LD_LIBRARY_PATH" not in container.env


def test_nextflow_without_any_variable_finds_its_way(store, place, sif):
    container = decided(store, place, sif, LINES["nextflow"], {"PATH": "/bin"}).draft.container
    assert find_bind(container.binds, f"{place}/working") is not None
    assert find_bind(container.binds, f"{place}/galaxy").read_only
    assert container.env["HOME"].startswith("/")


def test_galaxy_of_today_is_contained_and_has_its_home(store, place, sif):
    wanted = decided(store, place, sif, LINES["galaxy-26.1"], {**ENVIRON, "HOME": "/host/home"})
    container = wanted.draft.container
    binds = {bind.dst: bind for bind in container.binds}
    assert container.cwd == f"{place}/working"
    assert container.env["HOME"] == f"{place}/home"
    assert "/host/home" not in binds
    assert "/tmp" not in binds
    assert wanted.fresh == ()
    assert binds["/data/refs"].read_only
    assert container.gpus == "all"
    assert wanted.here.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_galaxy_of_old_inherits_directory_and_variables(store, place, sif):
    environ = {**ENVIRON, "HOME": "/host/home"}
    container = decided(store, place, sif, LINES["galaxy-22.1"], environ).draft.container
    assert container.cwd == f"{place}/working"  # the working directory, and not the image's /w
    assert "/tmp" in {bind.dst for bind in container.binds}


def test_contain_hides_home_and_tmp_behind_empty_folders(store, place, sif):
    wanted = decided(store, place, sif, ["exec", "-c", "SIF", "true"], {"HOME": f"{place}/home"})
    assert wanted.fresh == (f"{place}/home", "/tmp", "/var/tmp")


def test_exec_leaves_the_entrypoint_out_and_run_does_not(store, place, sif):
    def argv(action):
        return decided(store, place, sif, [action, "SIF", "cat"], {}).draft.container.argv

    assert argv("exec") == ("cat",)
    assert argv("run") == ("/bin/enter", "cat")


def test_flags_may_come_from_the_environment(store, place, sif):
    environ = {"APPTAINER_BINDPATH": f"{place}:/a,{place}/tmp:/b:ro", "SINGULARITY_CONTAIN": "1"}
    wanted = decided(
        store, place, sif, ["exec", "SIF", "true"], {**environ, "HOME": f"{place}/home"}
    )
    binds = {bind.dst: bind for bind in wanted.draft.container.binds}
    assert (binds["/a"].read_only, binds["/b"].read_only) == (False, True)
    assert "/tmp" in wanted.fresh


def test_path_can_be_put_around_the_images(store, place, sif):
    environ = {"SINGULARITYENV_PREPEND_PATH": "/first", "APPTAINERENV_APPEND_PATH": "/last"}
    container = decided(store, place, sif, ["exec", "SIF", "true"], environ).draft.container
    assert container.env["PATH"] == "/first:/usr/local/bin:/bin:/last"


def test_env_lists():
    assert split_env("A=1,B=2") == ["A=1", "B=2"]
    assert split_env("A=1,2,B=3") == ["A=1,2", "B=3"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["exec", "--no-such", "x", "y"], "unknown flag --no-such"),
        (["exec", "x.sif"], "no command"),
        (["exec", "missing.sif", "true"], "no such file"),
        (["exec", "library://a/b:c", "true"], "library images are not fetched"),
        (["instance", "list"], "no such command"),
        (["build", "x.sif", "x.def"], "No such file"),
        (["exec", "--overlay", "o.img", "x.sif", "true"], "unknown flag --overlay"),
    ],
)
def test_what_is_not_here_is_refused_by_name(store, capsys, words, said):
    assert main(words) == 255
    assert said in capsys.readouterr().err


def test_version_is_one_that_clients_accept(capsys):
    import re

    assert main(["--version"]) == 0
    version = capsys.readouterr().out.strip()
    match = re.fullmatch(r"(.+) version ([0-9.]+)", version)  # cwltool's own pattern
    assert match
    assert match[1] == "apptainer"
    assert tuple(map(int, match[2].split("."))) >= (1, 1, 0)


# ---- files that stand for images


def test_pull_names_its_file_as_apptainer_does(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["pull", f"docker://{IMAGE}"]) == 0
    assert file_name(f"docker://{IMAGE}") == "tool_1.0--0.sif"
    with open("tool_1.0--0.sif", "rb") as file:
        assert file.read().startswith(HEAD)
    assert find_image(store, "tool_1.0--0.sif").id == SPEC.id


def test_pull_does_not_replace_a_file_unasked(store, sif, capsys):
    assert main(["pull", sif, f"docker://{IMAGE}"]) == 255
    assert "--force" in capsys.readouterr().err
    assert main(["pull", "--force", sif, f"docker://{IMAGE}"]) == 0


def test_reference_to_a_lost_image_says_so(store, sif, monkeypatch, capsys):
    store.remove_image(SPEC.id)
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["exec", sif, "true"]) == 255
    assert IMAGE in capsys.readouterr().err


def test_reference_finds_its_image_again_by_name(store, sif, tmp_path):
    store.remove_image(SPEC.id)
    (store.root / "supply").mkdir()
    mk.docker_archive(store.root / "supply" / "x.tar", [SPEC], style="oci")
    assert find_image(store, sif).id == SPEC.id


def test_sandbox_folder_and_archives_are_images_too(store, tmp_path, capsys):
    assert main(["build", "--sandbox", str(tmp_path / "box"), f"docker://{IMAGE}"]) == 0
    assert find_image(store, str(tmp_path / "box")).id == SPEC.id
    assert find_image(store, f"docker-archive:{tmp_path}/image.tar").id == SPEC.id
    (tmp_path / "tree" / "bin").mkdir(parents=True)
    with pytest.raises(UsageError, match="a folder, not an image"):
        find_image(store, str(tmp_path / "tree"))


def test_inspect_answers_in_apptainers_shape(store, sif, capsys):
    assert main(["inspect", "--json", sif]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["type"] == "container"
    assert data["data"]["attributes"]["labels"]["org.lpmx.image.id"] == SPEC.id


def fake_sif(path, *, kind=1, role=2):
    """The header and one descriptor of a SIF file, as sif.go lays them out, and 16 bytes of data."""
    descriptor = struct.pack("<i?III", 0x4004, True, 1, 0xF0000001, 0)
    descriptor += struct.pack("<7q", 4096, 16, 16, 0, 0, 0, 0) + b"name".ljust(128, b"\0")
    descriptor += struct.pack("<ii", kind, role).ljust(384, b"\0")
    head = b"#!/usr/bin/env run-singularity\n".ljust(32, b"\0") + b"SIF_MAGIC\0" + b"01\0" + b"02\0"
    head += bytes(16) + struct.pack("<8q", 0, 0, 47, 48, 128, len(descriptor), 4096, 16)
    path.write_bytes((head + descriptor).ljust(4096, b"\0") + b"hsqs".ljust(16, b"\0"))
    return str(path)


def test_sif_partition_is_found(tmp_path):
    path = fake_sif(tmp_path / "real.sif")
    assert is_sif(path)
    assert find_partition(path) == (4096, 16)
    with pytest.raises(LpmxError, match="no squashfs"):
        find_partition(fake_sif(tmp_path / "encrypted.sif", kind=4))


def test_sif_without_unsquashfs_is_refused_clearly(store, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LpmxError, match="no unsquashfs") as caught:
        load_sif(store, fake_sif(tmp_path / "real.sif"))
    assert "squashfs-tools" in str(caught.value.hint)


def test_sif_keeps_the_images_variables(tmp_path):
    env = tmp_path / ".singularity.d" / "env"
    env.mkdir(parents=True)
    (env / "10-docker2singularity.sh").write_text(
        '#!/bin/sh\nexport PATH="/usr/local/bin:/bin"\nexport LANG="${LANG:-"C.UTF-8"}"\n'
    )
    (env / "90-environment.sh").write_text("export DYNAMIC=$HOME/x\n")
    (tmp_path / ".singularity.d" / "runscript").write_text("#!/bin/sh\n")
    assert read_config(tmp_path) == {
        "Env": ["PATH=/usr/local/bin:/bin", "LANG=C.UTF-8"],
        "Entrypoint": ["/.singularity.d/runscript"],
    }


# ---- definition files


def test_definition_that_only_names_an_image_is_built(store, tmp_path):
    text = (
        f"Bootstrap: docker\nFrom: {IMAGE}\nStage: spython-base\n\n%post\n# nothing\n%environment\n"
    )
    text += '  export LC_ALL="C.UTF-8"\n%runscript\nexec /bin/echo "$@"\n%startscript\nx\n'
    (tmp_path / "x.def").write_text(text)
    assert main(["build", str(tmp_path / "x.sif"), str(tmp_path / "x.def")]) == 0
    image = find_image(store, str(tmp_path / "x.sif"))
    assert image.diff_ids == tuple(SPEC.diff_ids)
    assert image.env == {"PATH": "/usr/local/bin:/bin", "X": "image", "LC_ALL": "C.UTF-8"}
    assert image.entrypoint == ("/bin/sh", "-c", 'exec /bin/echo "$@"', "runscript")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"Bootstrap: docker\nFrom: {IMAGE}\n%post\napt-get install x\n", "%post"),
        (f"Bootstrap: docker\nFrom: {IMAGE}\n%files\na /b\n", "%files"),
        ("Bootstrap: debootstrap\nFrom: x\n", "debootstrap"),
        ("%runscript\ntrue\n", "nothing"),
    ],
)
def test_definition_that_would_build_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        parse_definition(text, "x.def")


def test_unenforced_flags_are_noted(store):
    assert set(parse(["-p", "--ipc", "-e", "x", "y"], ACTION, command="x").unenforced) == {
        "-p",
        "--ipc",
    }
