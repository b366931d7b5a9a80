"""The commands of an environment file: other images, other environments, the host, from a shell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support import mkimage as mk
from support.lpmx import Completed, Lpmx, run

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENT = """
image: busybox:test
env: {OUTER: outer}
commands:
  other: {image: other:1, path: /tools/whoami, env: {EXTRA: added}}
  inner: {environment: ./inner.yaml}
  hostname: host
  printed: host:/usr/bin/printf
"""
INNER = """
image: other:1
env: {INNER: inner}
binds: ["./data:/data:ro"]
commands:
  deeper: {image: busybox:test, path: /bin/cat}
"""
WHOAMI = b"""#!/bin/sh
echo "other image: $* $EXTRA $(cat)"
exit 4
"""
INNER_TOOL = b"""#!/bin/sh
echo "inner $INNER ${OUTER-unset} $*"
cat /data/x
deeper /etc/image-name
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Lpmx:
    """A store with the tiny image and another one, whose programs are scripts of its own."""
    program = busybox.available()
    if not program:
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    folder = tmp_path_factory.mktemp("tools")
    store = Lpmx(folder / "store")
    store("load", busybox.write_archive(folder / "busybox.tar"))
    layer = mk.layer(
        mk.folder("bin"),
        mk.file("bin/busybox", Path(program).read_bytes(), mode=0o755),
        *(mk.symlink(f"bin/{name}", "busybox") for name in ("sh", "cat", "echo")),
        mk.folder("tools"),
        mk.file("tools/whoami", WHOAMI, mode=0o755),
        mk.file("bin/inner", INNER_TOOL, mode=0o755),
    )
    other = mk.Spec("other:1", [layer], {"Env": ["PATH=/bin"]})
    store("load", mk.docker_archive(folder / "other.tar", [other]))
    return store


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "e.yaml").write_text(ENVIRONMENT)
    (tmp_path / "inner.yaml").write_text(INNER)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x").write_text("bound\n")
    return tmp_path


@pytest.fixture
def inside(tools: Lpmx, place: Path) -> Callable[..., Completed]:
    def call(script: str, **options: object) -> Completed:
        return tools("run", "e.yaml", "sh", "-c", script, cwd=place, **options)  # type: ignore[arg-type]

    return call


def test_a_program_of_another_image_is_called(inside: Callable[..., Completed]) -> None:
    done = inside("echo in | other a 'b  c'; echo status $?", check=True)
    assert done.stdout == "other image: a b  c added in\nstatus 4\n"


def test_a_command_of_another_environment_runs_as_that_says(
    inside: Callable[..., Completed],
) -> None:
    done = inside("echo busybox image > /etc/image-name; inner arg; echo status $?")
    lines = done.stdout.splitlines()
    assert lines[:2] == ["inner inner outer arg", "bound"]


def test_commands_of_the_host_are_called(inside: Callable[..., Completed]) -> None:
    done = inside("hostname; printed '%s|' a 'b  c'")
    assert done.stdout == f"{run(['hostname']).stdout}a|b  c|"


def test_mapped_commands_can_be_exposed(tools: Lpmx, place: Path) -> None:
    tools("expose", "e.yaml", "other", "inner", "--to", "bin", cwd=place)
    done = run([str(place / "bin" / "other"), "x y"], cwd=place, text="in", check=False)
    assert (done.stdout, done.returncode) == ("other image: x y added in\n", 4)
    assert run([str(place / "bin" / "inner")], cwd=place, check=False).stdout.startswith(
        "inner inner"
    )


def test_a_lock_pins_the_images_of_commands(tools: Lpmx, place: Path) -> None:
    tools("tag", "other:1", "moving:1")
    for name in ("e.yaml", "inner.yaml"):
        path = place / name
        path.write_text(path.read_text().replace("other:1", "moving:1"))
    tools("env", "lock", "e.yaml", cwd=place)
    tools("tag", "busybox:test", "moving:1")
    try:
        done = tools("run", "e.yaml", "sh", "-c", "other a < /dev/null || :", cwd=place)
        assert done.stdout == "other image: a added \n"
    finally:
        tools("rmi", "moving:1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("/tools/whoami", "/tools/whoarewe", "e.yaml:5:3: other: other:1 has no program /tools/wh"),
        ("other:1", "other:2", "e.yaml:5:3: other:2: no such image"),
        ("host:/usr/bin/printf", "host:/no/such", "e.yaml:8:3: printed: host command /no/such:"),
        ("./inner.yaml", "./e.yaml", "a cycle: e.yaml calls e.yaml"),
        ("./inner.yaml", "./none.yaml", "e.yaml:6:3: environment none.yaml: no such file"),
    ],
)
def test_bad_input_is_said_before_anything_starts(
    tools: Lpmx, place: Path, old: str, new: str, message: str
) -> None:
    path = place / "e.yaml"
    path.write_text(path.read_text().replace(old, new))
    done = tools("run", "e.yaml", "echo", "started", cwd=place, check=False)
    assert (done.returncode, done.stdout) == (125, "")
    assert message in done.stderr
