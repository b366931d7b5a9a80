"""What grows with what exists, and by how much: memory, system calls, records read. No timing."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from support.lpmx import Lpmx, run
from support.mkimage import Spec, docker_archive, file, folder, layer

from lpmx_runtime.store.store import Store
from lpmx_runtime.union.view import View

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A million files may cost 300 MB of memory.
BYTES_AT_ALL, BYTES_A_NAME = 40_000_000, 260
MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(process.pid, 0)
print(used.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def peak_memory(store: Lpmx, *arguments: object) -> int:
    """The largest that an lpmx command is in memory, in bytes."""
    command = [sys.executable, "-c", MEASURE, *store.command, *map(str, arguments)]
    return int(run(command, env=store.environment()).stdout)


def archive_of(path: Path, count: int, *, first: bytes = b"") -> Path:
    """An image of one layer, or of another below it, with @count empty files in folders of 500."""
    members = []
    for number in range(count):
        if number % 500 == 0:
            members.append(folder(f"data/{number // 500:04}"))
        members.append(file(f"data/{number // 500:04}/sample-{number:07}.txt", b""))
    docker_archive(path, [Spec("many:1", [*([first] if first else []), layer(*members)])])
    return path


@pytest.mark.parametrize(
    "count", [pytest.param(40_000), pytest.param(1_000_000, marks=pytest.mark.long)]
)
def test_load_and_commit_take_little_memory_a_file(
    count: int, empty_store: Lpmx, tmp_path: Path
) -> None:
    large = archive_of(tmp_path / "large.tar", count, first=layer(file("below", b"x")))
    loaded = peak_memory(empty_store, "load", large)
    allowed = BYTES_AT_ALL + BYTES_A_NAME * count
    assert loaded < allowed, f"load: {loaded} bytes"
    empty_store("create", "--name", "changed", "many:1", "/none")
    (upper,) = empty_store.home.glob("containers/*/upper")
    (upper / "made").write_text("x")
    committed = peak_memory(empty_store, "commit", "changed", "many:2")
    assert committed < allowed, f"commit: {committed} bytes"


def test_commit_of_many_new_files_takes_little_memory(empty_store: Lpmx, tmp_path: Path) -> None:
    """What a container wrote is put into the archive as it is found."""
    docker_archive(tmp_path / "image.tar", [Spec("few:1", [layer(file("a", b"x"))])])
    empty_store("load", tmp_path / "image.tar")
    empty_store("create", "--name", "written", "few:1", "/none")
    (upper,) = empty_store.home.glob("containers/*/upper")
    count = 15_000
    for number in range(count):
        place = upper / f"{number // 500}"
        place.mkdir(exist_ok=True)
        (place / f"sample-{number:07}.txt").touch()
    committed = peak_memory(empty_store, "commit", "written", "few:2")
    assert committed < BYTES_AT_ALL + BYTES_A_NAME * count, f"{committed} bytes"


def test_an_image_of_one_layer_has_the_layer_s_view(empty_store: Lpmx, tmp_path: Path) -> None:
    docker_archive(tmp_path / "image.tar", [Spec("one:1", [layer(file("a", b"x"))])])
    empty_store("load", tmp_path / "image.tar")
    store = Store.open(empty_store.home)
    image = store.resolve("one:1")
    assert os.path.samefile(store.view_path(image.chain_id), store.layer_view(image.diff_ids[0]))
    empty_store("rmi", "one:1")
    empty_store("gc")
    assert not store.view_path(image.chain_id).exists()
    assert not store.layers()


def test_marks_of_a_lowest_layer_are_not_in_the_image_s_view(
    empty_store: Lpmx, tmp_path: Path
) -> None:
    members = [file("a", b"x"), file(".wh.gone")]
    docker_archive(tmp_path / "image.tar", [Spec("one:1", [layer(*members)])])
    empty_store("load", tmp_path / "image.tar")
    store = Store.open(empty_store.home)
    image = store.resolve("one:1")
    with View(store.view_path(image.chain_id)) as view:
        assert [node.name for _, node in view.walk()] == [b"", b"a"]


def test_a_large_layer_s_view_is_kept_compressed_beside_the_image_s(
    empty_store: Lpmx, tmp_path: Path
) -> None:
    large = archive_of(tmp_path / "large.tar", 12_000, first=layer(file("below", b"x")))
    empty_store("load", large)
    store = Store.open(empty_store.home)
    image = store.resolve("many:1")
    merged, own = store.view_path(image.chain_id), store.layer_view(image.diff_ids[1])
    assert own.stat().st_size < merged.stat().st_size / 4
    with View(own) as view, View(merged) as whole:
        assert len(view) + 1 == len(whole)
    empty_store("create", "--name", "changed", "many:1", "/none")
    (upper,) = empty_store.home.glob("containers/*/upper")
    (upper / "made").write_text("x")
    empty_store("commit", "changed", "many:2")
    with View(store.view_path(store.resolve("many:2").chain_id)) as again:
        assert len(again) == len(whole) + 1


@pytest.fixture
def count_calls(store: Lpmx, tmp_path: Path) -> Callable[..., dict[str, int]]:
    """count_calls(IMAGE, ARGV...): the system calls of a run by name."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed (tests/images/prepare.sh test)")

    def call(image: str, *argv: str) -> dict[str, int]:
        log = tmp_path / "trace"
        strace = ["strace", "-f", "-qq", "-o", str(log)]
        run([*strace, *store.command, "run", "--rm", image, *argv], env=store.environment())
        counts: dict[str, int] = {}
        for line in log.read_text().splitlines():
            if found := re.match(r"\d+ +(\w+)\(", line):
                counts[found[1]] = counts.get(found[1], 0) + 1
        return counts

    return call


