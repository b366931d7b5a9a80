"""One container worked in from two machines, one of which reaches its folder over the network.

The second machine is another mount namespace in which the folder is seen through FUSE (bindfs): its
caches are its own, so what one side writes to shared memory the other does not see.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from conformance.kit.case import Case

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conformance.kit.unions import Bench

pytestmark = pytest.mark.needs_root

# No page of a file is kept by the second machine longer than a program has it open, and names for a
# tenth of a second
ELSEWHERE = """
folder=$1; shift
bindfs -o attr_timeout=0.1,entry_timeout=0.1,negative_timeout=0 "$folder" "$folder" || exit 9
"$@"; status=$?
umount -l "$folder"; exit $status
"""
# The same with many processes: FOLDER NUMBER COMMAND...
CROWD = """
folder=$1; last=$(($2 - 1)); shift 2
bindfs -o attr_timeout=0.1,entry_timeout=0.1,negative_timeout=0 "$folder" "$folder" || exit 9
for writer in $(seq 0 $last); do
    "$@" < "$folder/scripts/there-$writer" > "$folder/scripts/there-$writer.out" &
    started="$started $!"
done
status=0
for one in $started; do wait $one || status=1; done
umount -l "$folder"; exit $status
"""
LAYER = """
layer
dir t 755 1000000000
dir t/d 755 1000000000
file t/d/f 644 1000000000 10 1
file t/d/g 644 1000000000 10 2
file t/e/h 644 1000000000 10 3
symlink t/l 777 1000000000 d/f
script
"""


class Node:
    """A process of the container on one machine, which does one operation at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, operation: str) -> str:
        """Carry out @operation (a line of a script without the worker); the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"0 {operation}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0


@pytest.fixture
def nodes(bench: Bench) -> Iterator[tuple[Node, Node]]:
    """Two machines in one container: the folder's own, and one that gets it over the network."""
    if not shutil.which("bindfs"):
        pytest.skip("bindfs is not installed (tests/images/prepare.sh test)")
    plan = bench.prepare(Case.parse(LAYER))
    command = [bench.loader, "--plan", str(plan)]
    remote = ["unshare", "-m", "--propagation", "private", "sh", "-c", ELSEWHERE, "sh"]
    here = Node(command)
    assert here("cat -1 /t/d/f 0").startswith("10 ")  # it runs before the other comes
    there = Node([*remote, str(bench.folder), *command])
    assert there("cat -1 /t/d/f 0").startswith("10 ")
    yield here, there
    here.end()
    there.end()


def settle(node: Node, operation: str, answer: str) -> None:
    """@operation comes to answer @answer, as soon as names are looked up anew."""
    end = time.monotonic() + 5
    while (now := node(operation)) != answer and time.monotonic() < end:
        pass
    assert now == answer


def test_what_one_machine_writes_the_other_sees(nodes: tuple[Node, Node]) -> None:
    for writer, reader in (nodes, nodes[::-1]):
        name = "f" if writer is nodes[0] else "g"
        assert writer(f"put -1 /t/d/{name} 513 420 5 7") == "5"  # O_WRONLY | O_TRUNC
        wrote = writer(f"cat -1 /t/d/{name} 0")
        assert wrote.startswith("5 ")
        settle(reader, f"cat -1 /t/d/{name} 0", wrote)


def test_what_one_machine_removes_is_gone_on_the_other(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    assert here("unlink -1 /t/d/f 0") == "0"
    settle(there, "cat -1 /t/d/f 0", "E2")
    assert there("unlink -1 /t/d/g 0") == "0"
    settle(here, "cat -1 /t/d/g 0", "E2")
    settle(here, "list -1 /t/d 4096", "0 .:d ..:d")
    assert there("unlink -1 /t/e/h 0") == "0"
    assert there("unlink -1 /t/e 512") == "0"
    settle(here, "list -1 /t/e 4096", "E2")
    # made anew, nothing of the image shows in it
    assert here("mkdir -1 /t/e 493") == "0"
    settle(there, "list -1 /t/e 4096", "0 .:d ..:d")


def test_a_directory_as_a_lock_is_one_machines(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    for number in range(20):
        name = f"/t/e/lock{number}"
        assert sorted([here(f"mkdir -1 {name} 493"), there(f"mkdir -1 {name} 493")]) == ["0", "E17"]


def test_moves_are_seen(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    assert here("mkdir -1 /t/new 493") == "0"
    assert there("put -1 /t/new/x 193 420 9 1") == "9"
    settle(here, "list -1 /t/new 4096", "0 .:d ..:d x:-")
    assert here("rename -1 /t/new -1 /t/moved 0") == "0"
    settle(there, "list -1 /t/moved 4096", "0 .:d ..:d x:-")
    settle(there, "list -1 /t/new 4096", "E2")
    assert there("rename -1 /t/d/f -1 /t/moved/f 0") == "0"
    settle(here, "list -1 /t/moved 4096", "0 .:d ..:d f:- x:-")
    settle(here, "cat -1 /t/l 0", "E2")


def test_many_processes_of_both_write(bench: Bench) -> None:
    """Locks of one machine are not the other's here, as on a mount without a lock manager."""
    if not shutil.which("bindfs"):
        pytest.skip("bindfs is not installed (tests/images/prepare.sh test)")
    files, writers = 8, 8
    lines = "".join(f"file t/f{i} 644 1000000000 20000 {i}\n" for i in range(files))
    plan = bench.prepare(Case.parse(f"layer\n{lines}dir t/d 755 1000000000\nscript\n"))
    local = [bench.loader, "--plan", str(plan)]
    remote = ["sh", "-c", CROWD, "sh", str(bench.folder), str(writers), *local]

    def steps(writer: str) -> str:
        return "".join(
            f"0 chmod -1 /t/f{i} 420\n0 cat -1 /t/f{i} 0\n"
            f"0 put -1 /t/d/w{writer}-{i} 193 420 100 7\n"
            f"0 rename -1 /t/d/w{writer}-{i} -1 /t/d/shared{i} 0\n0 mkdir -1 /t/d/lock{i} 493\n"
            for i in range(files)
        )

    scripts = bench.folder / "scripts"
    scripts.mkdir()
    for writer in range(writers):
        for side in ("here", "there"):
            (scripts / f"{side}-{writer}").write_text(steps(f"{side}{writer}"))
    there = subprocess.Popen(["unshare", "-m", "--propagation", "private", *remote])
    here = [
        subprocess.Popen(
            local,
            stdin=(scripts / f"here-{writer}").open(),
            stdout=(scripts / f"here-{writer}.out").open("w"),
        )
        for writer in range(writers)
    ]
    assert [process.wait(60) for process in [*here, there]] == [0] * (writers + 1)
    answers = [path.read_text().split("\n")[:-1] for path in sorted(scripts.glob("*.out"))]
    assert len(answers) == 2 * writers
    for mine in answers:
        assert [mine[at : at + 4] for at in range(0, len(mine), 5)] == [
            ["0", answers[0][5 * i + 1], "100", "0"] for i in range(files)
        ]
    for i in range(files):
        assert sorted(mine[5 * i + 4] for mine in answers) == ["0"] + ["E17"] * (len(answers) - 1)
    left = bench.follow(plan, Case.parse("script\n0 list -1 /t/d 32768\n"))[0].split()
    names = [f"lock{i}:d" for i in range(files)] + [f"shared{i}:-" for i in range(files)]
    assert left == ["0", ".:d", "..:d", *names]
