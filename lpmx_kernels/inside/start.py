"""Starts ipykernel out of a payload, in a Python of an image that has none. Runs in the container.

The payload comes first on the path of this process alone: nothing is set in the environment, so
programs that cells start see the image as it is. Needs Python 3.8 and no package.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
BACKEND = "MPLBACKEND"
INLINE = "module://matplotlib_inline.backend_inline"


class InlinePlots:
    """Gives matplotlib the inline backend while it is imported.

    ipykernel says so in the environment, where every program that a cell starts would read it and
    then look in vain for a module of the payload.
    """

    def find_spec(self, name: str, *_: Any) -> Any:
        """Find matplotlib as everybody does, and stand between it and its loader, once."""
        if name != "matplotlib":
            return None
        sys.meta_path.remove(self)
        spec: Any = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                os.environ[BACKEND] = INLINE
                try:
                    load(module)
                finally:
                    del os.environ[BACKEND]

            spec.loader.exec_module = exec_module
        return spec


def main() -> None:
    """Run the kernel that the arguments describe, as `python -m ipykernel_launcher` does."""
    if sys.path and os.path.abspath(sys.path[0]) == HERE:
        del sys.path[0]
    sys.path.insert(0, os.path.join(HERE, "site"))
    from ipykernel.kernelapp import IPKernelApp

    chosen = os.environ.get(BACKEND)
    app: Any = IPKernelApp.instance()
    app.initialize()
    if not chosen and os.environ.pop(BACKEND, None) == INLINE:
        sys.meta_path.insert(0, InlinePlots())
    app.start()


if __name__ == "__main__":
    main()