REMOVE = """
import os, sys
folder = "/usr/share/zoneinfo/America"
names = [name for name in os.listdir(folder) if os.path.isfile(f"{folder}/{name}")]
if sys.argv[1:]:
    for name in names[:100]:
        os.unlink(f"{folder}/{name}")
"""


@pytest.mark.needs_ptrace
def test_removing_a_file_of_a_layer_takes_few_system_calls(
    image: Callable[[str], str], count_calls: Callable[..., dict[str, int]]
) -> None:
    """One link, the lock around it, and no look at the directory above."""
    name = image("demo")
    idle = count_calls(name, "python3", "-c", REMOVE)
    busy = count_calls(name, "python3", "-c", REMOVE, "100")
    more = {key: busy[key] - idle.get(key, 0) for key in busy}
    assert 100 <= more["linkat"] <= 103, more  # and once the mark itself
    for call in ("openat", "close", "newfstatat"):
        assert more.get(call, 0) <= 130, more
    assert more["flock"] <= 230, more
    assert sum(more.values()) < 1_300, more


def test_what_a_large_removed_directory_leaves_is_collected(
    empty_store: Lpmx, tmp_path: Path, archive: Callable[[str], Path]
) -> None:
    """Its whiteouts, more than are deleted at once, are garbage; the directory is gone at once."""
    empty_store("load", archive("demo"))
    count = 1_500
    program = (
        "import os\n"
        f"os.mkdir('/usr/share/many')\n"
        f"for n in range({count}): open(f'/usr/share/many/{{n}}', 'w').close()\n"
    )
    empty_store("create", "--name", "made", "lpmx-test/demo")
    empty_store("exec", "made", "python3", "-c", program)
    empty_store("commit", "made", "many:1")
    empty_store("create", "--name", "box", "many:1")
    empty_store("exec", "box", "rm", "-r", "/usr/share/many")
    assert empty_store("exec", "box", "ls", "/usr/share/many", check=False).returncode
    assert "many" not in empty_store("exec", "box", "ls", "/usr/share").stdout.split()
    left = list(empty_store.home.glob("containers/*/work/tmp.*"))
    assert len(left) == 1
    empty_store("gc")
    assert not list(empty_store.home.glob("containers/*/work/tmp.*"))
    assert empty_store("exec", "box", "ls", "/usr/share/many", check=False).returncode
