"""`make demo`: a notebook cell runs inside a container made of real image layers.

usage: demo.py ARCHIVE    a docker-save archive of the demo image (tests/images/build.py makes it)

Loads the archive into a store of its own, installs a kernel from it in a Jupyter folder of its own,
executes demo.ipynb through nbclient, and prints what ran where. Nothing outside
~/.cache/lpmx-kernels/demo is touched, and no root is needed.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
KERNEL = "lpmx-demo"
IMAGE = "lpmx-test/demo"
WRITTEN = Path("/etc/written-by-the-notebook")


def main(arguments: list[str]) -> int:
    """Show it; the result is the exit status."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    scratch = cache / "lpmx-kernels" / "demo"
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ["LPMX_HOME"] = str(scratch / "store")
    os.environ["JUPYTER_DATA_DIR"] = str(scratch / "jupyter")

    lpmx("load", arguments[0])
    show_layers()
    lpmx("kernel", "install", IMAGE, "--name", KERNEL, "--display-name", "Demo (LPMX)")
    notebook = nbformat.read(HERE / "demo.ipynb", as_version=4)
    ready = execute(notebook, scratch)
    show_cells(notebook)
    show_comparison(notebook)
    print(f"\nkernel ready {ready:.0f} ms after it was asked for")
    nbformat.write(notebook, scratch / "demo.ipynb")
    print(f"executed notebook: {scratch / 'demo.ipynb'}")
    return 1 if WRITTEN.exists() else 0


def lpmx(*arguments: str) -> None:
    """Run lpmx, showing the command as a user would type it."""
    print(f"\n$ lpmx {shlex.join(arguments)}", flush=True)
    subprocess.run([*command(), *arguments], check=True)


def command() -> list[str]:
    """The lpmx of this Python."""
    script = Path(sys.executable).with_name("lpmx")
    return [str(script)] if script.exists() else [sys.executable, "-m", "lpmx_runtime.cli.main"]


def show_layers() -> None:
    """What the image is made of."""
    from lpmx_runtime.store.store import Store

    store = Store.open()
    image = store.resolve(IMAGE)
    print(
        f"\nimage {image.name}: {len(image.diff_ids)} layers, kept apart in the store, bottom first"
    )
    for diff_id in image.diff_ids:
        info = store.layer_info(diff_id)
        print(f"  {diff_id[:12]}  {info['size'] / 1e6:7.1f} MB  {info.get('entries', '?')} entries")


def execute(notebook: NotebookNode, folder: Path) -> float:
    """Execute @notebook; milliseconds from asking for the kernel to its first answer."""
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, kernel_name=KERNEL, timeout=120, resources=resources)
    begin = time.monotonic()
    with client.setup_kernel():
        ready = time.monotonic() - begin
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    return ready * 1e3


def show_cells(notebook: NotebookNode) -> None:
    """The cells and what came out of them."""
    print(f"\n$ {HERE.name}/demo.ipynb, cell by cell, in kernel {KERNEL}")
    for cell in notebook.cells:
        if cell.cell_type == "code" and "facts" not in cell.metadata.get("tags", []):
            print()
            for line in cell.source.splitlines():
                print(f"  > {line}")
            for line in output_of(cell).splitlines():
                print(f"    {line}")


def show_comparison(notebook: NotebookNode) -> None:
    """The facts as the notebook sees them beside those that the same code finds on the host."""
    cell = next(cell for cell in notebook.cells if "facts" in cell.metadata.get("tags", []))
    inside = json.loads(output_of(cell))
    host = json.loads(subprocess.check_output([sys.executable, "-c", cell.source]))
    inside[str(WRITTEN)], host[str(WRITTEN)] = (
        "written",
        "there!" if WRITTEN.exists() else "not there",
    )
    rows = [("", "on the host", "in the notebook")]
    rows += [(name, str(host[name]), str(inside[name])) for name in inside]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    print("\nthe same code on the host and in the notebook")
    for row in rows:
        print(f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}")


def output_of(cell: NotebookNode) -> str:
    """The text of a cell's outputs."""
    texts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            texts.append(output.text)
        elif "data" in output:
            texts.append(output.data.get("text/plain", "") + "\n")
    return "".join(texts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
