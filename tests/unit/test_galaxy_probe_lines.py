"""The questions that workflow systems ask an engine before and after they run in it, word for word.

With test_galaxy_docker_lines.py and test_galaxy_singularity_lines.py: all that the clients call.
"""

from __future__ import annotations

import json
import re
import sys

import pytest
from support import mkimage as mk
from support.offline import go_offline

from lpmx_galaxy.docker.main import main as docker
from lpmx_galaxy.singularity.main import main as singularity
from lpmx_galaxy.singularity.sources import find_image
from lpmx_runtime.images.load import load
from lpmx_runtime.store.store import Store

IMAGE = "quay.io/biocontainers/tool:1.0--0"
SPEC = mk.Spec(
    IMAGE,
    [mk.layer(mk.folder("bin"), mk.file("bin/sh", b"#!", mode=0o755))],
    {"Env": ["PATH=/usr/local/bin:/bin"], "Cmd": ["/bin/sh"], "Labels": {"l": "1"}},
)


@pytest.fixture
def store(tmp_path, monkeypatch):
    store = Store.open(tmp_path / "store")
    load(store, mk.docker_archive(tmp_path / "image.tar", [SPEC], style="v1"))
    monkeypatch.setenv("LPMX_HOME", str(store.root))
    go_offline(monkeypatch)
    monkeypatch.delenv("LPMX_SUPPLY", raising=False)
    monkeypatch.chdir(tmp_path)
    return store


# What the client looks for in the answer is its own pattern, where it has one.
DOCKER = [
    # client, words, status, standard output, standard error
    ("galaxy", f"inspect {IMAGE}", 0, r'"RepoTags"', ""),
    ("galaxy", "inspect quay.io/no/such:1", 1, r"\[\]", "No such object"),
    ("galaxy", f"pull {IMAGE}", 0, "up to date", ""),
    ("galaxy", "pull quay.io/no/such:1", 1, "", "no such image"),
    ("galaxy -H", f"-H tcp://h:1 inspect {IMAGE}", 0, r'"RepoTags"', ""),
    ("galaxy 22.1-25.0", "images", 0, r"REPOSITORY +TAG .*\nquay\.io/biocontainers/tool +1\.0", ""),
    ("galaxy 25.1-26.1", "images --format json", 0, r'"Tag": ?"1.0--0"', ""),
    ("galaxy cache", "images --no-trunc --format json", 0, r'"ID": ?"sha256:', ""),
    ("galaxy", "kill ce1f10e8fa784fd0b4b1d4da5dbb97f5", 1, "", "No such container"),
    ("galaxy interactive", "port ce1f10e8fa784fd0b4b1d4da5dbb97f5", 1, "", "no such container"),
    ("cwltool podman", "--version", 0, r"version \d+\.\d+", ""),
    ("cwltool", "build --tag=x:1 .", 1, "", "cannot build images from a Dockerfile"),
    ("miniwdl podman", "--version", 0, r"version \d+\.\d+", ""),
    ("miniwdl podman", f"pull {IMAGE}", 0, "up to date", ""),
    ("miniwdl udocker", "--allow-root --version", 0, r"version \d+\.\d+", ""),
    ("miniwdl udocker", f"--allow-root pull {IMAGE}", 0, "up to date", ""),
    ("nextflow", "rm nxf-abc", 1, "", "No such container"),
    ("nextflow", "stop nxf-abc", 1, "", "No such container"),
    ("nextflow", "kill -s SIGTERM nxf-abc", 1, "", "No such container"),
    ("planemo", "version --format json", 0, r'"Client"', ""),
    ("planemo", "info", 0, "no daemon", ""),
]
SINGULARITY = [
    ("cwltool, snakemake, miniwdl", "--version", 0, r"^(.+) version ([0-9.]+)$", ""),
    ("cwltool", f"pull --force --name a.sif docker://{IMAGE}", 0, "", ""),
    ("cwltool", f"pull --name b.sif docker://{IMAGE}", 0, "", ""),
    ("cwltool", "build c.sif docker-archive://image.tar", 0, "", ""),
    ("snakemake", f"pull --name 1c2f.simg docker://{IMAGE}", 0, "", ""),
    ("miniwdl", f"pull d.sif docker://{IMAGE}", 0, "", ""),
    ("nextflow", f"pull --no-https --name e.img docker://{IMAGE}", 0, "", ""),
    ("nextflow", f"pull --name f.img docker://{IMAGE}", 0, "", ""),
    ("galaxy", f"build g:1.0--0 docker://{IMAGE}", 0, "", ""),
    ("any", "pull --name h.sif docker://quay.io/no/such:1", 255, "", "no such image"),
    ("cwltool", "exec --userns hello.simg true", 255, "", "no such file"),
]


def said(main, words, capsys):
    status = main(words.split())
    return status, *capsys.readouterr()


@pytest.mark.parametrize(("client", "words", "status", "out", "err"), DOCKER)
def test_docker_answers_as_the_client_expects(store, capsys, client, words, status, out, err):
    found, stdout, stderr = said(docker, words, capsys)
    assert found == status, (client, stdout, stderr)
    assert re.search(out, stdout)
    assert re.search(err, stderr, re.IGNORECASE)


@pytest.mark.parametrize(("client", "words", "status", "out", "err"), SINGULARITY)
def test_singularity_answers_as_the_client_expects(store, capsys, client, words, status, out, err):
    found, stdout, stderr = said(singularity, words, capsys)
    assert found == status, (client, stdout, stderr)
    assert re.search(out, stdout.strip())
    assert re.search(err, stderr, re.IGNORECASE)
    if status == 0 and words[0] in "pb":
        file = next(word for word in words.split()[1:] if word[0] != "-" and "//" not in word)
        assert find_image(store, file).diff_ids == tuple(SPEC.diff_ids)


def test_cwltool_reads_labels_and_variables_of_a_sandbox(store, capsys):
    assert said(singularity, f"build --sandbox box docker://{IMAGE}", capsys)[0] == 0
    status, out, _ = said(singularity, "inspect --json box", capsys)
    assert status == 0
    assert json.loads(out)["data"]["attributes"]["labels"]["l"] == "1"


def test_cwltool_loads_and_imports_by_standard_input(store, tmp_path, capsys, monkeypatch):
    spec = mk.Spec("org/loaded:1", SPEC.layers, {"Cmd": ["/bin/true"]})
    archive = mk.docker_archive(tmp_path / "more.tar", [spec], style="oci")
    rootfs = tmp_path / "rootfs.tar"
    rootfs.write_bytes(mk.layer(mk.file("etc/x", b"x")))
    with open(archive) as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert said(docker, "load", capsys)[:2] == (0, "Loaded image: org/loaded:1\n")
    with open(rootfs) as file:
        monkeypatch.setattr(sys, "stdin", file)
        status, out, err = said(docker, "import - org/imported:1", capsys)
        assert (status, out[:7], err) == (0, "sha256:", "")
    assert {"org/loaded:1", "org/imported:1"} <= {
        name for image in store.images() for name in image.names
    }
