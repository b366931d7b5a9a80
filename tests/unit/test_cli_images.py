"""The image commands as the user meets them: output, JSON, errors, exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support import mkimage as mk

from lpmx_runtime.cli.main import COMMANDS, main
from lpmx_runtime.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

DEMO = mk.Spec("demo:1", [mk.layer(mk.file("f", b"x" * 2000))], {"Cmd": ["sh"]})


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of an image archive; the store of the commands is this test's."""
    monkeypatch.setenv("LPMX_HOME", str(tmp_path / "store"))
    monkeypatch.delenv("LPMX_DEBUG", raising=False)
    return str(mk.docker_archive(tmp_path / "demo.tar", [DEMO]))


Capture = pytest.CaptureFixture[str]


def test_load_says_what_came(archive: str, capsys: Capture) -> None:
    assert main(["load", archive]) == 0
    assert capsys.readouterr().out == f"loaded demo:1 ({DEMO.id[:12]}): 1 layers, 1 new, 2.0 kB\n"
    assert main(["load", "-q", "-t", "mine", archive]) == 0
    assert capsys.readouterr().out == f"{DEMO.id}\n"


def test_images_lists_names_and_ids(archive: str, capsys: Capture) -> None:
    main(["load", archive])
    main(["tag", "demo:1", "other:2"])
    capsys.readouterr()
    assert main(["images"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["NAME", "ID", "LAYERS", "SIZE"],
        ["demo:1", DEMO.id[:12], "1", "2.0"],
        ["other:2", DEMO.id[:12], "1", "2.0"],
    ]


@pytest.mark.parametrize("argv", [["--json", "images"], ["images", "--json"]])
def test_json_stands_before_or_behind_the_command(
    archive: str, capsys: Capture, argv: list[str]
) -> None:
    main(["load", archive])
    capsys.readouterr()
    assert main(argv) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["id"], row["names"], row["size"]) == (DEMO.id, ["demo:1"], 2000)


def test_inspect_shows_configuration_and_layers(archive: str, capsys: Capture) -> None:
    main(["load", archive])
    capsys.readouterr()
    assert main(["inspect", "demo:1"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["config"]["config"] == {"Cmd": ["sh"]}
    assert [layer["diff_id"] for layer in row["layers"]] == DEMO.diff_ids


def test_rmi_frees_the_layers(archive: str, capsys: Capture) -> None:
    main(["load", archive])
    capsys.readouterr()
    assert main(["rmi", "demo:1"]) == 0
    out = capsys.readouterr().out
    assert f"untagged demo:1\nremoved {DEMO.id}\nfreed " in out
    assert Store.open().layers() == []


def test_gc_tells_what_it_would_do(archive: str, capsys: Capture) -> None:
    main(["load", archive])
    main(["rmi", "--keep-layers", "demo:1"])
    capsys.readouterr()
    assert main(["gc", "--dry-run", "--json"]) == 0
    would = json.loads(capsys.readouterr().out)
    assert (would["layers"], len(Store.open().layers())) == (DEMO.diff_ids, 1)
    assert main(["gc"]) == 0
    assert capsys.readouterr().out.startswith("freed ")
    assert Store.open().layers() == []


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (["load", "/nonexistent"], 1),
        (["inspect", "nope"], 1),
        (["rmi", "nope"], 1),
        (["tag", "nope", "x"], 1),
        (["frobnicate"], 2),
        (["--frobnicate"], 2),
    ],
)
def test_an_error_is_one_line_and_a_status(
    archive: str, capsys: Capture, argv: list[str], status: int
) -> None:
    assert main(argv) == status
    error = capsys.readouterr().err
    assert error.startswith("lpmx: ")
    assert len(error.splitlines()) <= 2
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("inspect demmo:1", "(did you mean 'demo:1'?)"),
        ("inspect other/demo", "(did you mean 'demo:1'?)"),
        ("inspect other/thing", "`lpmx load FILE` brings one in"),
        ("inspect ./text", "it is a file: `lpmx load ./text`"),
        ("load ./text", "not a tar archive"),
        ("imags", "(did you mean 'images'?)"),
        ("save -o ./none/x.tar demo:1", "there is no directory ./none"),
    ],
)
def test_what_to_do_is_said(
    archive: str,
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    said: str,
) -> None:
    main(["load", archive])
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("hello\n")
    assert main(command.split()) not in {0, None}
    assert said in capsys.readouterr().err


def test_an_error_nobody_foresaw_is_no_traceback(
    archive: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(Store, "images", fail)
    assert main(["images"]) == 1
    assert "internal error: ZeroDivisionError: oops" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError):
        main(["--debug", "images"])


def test_help_names_every_command(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    words = capsys.readouterr().out.split()
    assert set(COMMANDS) <= set(words)
    assert main([]) == 2


def test_a_command_imports_no_other_commands_code() -> None:
    """What `lpmx run` pays for before it does anything of its own."""
    script = (
        "import sys\n"
        "from lpmx_runtime.cli.main import main\n"
        "try: main(['images', '--help'])\n"
        "except SystemExit: pass\n"
        "print(' '.join(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.split())
    assert not loaded & {
        "cffi",
        "_cffi_backend",
        "importlib.metadata",
        "jupyter_client",
        "lpmx_runtime.images.load",
        "traitlets",
        "yaml",
        "zstandard",
    }
