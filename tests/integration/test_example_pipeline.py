"""examples/pipeline: tools out of five images give what the same tools give when installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.native import run_native
from support.users import ROOT

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = ROOT / "examples" / "pipeline"
IMAGES = ("pipeline", "bwa", "samtools", "samtools-newer", "bcftools", "picard")
ARGUMENTS = ("data/ref.fa", "{}/data/reads_1.fq", "{}/data/reads_2.fq", "out")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """The example with its data, where it can be written."""
    folder = tmp_path_factory.mktemp("example") / "work here"
    folder.mkdir()
    for name in ("variants.yaml", "pipeline.sh"):
        shutil.copy(EXAMPLE / name, folder)
    simulate = [sys.executable, EXAMPLE.parent / "simulate.py", "pairs", folder / "data", "60000"]
    subprocess.run(simulate, check=True)
    return folder


@pytest.fixture(scope="module")
def composed(place, store, image) -> Path:
    """The results of the pipeline as the README runs it."""
    for name in IMAGES:
        image(name)
    arguments = [word.format(place) for word in ARGUMENTS]
    store("run", "variants.yaml", "./pipeline.sh", *arguments, cwd=place)
    return place / "out"


def test_every_variant_is_found(place, composed):
    assert (composed / "variants.txt").read_text() == (place / "data/truth.txt").read_text()


def test_two_releases_of_one_tool_run_side_by_side(composed):
    versions = dict(line.split() for line in (composed / "versions.txt").read_text().splitlines())
    number = {name: tuple(map(int, text.split("."))) for name, text in versions.items()}
    assert number["samtools"] < number["samtools-newer"]


def test_swapping_a_version_is_one_line(place, composed, store):
    text = (place / "variants.yaml").read_text()
    swapped = re.sub(r"samtools: .*", "samtools: {image: lpmx-test/samtools-newer}", text, count=1)
    (place / "newer.yaml").write_text(swapped)
    shown = store("run", "newer.yaml", "samtools", "--version", cwd=place).stdout.splitlines()[0]
    newer = (composed / "versions.txt").read_text().splitlines()[1].split()[1]
    assert shown == f"samtools {newer}"


@pytest.mark.needs_root
def test_results_are_those_of_installed_tools(place, composed, tmp_path):
    (tmp_path / "mounts").mkdir()
    results = ("variants.txt", "flagstat.txt")
    ours = {name: (composed / name).read_bytes() for name in results}
    body = _records(composed / "calls.vcf")
    shutil.move(composed, place / "composed")
    install = "ln -s PicardCommandLine /usr/bin/picard; ln -s samtools /usr/bin/samtools-newer"
    words = " ".join(f"'{word.format(place)}'" for word in ARGUMENTS)
    script = f"{install}; cd '{place}' && ./pipeline.sh {words}"
    installed = [name for name in IMAGES if name != "samtools-newer"]
    run_native(installed, ["bash", "-ec", script], work=tmp_path / "mounts", shared=place)
    native = place / "native"
    shutil.move(place / "out", native)
    shutil.move(place / "composed", composed)
    assert {name: (native / name).read_bytes() for name in results} == ours
    assert _records(native / "calls.vcf") == body
    assert len(body) > 20


def _records(path: Path) -> list[str]:
    """The lines of a VCF file but the header, which has command lines with dates."""
    return [line for line in path.read_text().splitlines() if not line.startswith("##")]
