"""The parsers of hostile input under libFuzzer with address and undefined-behaviour sanitizers.

Each fuzz_*.c says what must hold; corpus/NAME.txt keeps inputs that reach different code, one a
line in base64. A failure prints its input the same way: put it into the corpus with the fix.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PRELOAD = HERE.parents[1] / "preload"
# A name, and how many runs a busy machine gets through in the short time
FUZZERS = {"view": 5_000, "walk": 5_000, "elf": 5_000, "hashbang": 20_000}
SHORT, LONG = 8, 240  # seconds each

pytestmark = pytest.mark.needs_checkout


@pytest.fixture(scope="session")
def fuzzers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built fuzzers."""
    if not shutil.which("clang"):
        pytest.skip("no clang (Debian: clang)")
    build = tmp_path_factory.mktemp("fuzzers")
    make = ["make", "-s", f"-j{os.cpu_count()}", "-C", PRELOAD, f"B={build}", "fuzzers"]
    subprocess.run(make, check=True)
    return build / "fuzz"


def fuzz(program: Path, folder: Path, seconds: int) -> int:
    """Run @program from its kept corpus on for @seconds; the number of inputs tried."""
    name = program.name.removeprefix("fuzz_")
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, line in enumerate((HERE / "corpus" / f"{name}.txt").read_text().splitlines()):
        (corpus / f"{number}").write_bytes(base64.b64decode(line))
    done = subprocess.run(
        [program, f"-max_total_time={seconds}", "-rss_limit_mb=4096", "-timeout=20",
         f"-artifact_prefix={folder}/", corpus],
        capture_output=True, text=True, errors="replace", check=False, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, f"{name}\n{done.stderr[-6000:]}"
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs, done.stderr[-1000:]
    return int(runs[1])


@pytest.mark.parametrize("name", FUZZERS)
def test_hostile_input_does_no_harm(fuzzers: Path, tmp_path: Path, name: str) -> None:
    runs = fuzz(fuzzers / f"fuzz_{name}", tmp_path, SHORT)
    assert runs >= FUZZERS[name], f"only {runs} inputs tried"


@pytest.mark.long
@pytest.mark.timeout(2 * LONG)
@pytest.mark.parametrize("name", FUZZERS)
def test_hostile_input_does_no_harm_for_minutes(fuzzers: Path, tmp_path: Path, name: str) -> None:
    runs = fuzz(fuzzers / f"fuzz_{name}", tmp_path, LONG)
    assert runs >= 10 * FUZZERS[name], f"only {runs} inputs tried"
