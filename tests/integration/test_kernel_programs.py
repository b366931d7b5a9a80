"""The programs that run notebooks, each with a kernel that `lpmx kernel install` has made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest
from support.lpmx import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.jupyter import Jupyter

NAME = "demo"
CODE = "print(open('/etc/lpmx-image').read(), 6 * 7)"


@pytest.fixture
def jupyter(bare_jupyter: Jupyter, image: Callable[[str], str]) -> Jupyter:
    bare_jupyter.lpmx("kernel", "install", image("demo"), "--name", NAME)
    return bare_jupyter


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook of one cell, written for that kernel."""
    path = tmp_path / "work" / "notebook.ipynb"
    written = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    written.metadata["kernelspec"] = {"name": NAME, "display_name": "Demo", "language": "python"}
    nbformat.write(written, path)
    return path


def run(jupyter: Jupyter, *words: str | Path, text: str = "") -> str:
    """Run a module of this Python; what it prints."""
    done = subprocess.run(
        [sys.executable, *words], env=clean_environment(jupyter.environment), input=text,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def outputs(path: Path) -> str:
    return "".join(output.text for output in nbformat.read(path, 4).cells[0].outputs)


def test_jupyter_execute(jupyter: Jupyter, notebook: Path) -> None:
    start = "import sys; from nbclient.cli import main; sys.exit(main())"
    run(jupyter, "-c", start, "--inplace", notebook)
    assert outputs(notebook) == "demo\n 42\n"


def test_jupyter_run(jupyter: Jupyter, tmp_path: Path) -> None:
    source = tmp_path / "cell.py"
    source.write_text(CODE)
    start = "import sys; from jupyter_client.runapp import main; sys.exit(main())"
    assert "demo\n 42\n" in run(jupyter, "-c", start, "--kernel", NAME, source)


def test_papermill(jupyter: Jupyter, notebook: Path) -> None:
    pytest.importorskip("papermill")
    result = notebook.with_name("result.ipynb")
    run(jupyter, "-m", "papermill", "--no-progress-bar", notebook, result)
    assert outputs(result) == "demo\n 42\n"


def test_nbconvert(jupyter: Jupyter, notebook: Path) -> None:
    pytest.importorskip("nbconvert")
    run(jupyter, "-m", "nbconvert", "--execute", "--inplace", "--to", "notebook", notebook)
    assert outputs(notebook) == "demo\n 42\n"


def test_nbmake(jupyter: Jupyter, notebook: Path) -> None:
    pytest.importorskip("nbmake")
    words = ("-m", "pytest", "-q", "--nbmake", "--overwrite", "-p", "no:cacheprovider")
    assert "1 passed" in run(jupyter, *words, f"--rootdir={notebook.parent}", notebook)
    assert outputs(notebook) == "demo\n 42\n"


def test_jupyter_console(jupyter: Jupyter) -> None:
    pytest.importorskip("jupyter_console")
    words = ("-m", "jupyter_console", "--simple-prompt", "--kernel", NAME)
    assert "demo\n 42\n" in run(jupyter, *words, text=f"{CODE}\nexit\n")


def test_jupyter_lpmx_is_lpmx_kernel(jupyter: Jupyter) -> None:
    done = run(jupyter, "-m", "jupyter_core", "lpmx", "list")
    assert done == jupyter.lpmx("kernel", "list").stdout
    assert NAME in done


@pytest.mark.parametrize("option", ["--prefix", "--sys-prefix"])
def test_kernels_go_where_they_are_wanted(
    bare_jupyter: Jupyter, image: Callable[[str], str], tmp_path: Path, option: str
) -> None:
    prefix = tmp_path / "prefix" if option == "--prefix" else Path(sys.prefix)
    where = [option, str(prefix)] if option == "--prefix" else [option]
    done = bare_jupyter.lpmx(
        "kernel", "install", image("musl"), "--name", "lpmx-test-place", *where, check=False
    )
    directory = prefix / "share" / "jupyter" / "kernels" / "lpmx-test-place"
    if not os.access(sys.prefix, os.W_OK) and option == "--sys-prefix":
        assert done.returncode == 1
        assert "Permission denied" in done.stderr
        return
    try:
        assert f"installed in {directory}" in done.stdout
        assert f'"{directory}"' in (directory / "kernel.json").read_text()
        assert (directory / "logo-svg.svg").is_file()
        assert not bare_jupyter.kernels.exists()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
