"""`python -m lpmx_runtime` is `lpmx`."""

from __future__ import annotations

import sys

from lpmx_runtime.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
