"""Our own programs, in the Python that runs us.

`python -m` looks for modules in the working directory first, which is the folder of the notebook:
a `json.py` there would be imported in place of Python's. -I would also leave out PYTHONPATH, by
which a site may offer us.
"""

from __future__ import annotations

import os
import sys

_SAFE_PATH_SINCE = (3, 11)
_RUN = "import sys; del sys.path[0]; import runpy; runpy.run_module({!r}, None, '__main__', True)"


def module_argv(module: str, *, version: tuple[int, ...] = sys.version_info[:3]) -> tuple[str, ...]:
    """The command that runs @module of this Python, and imports nothing of where it stands."""
    python = os.path.abspath(sys.executable)
    if version >= _SAFE_PATH_SINCE:
        return (python, "-P", "-m", module)
    return (python, "-c", _RUN.format(module))
